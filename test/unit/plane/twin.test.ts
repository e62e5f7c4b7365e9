/** What storms do not reach: limits that take 2^60 messages, and policies that leave something out. */

import { describe, expect, it } from "vitest";
import type { PlaneMode } from "../../../bindings/plane/index.ts";
import { concatBytes, instant, ip } from "../../../src/base/index.ts";
import type { PolicyTables } from "../../../src/plane/index.ts";
import fc from "../../lib/property.ts";
import { createDrivenPlane, type DrivenPlane, frameOf, PLANE_KINDS } from "../../twin/driven-plane.ts";
import { sealMessage } from "../../twin/plane/message.ts";
import { encodeVnet } from "../../twin/plane/split.ts";
import { counting, udp } from "./packets.ts";
import { A, B, directPath, NET_A, NET_B, NOW, PEER_B, POLICIES, SLOT, sessionKeys } from "./pair.ts";

const MODES: readonly PlaneMode[] = ["plain", "client", "gateway"];
const OUT = { family: 4, source: NET_A.v4, destination: NET_B.v4 } as const;

/** The side that initiates, with its peer, path and session; no policy yet. */
function begin(plane: DrivenPlane): DrivenPlane {
  plane.execute({ kind: "add-peer", slot: SLOT, peerId: PEER_B });
  plane.execute({ kind: "set-path", slot: SLOT, path: directPath(B) });
  plane.execute({ kind: "install", slot: SLOT, peerId: PEER_B, session: sessionKeys("a") });
  plane.execute({ kind: "set-current", slot: SLOT, local: sessionKeys("a").local });
  return plane;
}

/** A super-frame of that many UDP datagrams. */
function burst(count: number): Uint8Array {
  const vnet = { needsChecksum: true, gsoType: 5, headerBytes: 28, checksumStart: 20, checksumOffset: 6 };
  return concatBytes(encodeVnet({ ...vnet, gsoBytes: 10 }), udp(counting(count * 10), OUT));
}

/** Everything that the plane says after these inputs. */
function outputsOf(plane: DrivenPlane, act: (plane: DrivenPlane) => readonly unknown[]): unknown {
  const out = act(plane);
  return { out, events: plane.takeEvents(), punts: plane.takePunts(), tallies: talliesOf(plane) };
}

function talliesOf(plane: DrivenPlane): unknown {
  const { egress, ingress } = plane.tallies();
  return [egress, ingress].map(({ counters, drops }) => [
    counters.packets_in,
    counters.packets_passed,
    drops,
  ]);
}

describe("the plane and its twin (D-4, SN-130)", () => {
  it("WG-45: report the limits of a session at the same message, and seal no message beyond the last", () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(
        sizes,
        fc.integer({ min: 1, max: 150 }),
        fc.integer({ min: 1, max: 100 }),
        (counts, rekey, more) => {
          const limits = { rekeyAfterMessages: BigInt(rekey), rejectAfterMessages: BigInt(rekey + more) };
          const [twin, plane] = PLANE_KINDS.map((kind) => {
            const driven = begin(createDrivenPlane(kind, { mode: "plain", limits }));
            driven.publish(POLICIES.a);
            return outputsOf(driven, () => counts.flatMap((count) => driven.egress(NOW, burst(count))));
          });
          expect(plane).toEqual(twin);
        },
      ),
      { numRuns: 25 },
    );
  });

  it.each(MODES)("TN-20: let nothing pass before a policy is published (%s)", (mode) => {
    const text = udp(counting(20), { family: 4, source: NET_B.v4, destination: NET_A.v4 });
    const { receiveKey, local } = sessionKeys("a");
    const bytes = sealMessage(receiveKey, local, 0n, text);
    const [twin, plane] = PLANE_KINDS.map((kind) =>
      outputsOf(begin(createDrivenPlane(kind, { mode })), (driven) => [
        ...driven.egress(NOW, frameOf(udp(counting(20), OUT))),
        ...driven.ingress(NOW, { from: B, local: A.address, bytes }),
      ]),
    );
    expect(plane).toEqual(twin);
    expect(twin).toMatchObject({
      out: [],
      tallies: [
        [1, 0, { "not-configured": 1 }],
        [1, 0, { "not-configured": 1 }],
      ],
    });
  });

  /** Own addresses, destinations and sources for egress may each be absent: then they are not checked. */
  const slack: fc.Arbitrary<PolicyTables> = fc
    .record({
      hasOwn: fc.boolean(),
      hasDestinations: fc.boolean(),
      hasSources: fc.boolean(),
      isOther: fc.boolean(),
    })
    .map(({ hasOwn, hasDestinations, hasSources, isOther }) => {
      const granted = POLICIES.b.routes.map(({ prefix }) => prefix);
      const permit = {
        slot: SLOT,
        sources: POLICIES.a.routes.map(({ prefix }) => prefix),
        refuseDestination: isOther,
        ...(hasDestinations && { destinations: isOther ? [] : granted }),
        ...(hasSources && { egressSources: isOther ? [] : granted }),
      };
      const own = hasOwn && { ownAddresses: [isOther ? ip("10.9.9.9") : NET_A.v4] };
      return { ...own, routes: POLICIES.a.routes, permits: [permit] };
    });

  it.each(MODES)("TN-38, TN-61, TN-62: check only what the policy names (%s)", (mode) => {
    const packets = [
      OUT,
      { ...OUT, destination: ip("224.0.0.1") },
      { ...OUT, destination: ip("255.255.255.255") },
    ];
    const { receiveKey, local } = sessionKeys("a");
    const inbound = [NET_A.v4, ip("224.0.0.5"), ip("10.1.7.7")].map((destination, i) => {
      const text = udp(counting(20), { family: 4, source: NET_B.v4, destination });
      return sealMessage(receiveKey, local, BigInt(i), text);
    });
    fc.assert(
      fc.property(slack, (policy) => {
        const [twin, plane] = PLANE_KINDS.map((kind) => {
          const driven = begin(createDrivenPlane(kind, { mode }));
          driven.publish(policy);
          return outputsOf(driven, () => [
            ...packets.flatMap((ends) => driven.egress(instant(NOW + 1), frameOf(udp(counting(30), ends)))),
            ...inbound.flatMap((bytes) => driven.ingress(NOW, { from: B, local: A.address, bytes })),
          ]);
        });
        expect(plane).toEqual(twin);
      }),
      { numRuns: 20 },
    );
  });
});
