/**
 * Each kind of NAT against each other: the path that theory promises is found, and no other (TS-27). A NAT maps
 * predictably if all destinations see the same outside port; then the other end knows where to send.
 */

import { describe, expect, it } from "vitest";
import type { ConnectionStats } from "../../src/connections/index.ts";
import { NAT_KINDS, type NatKind } from "../lib/nat.ts";
import type { Peer } from "./peer.ts";
import { type NetworkPart, story } from "./story.ts";

type PathKind = NonNullable<ConnectionStats["path"]>["kind"];

const KINDS = Object.keys(NAT_KINDS) as NatKind[];
const PAIRS = KINDS.flatMap((client) => KINDS.map((gateway) => ({ client, gateway })));

/** The bound of a relayed path (TS-17). */
const FIRST_ANSWER_MS = 5_000;
/** All pairs that will ever be answered have been by then. */
const SEARCH_MS = 18_000;
/** A nomination and its answer. */
const AGREE_MS = 500;

function isPredictable(kind: NatKind): boolean {
  return NAT_KINDS[kind].mapping === "endpoint-independent";
}

/** Whether `one` lets in what comes first from the NAT `other`, to which it has sent as well as it could. */
function letsIn(one: NatKind, other: NatKind): boolean {
  const { filtering } = NAT_KINDS[one];
  return isPredictable(one) && (filtering !== "address-and-port-dependent" || isPredictable(other));
}

function pathBetween(client: NatKind, gateway: NatKind): "direct" | "relayed" {
  return letsIn(client, gateway) || letsIn(gateway, client) ? "direct" : "relayed";
}

const MIRRORED: Readonly<Record<PathKind, PathKind>> = {
  "peer-to-peer": "peer-to-peer",
  "peer-to-relay": "relay-to-peer",
  "relay-to-peer": "peer-to-relay",
  "relay-to-relay": "relay-to-relay",
};

function wayOf({ connections }: Peer): PathKind | undefined {
  return connections.stats().connections[0]?.path?.kind;
}

function between(client: NetworkPart, gateway: NetworkPart, seed = 1) {
  return story(seed)
    .network("home", client)
    .client()
    .network("office", gateway)
    .gateway()
    .internet()
    .relay()
    .begin();
}

describe("the path between two NATs", () => {
  it.each(PAIRS)("TS-27, TS-17: client behind $client, gateway behind $gateway", ({ client, gateway }) => {
    const play = between({ nat: client }, { nat: gateway });
    expect(play.client().reach(FIRST_ANSWER_MS)).toBeDefined();
    const path = pathBetween(client, gateway);
    if (path === "direct") play.world.runUntil(() => play.path() === "direct", FIRST_ANSWER_MS);
    else play.client().longestGap(SEARCH_MS);
    expect(play.path()).toBe(path);
    play.world.run(AGREE_MS);
    // Both use the same way, each from its own end (SN-20, SN-59).
    expect(wayOf(play.gateway())).toBe(MIRRORED[wayOf(play.client()) ?? "peer-to-peer"]);
    expect(play.client().reach(1_000)).toBeDefined();
  });
});
