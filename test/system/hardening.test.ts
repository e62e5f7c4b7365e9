/** What a machine may do to a plane under traffic: real workers and descriptors, and calls that fail (TS-64). */
import { afterEach, expect, it } from "vitest";
import type { Reason } from "../../bindings/memory/index.ts";
import type { WorkerCounters } from "../../bindings/plane/index.ts";
import { type Offload, setOffload } from "../lib/device-offload.mjs";
import {
  createPlaneEnds,
  type End,
  type PlaneEnds,
  type PlaneEndsOptions,
  SIDES,
} from "../lib/plane-ends.ts";
import { describeWith } from "../lib/requirements.ts";

const WITHIN_MS = 60_000;
const BYTES = 2_000_000;

describeWith(["netns", "tun", "ipv6"], "a plane under traffic", () => {
  let ends: PlaneEnds | undefined;
  afterEach(() => ends?.close());

  async function start(options: PlaneEndsOptions = {}): Promise<PlaneEnds> {
    ends = await createPlaneEnds(options);
    await ends.start();
    return ends;
  }

  /** Transfers once before, during and after each change; every byte arrives. */
  async function transferThrough(both: PlaneEnds, changes: readonly (() => void)[]): Promise<void> {
    expect(await both.transfer(BYTES)).toBe(BYTES);
    for (const change of changes) {
      const transfer = both.transfer(BYTES);
      await new Promise((resolve) => setTimeout(resolve, 5));
      change();
      expect(await transfer).toBe(BYTES);
    }
    expect(await both.transfer(BYTES)).toBe(BYTES);
  }

  it("PG-46: offloads of cable and device go off and on again, on either side, in mid-run", {
    timeout: WITHIN_MS,
  }, async () => {
    const both = await start();
    const set = (end: End, device: string, offloads: readonly Offload[], isOn: boolean) =>
      end.host.enter(() => {
        for (const offload of offloads) setOffload(device, offload, isOn);
      });
    await transferThrough(
      both,
      [false, true].flatMap((isOn) =>
        [both.a, both.b].flatMap((end) => [
          () => set(end, "veth0", ["tx", "gro"], isOn),
          () => set(end, "pt0", isOn ? ["tx", "tso", "gso"] : ["tso", "gso", "tx"], isOn),
        ]),
      ),
    );
    await both.stop();
    for (const side of SIDES) {
      const { egress, ingress } = both[side].plane.counters();
      expect({ egress: egress.drops, ingress: ingress.drops }).toEqual({ egress: {}, ingress: {} });
      // Before Linux 6.11 a cable that computes no checksums takes no segments: found out once, by EIO.
      expect(egress.counters.gso_disabled).toBeLessThanOrEqual(1);
    }
  });

  it("PG-43, PG-46: the MTU of cable and device changes under traffic", { timeout: WITHIN_MS }, async () => {
    const both = await start();
    const mtu = (device: string, bytes: number) => () => {
      for (const side of SIDES) both[side].host.run("ip", "link", "set", device, "mtu", String(bytes));
    };
    await transferThrough(both, [
      mtu("veth0", 1300),
      mtu("pt0", 1280),
      mtu("veth0", 1500),
      mtu("pt0", 600),
      mtu("pt0", 1400),
      mtu("veth0", 9000),
    ]);
    await both.stop();
    for (const side of SIDES) {
      const { egress, ingress } = both[side].plane.counters();
      expect(ingress.drops).toEqual({});
      expect(egress.counters.gso_disabled).toBe(0);
      expectCounted(egress, ["udp_send_too_long"]);
    }
  });

  it("PG-38: a device that vanishes under traffic ends the loops, and nothing else", {
    timeout: WITHIN_MS,
  }, async () => {
    const both = await start();
    const reasons: string[] = [];
    const gone = new Promise<void>((resolve) =>
      both.b.plane.onEnd(({ worker, reason }) => {
        reasons.push(`${worker} ${reason}`);
        if (worker === "egress") resolve();
      }),
    );
    const flood = both.a.host.run("sh", "-c", "ping -q -f -s 1000 -w 2 10.9.2.1 >/dev/null 2>&1 & echo $!");
    expect(Number(flood)).toBeGreaterThan(0);
    both.b.host.run("ip", "link", "del", "pt0");
    await gone;
    await both.stop();
    expect(new Set(reasons).size).toBe(reasons.length);
    for (const reason of reasons) expect(reason).toMatch(/^(egress|ingress) tun-removed$/);
    const { ingress } = both.b.plane.counters();
    // A device that is deleted goes down first.
    expectCounted(ingress, ["tun_write_down", "tun_write_refused"]);
  });

  it("PG-55: order survives back-pressure, counted at the receiver", { timeout: WITHIN_MS }, async () => {
    // Little room in the socket, less behind the device: EAGAIN as well as ENOBUFS.
    const both = await start({ sendBufferBytes: 4608 });
    const shape = ["tbf", "rate", "8mbit", "burst", "4000", "limit", "6000"];
    both.a.host.run("tc", "qdisc", "add", "dev", "veth0", "root", ...shape);
    const arrived = await both.numberedDatagrams(3000);
    await both.stop();
    expect(arrived).toEqual([...arrived].sort((x, y) => x - y));
    expect(new Set(arrived).size).toBe(arrived.length);
    expect(arrived.length).toBeGreaterThan(100);
    const { counters } = both.a.plane.counters().egress;
    expect(counters.udp_send_again + counters.udp_send_enobufs).toBeGreaterThan(0);
  });

  it("PG-66, PG-67: the same port is bound again 100 times while a stream flows", {
    timeout: WITHIN_MS,
  }, async () => {
    const both = await start();
    let isOver = false;
    const sent: number[] = [];
    const flowing = (async () => {
      while (!isOver) sent.push(await both.transfer(300_000));
    })();
    for (let i = 0; i < 100; i++) {
      await both.b.plane.pause();
      both.bindAgain("b");
      await both.b.plane.start(both.b.descriptors);
      expect(both.b.udp.v4?.port).toBe(51821);
    }
    isOver = true;
    await flowing;
    expect(sent.every((bytes) => bytes === 300_000)).toBe(true);
    expect(both.b.taken).toEqual(["egress", "ingress"]);
  });

  /** Of each 200 calls or so one fails, in every worker; what strikes a single datagram costs it. */
  const FAULTS = [
    ["sends in segments are refused for good", "sendmsg:3:5", { udp_send_failed: true }],
    [
      "a path is too narrow, or full, now and then",
      "sendmsg:3+200:90,sendmsg:2+211:11,sendmsg:7+199:105",
      { udp_send_too_long: true },
    ],
    [
      "a firewall refuses, or there is no way",
      "sendmsg:5+200:1,sendmsg:7+200:101,sendmsg:9+300:111",
      { udp_send_blocked: true, udp_send_unreachable: true },
    ],
    [
      "receives and waits fail",
      "recvmsg:2+100:12,recvmsg:3+150:111,recvmsg:5+77:4,poll:1+7:4,poll:2+50:12",
      {},
    ],
    [
      "the device is down or refuses frames",
      "read:3+300:5,write:3+200:5,write:2+210:22,write:5+300:105,read:7+500:22,read:11+100:4",
      { tun_write_down: true, tun_write_refused: true },
    ],
  ] as const satisfies readonly (readonly [string, string, Partial<Record<Reason, true>>])[];

  it.each(FAULTS)(
    "TS-64: %s: a stream goes on, what is lost is counted",
    { timeout: WITHIN_MS },
    async (_, faults, allowed) => {
      const both = await start({ faults });
      for (let i = 0; i < 3; i++) expect(await both.transfer(500_000)).toBe(500_000);
      await both.stop();
      for (const side of SIDES) {
        const { egress, ingress } = both[side].plane.counters();
        // The keys of the table are reasons.
        const reasons = Object.keys(allowed) as Reason[];
        expectCounted(egress, reasons);
        expectCounted(ingress, reasons);
      }
      const { egress } = both.a.plane.counters();
      expect(Object.keys(egress.sendErrnos).length > 0).toBe(faults.includes("sendmsg"));
    },
  );
});

/** Nothing is dropped but for these reasons, and what the path passed went out or was dropped. */
function expectCounted({ drops, counters }: WorkerCounters, reasons: readonly Reason[]): void {
  // The keys of a table of reasons.
  const found = Object.keys(drops) as Reason[];
  expect(reasons).toEqual(expect.arrayContaining(found));
  const dropped = found.reduce((sum, reason) => sum + (drops[reason] ?? 0), 0);
  expect(counters.segments_out + dropped + counters.keepalives).toBe(counters.packets_passed);
}
