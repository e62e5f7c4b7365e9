/**
 * The order of packets that control has injected, with several pairs at full rate (PG-176). `test/unit/plane/pairs.test.ts`
 * has each case by itself; here workers and control run into each other as it comes.
 */
import { afterEach, expect, it } from "vitest";
import { STAGED_MAX } from "../../src/wireguard/constants.ts";
import { createPlaneEnds, type End, type PlaneEnds } from "../lib/plane-ends.ts";
import { expectEachCounted } from "../lib/plane-losses.ts";
import { describeWith } from "../lib/requirements.ts";

const WITHIN_MS = 180_000;
/** The kernel draws a queue for each flow: of 5 all get the same one once in 16 times, of 24 never. */
const FLOWS_MAX = 24;
const DATAGRAMS = 800;

/** Egress workers that carried something. */
function busyOf({ plane }: End): number {
  return plane.counters().workers.filter(({ counters }, i) => i % 2 === 0 && counters.packets_passed > 20)
    .length;
}

describeWith(["netns", "tun", "ipv6"], "pairs of workers", () => {
  let ends: PlaneEnds;
  afterEach(() => ends?.close());

  it.each([2, 4])(
    "PG-176, WG-46: with %d pairs packets before, during and after a missing session arrive in order",
    {
      timeout: WITHIN_MS,
    },
    async (pairs) => {
      ends = await createPlaneEnds({ pairs });
      await ends.start();
      const { plane } = ends.a;
      let handled = 0;
      plane.onWake(() => {
        const staged = plane.takePunts(1000).filter(({ reason }) => reason === "no-session");
        const packets = staged.map(({ packet }) => packet);
        plane.execute({ kind: "inject", slot: 0, packets });
        handled += packets.length;
        plane.execute({ kind: "release", slot: 0, handled });
      });
      let holds = 0;
      const timer = setInterval(() => {
        holds++;
        plane.execute({ kind: "hold", slot: 0 });
      }, 3);
      // Of several workers: what is injected goes by more than one, too.
      const flows: (readonly number[])[] = [];
      while (flows.length < 5 || (busyOf(ends.a) < 2 && flows.length < FLOWS_MAX)) {
        flows.push(await ends.numberedDatagrams(DATAGRAMS));
      }
      const arrived = flows.reduce((sum, flow) => sum + flow.length, 0);
      expectEachCounted(ends, flows.length * DATAGRAMS, arrived);
      // With less under way than may wait for a session, and than any queue holds, none is lost.
      const complete = await ends.numberedDatagrams(DATAGRAMS, STAGED_MAX / 2);
      clearInterval(timer);
      await ends.stop();
      expect(holds).toBeGreaterThan(5);
      const injected = plane.counters().workers.map(({ counters }) => counters.packets_injected);
      expect(injected.filter((packets) => packets > 0).length).toBeGreaterThan(1);
      expect(plane.counters().queues.inject.entries).toBe(0);
      for (const flow of flows) expect(flow).toEqual([...flow].sort((x, y) => x - y));
      expect(complete).toEqual(Array.from({ length: DATAGRAMS }, (_, i) => i));
    },
  );
});
