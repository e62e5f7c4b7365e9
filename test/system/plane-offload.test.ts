/**
 * The kernel's own segmentation against ours: packets are joined by the plane, written to one TUN device,
 * forwarded, and read from another one, cut up by the kernel or by the plane.
 *
 *     coalesce → pt0 (198.51.100.1, 2001:db8:a::1) → forwarding → pt1 (203.0.113.1, 2001:db8:b::1) → split
 */
import { afterEach, beforeEach, expect, it } from "vitest";
import { OFFLOADS_ALL, openKernel, openTun, POLLIN, pollOne, type Tun } from "../../bindings/linux/index.ts";
import { ip } from "../../src/base/index.ts";
import { describeWith } from "../lib/requirements.ts";
import { parseVnet } from "../twin/plane/split.ts";
import { createDriver } from "../unit/plane/coalesce-driver.ts";
import { counting, type FlowOptions, tcp, udp } from "../unit/plane/packets.ts";
import { createSplitter } from "../unit/plane/split-driver.ts";
import { createNamespace, type OwnNamespace } from "./own-namespace.ts";

const FRAME_BYTES = 65_546;
const FLOWS = {
  4: { family: 4, source: ip("198.51.100.2"), destination: ip("203.0.113.2") },
  6: { family: 6, source: ip("2001:db8:a::2"), destination: ip("2001:db8:b::2") },
} as const satisfies Record<4 | 6, FlowOptions>;
const TIMESTAMPS = Uint8Array.of(1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8);

describeWith(["netns", "tun", "ipv6"], "the plane and the kernel's segmentation", () => {
  const kernel = openKernel();
  let host: OwnNamespace;
  beforeEach(() => {
    host = createNamespace();
  });
  afterEach(() => host.close());

  /** Both devices, forwarding between them; the second one with the given offloads. */
  function setUp(offloads: number): { readonly from: Tun; readonly to: Tun } {
    const from = host.enter(() => openTun(kernel, { name: "pt0" }));
    const to = host.enter(() => openTun(kernel, { name: "pt1", offloads: [offloads] }));
    expect(to.offloads).toBe(offloads);
    host.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1");
    for (const [name, v4, v6] of [
      ["pt0", "198.51.100.1/24", "2001:db8:a::1/64"],
      ["pt1", "203.0.113.1/24", "2001:db8:b::1/64"],
    ] as const) {
      host.run("ip", "addr", "add", v4, "dev", name);
      host.run("ip", "addr", "add", v6, "dev", name, "nodad");
      host.run("ip", "link", "set", name, "up");
    }
    return { from, to };
  }

  function write(tun: Tun, frame: Uint8Array): void {
    kernel.scratch.frame((room) =>
      expect(kernel.sys.write(tun.fd, room.put(frame), frame.length)).toBe(frame.length),
    );
  }

  /** Everything that comes out within a bound, router solicitations aside. */
  function readFrames(tun: Tun, isDone: (frames: readonly Uint8Array[]) => boolean): readonly Uint8Array[] {
    const frames: Uint8Array[] = [];
    while (!isDone(frames)) {
      if (pollOne(kernel, tun.fd, POLLIN, 2000) !== POLLIN) break;
      kernel.scratch.frame((room) => {
        const at = room.take(FRAME_BYTES);
        const length = kernel.sys.read(tun.fd, at, FRAME_BYTES);
        const frame = Uint8Array.from(room.bytes(at, Math.max(0, length)));
        const protocol = frame[10 + ((frame[10] ?? 0) >> 4 === 6 ? 6 : 9)];
        if (protocol === 6 || protocol === 17) frames.push(frame);
      });
    }
    return frames;
  }

  /** A run of one flow; `hops` as before or after forwarding. */
  const run = (kind: "tcp" | "udp", family: 4 | 6, hops: number): readonly Uint8Array[] =>
    Array.from({ length: 40 }, (_, i) => {
      const payload = counting(i === 39 ? 700 : 1300, i);
      const flow = { ...FLOWS[family], hops, identification: 100 + i };
      if (kind === "udp") return udp(payload, flow);
      return tcp(payload, {
        ...flow,
        sequence: 1000 + 1300 * i,
        tcpOptions: TIMESTAMPS,
        flags: i === 39 ? 0x18 : 0x10,
      });
    });

  const joined = (packets: readonly Uint8Array[]): Uint8Array => {
    const driver = createDriver({ tcp: true, udp: true });
    for (const packet of packets) driver.accept(packet);
    driver.close();
    expect(driver.written.map(({ segments }) => segments)).toEqual([packets.length]);
    return driver.written[0]?.bytes ?? new Uint8Array(0);
  };

  const KINDS = [
    ["tcp", 4],
    ["tcp", 6],
    ["udp", 4],
    ["udp", 6],
  ] as const;

  it.each(KINDS)(
    "PF-33: the kernel cuts our %s super-frame over IPv%i into the packets that made it",
    (kind, family) => {
      const { from, to } = setUp(0);
      write(from, joined(run(kind, family, 64)));
      const frames = readFrames(to, ({ length }) => length === 40);
      expect(frames.map((frame) => frame.slice(10))).toEqual(run(kind, family, 63));
      from.close();
      to.close();
    },
  );

  it.each(KINDS)(
    "PF-32: the plane cuts the kernel's %s super-frame over IPv%i into the same packets",
    (kind, family) => {
      const { from, to } = setUp(OFFLOADS_ALL);
      write(from, joined(run(kind, family, 64)));
      const [frame] = readFrames(to, ({ length }) => length === 1);
      expect(parseVnet(frame ?? new Uint8Array(10)).gsoType).not.toBe(0);
      const result = createSplitter().split(frame ?? new Uint8Array(0), { limitBytes: 1420, mode: "strict" });
      expect(result).toEqual({ ok: true, value: run(kind, family, 63) });
      from.close();
      to.close();
    },
  );

  it.each(KINDS)("PF-62: a single verified %s packet over IPv%i passes with its mark", (kind, family) => {
    const { from, to } = setUp(OFFLOADS_ALL);
    const [first, after] = [run(kind, family, 64)[0], run(kind, family, 63)[0]];
    const frame = joined(first === undefined ? [] : [first]);
    expect(frame[0]).toBe(2);
    write(from, frame);
    const [read] = readFrames(to, ({ length }) => length === 1);
    const result = createSplitter().split(read ?? new Uint8Array(0), { limitBytes: 1420, mode: "strict" });
    expect(result).toEqual({ ok: true, value: [after] });
    from.close();
    to.close();
  });
});
