/** Several pairs of workers on real queues and sockets (PG-176). */
import { createSocket } from "node:dgram";
import { readdirSync, readFileSync } from "node:fs";
import { afterEach, expect, it } from "vitest";
import { eventually } from "../lib/observe.ts";
import { createPlaneEnds, type End, INNER, type PlaneEnds, SIDES } from "../lib/plane-ends.ts";
import { describeWith } from "../lib/requirements.ts";

const WITHIN_MS = 40_000;
/** The kernel draws a queue for each flow: of 5 all get the same one once in 16 times, of 24 never. */
const FLOWS_MAX = 24;

/** Workers of a kind that carried something, by the counters in turn of pairs. */
function busyOf({ plane }: End, kind: "egress" | "ingress"): number {
  const offset = kind === "egress" ? 0 : 1;
  return plane
    .counters()
    .workers.filter(({ counters }, i) => i % 2 === offset && counters.packets_passed > 20).length;
}

const dropsOf = ({ plane }: End) => {
  const { egress, ingress } = plane.counters();
  return { egress: egress.drops, ingress: ingress.drops };
};

async function sendFromNewPort({ host }: End): Promise<void> {
  const socket = createSocket("udp4");
  await host.enterUntil(() => new Promise<void>((resolve) => socket.bind(0, INNER.a, resolve)));
  await new Promise((resolve) => socket.send("x", 7001, INNER.b, resolve));
  socket.close();
}

describeWith(["netns", "tun", "ipv6"], "pairs of workers", () => {
  let ends: PlaneEnds;
  const begin = async (pairs: number) => {
    ends = await createPlaneEnds({ pairs });
    await ends.start();
  };
  afterEach(() => ends?.close());

  it.each([2, 4])(
    "PG-176: %d pairs carry a stream, and each flow of datagrams in order",
    {
      timeout: WITHIN_MS,
    },
    async (pairs) => {
      await begin(pairs);
      expect(await ends.transfer(5_000_000)).toBe(5_000_000);
      // Each from a port of its own: the kernel spreads them over the queues.
      for (let flow = 0; flow < 6 || (busyOf(ends.a, "egress") < 2 && flow < FLOWS_MAX); flow++) {
        const arrived = await ends.numberedDatagrams(100);
        expect(arrived).toEqual(Array.from({ length: 100 }, (_, i) => i));
      }
      await ends.stop();
      expect(busyOf(ends.a, "egress")).toBeGreaterThan(1);
      // All that comes of a peer has one pair of addresses and ports.
      for (const side of SIDES) {
        expect(busyOf(ends[side], "ingress")).toBe(1);
        expect(dropsOf(ends[side])).toEqual({ egress: {}, ingress: {} });
      }
      const sent = ends.a.plane.counters().egress.counters.segments_out;
      expect(ends.b.plane.counters().ingress.counters.packets_in).toBe(sent);
    },
  );

  it("PG-176: what control injects leaves by the worker that has the flow, though that one sleeps", {
    timeout: WITHIN_MS,
  }, async () => {
    await begin(2);
    const { plane } = ends.a;
    const injected = () => plane.counters().workers.map(({ counters }) => counters.packets_injected);
    let handled = 0;
    plane.onWake(() => {
      const packets = plane.takePunts(10).map(({ packet }) => packet);
      plane.execute({ kind: "inject", slot: 0, packets });
      handled += packets.length;
      plane.execute({ kind: "release", slot: 0, handled });
    });
    for (let flow = 0; flow < FLOWS_MAX && (injected()[0] === 0 || injected()[2] === 0); flow++) {
      plane.execute({ kind: "hold", slot: 0 });
      expect(await ends.numberedDatagrams(1)).toEqual([0]);
    }
    await ends.stop();
    expect(injected()).toEqual([expect.any(Number), 0, expect.any(Number), 0]);
    expect(Math.min(injected()[0] ?? 0, injected()[2] ?? 0)).toBeGreaterThan(0);
  });

  it("PG-176, PG-66: after a pause all pairs run again, on other sockets of the same port", {
    timeout: WITHIN_MS,
  }, async () => {
    await begin(2);
    for (let i = 0; i < 4; i++) {
      expect(await ends.transfer(100_000)).toBe(100_000);
      await Promise.all(SIDES.map((side) => ends[side].plane.pause()));
      ends.bindAgain("b");
      await ends.start();
    }
    for (const side of SIDES) {
      expect([...ends[side].taken].sort()).toEqual(["egress", "egress", "ingress", "ingress"]);
    }
    await ends.stop();
    const names = readdirSync("/proc/self/task").map((id) =>
      readFileSync(`/proc/self/task/${id}/comm`, "utf8").trim(),
    );
    expect(names.filter((name) => name.startsWith("postern-"))).toEqual([]);
  });

  it("PG-176, PG-18: a worker of the second pair that dies is told of once, and the others end when told to", {
    timeout: WITHIN_MS,
  }, async () => {
    // The egress and the ingress worker of the first pair come first.
    ends = await createPlaneEnds({ pairs: 2, faults: "poll:2:0", faultlessThreads: 2 });
    const { plane, descriptors } = ends.a;
    const told: string[] = [];
    plane.onEnd(({ worker, reason }) => void told.push(`${worker} ${reason}`));
    await plane.start(descriptors);
    // Flows for both queues: the kernel tells them apart by ports, echo requests not at all. Nobody answers.
    // Until a worker has waited for the second time: some may come before it waits at all.
    await eventually(async () => {
      await sendFromNewPort(ends.a);
      expect(told).not.toEqual([]);
    });
    expect(told).toEqual(["egress crashed"]);
    const began = performance.now();
    await plane.stop();
    expect(performance.now() - began).toBeLessThan(2000);
  });
});
