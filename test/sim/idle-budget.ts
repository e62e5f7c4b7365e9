/** What an idle connection may send, rule by rule, and what it did send (TS-58, TS-80). */
import { expect } from "vitest";
import type { ClientPeer, GatewayPeer } from "./peer.ts";
import { RELAY_LISTEN } from "./relay.ts";
import { type Play, story } from "./story.ts";
import type { OutgoingDatagram } from "./world.ts";

const HOUR_S = 3_600;
/** Between two checks of a pair, two keepalives, two Binding requests to a relay (SN-50, SN-82, RL-87). */
const IDLE_S = 25;
/** A client renews its session of itself (T7b). */
const RENEWAL_S = 165;
/** Half of an allocation's and of a channel's life (RL-85, RL-102). */
const HALF_LIFE_S = 300;
/** A relay's nonce is stale after that time (RL-11). */
const NONCE_S = 3_600;
const CHANNEL_HEADER_BYTES = 4;

const STUN_KINDS: Readonly<Record<number, string>> = {
  1: "check",
  257: "answer",
  4: "refresh",
  9: "bind",
};
const WIREGUARD_KINDS: Readonly<Record<number, string>> = { 1: "initiation", 2: "response", 4: "keepalive" };

/** Two ends behind NATs that forget after 30 s whatever comes from outside, and two relays. */
function begin(nat: "port-restricted" | "symmetric"): Play {
  const short = { kind: nat, lifetimeMs: 30_000, isRefreshedFromOutside: false } as const;
  return story(1)
    .network("home", { nat: short })
    .client()
    .network("office", { nat: short })
    .gateway()
    .internet()
    .relay("north")
    .relay("south")
    .begin();
}

/** One packet, then nothing for so long, then one more, which is answered at once by the same connection. */
export function idleFor(nat: "port-restricted" | "symmetric", hours: number): void {
  const play = begin(nat);
  const ends = [play.client(), play.gateway()];
  expect(play.client().reach(5_000)).toBeDefined();
  // Until both are idle and all is given up that nobody answers.
  play.world.run(120_000);
  const [path, since] = [play.path(), sinceOf(play)];
  const before = ends.map(({ sent }) => sent.length);
  play.world.run(hours * HOUR_S * 1_000);
  for (const [i, end] of ends.entries()) {
    const counts = countKinds(end.sent.slice(before[i]));
    for (const [kind, count] of counts) {
      expect(count, `${kind} of the ${end.name} behind ${nat}`).toBeLessThanOrEqual(budget(end, kind, hours));
    }
  }
  expect(play.client().reach(2_000)).toBeDefined();
  expect([play.path(), sinceOf(play)]).toEqual([path, since]);
}

function sinceOf(play: Play): number | undefined {
  return play.client().connections.stats().connections[0]?.createdAt;
}

/** Datagrams of a kind that the rules allow in so many hours; those of no rule: none. */
function budget({ name, connections }: ClientPeer | GatewayPeer, kind: string, hours: number): number {
  const times = (everyS: number): number => Math.ceil((hours * HOUR_S) / everyS) + 1;
  const pairs = (connections.explanations()[0]?.pairs ?? []).filter(({ state }) => state !== "given-up");
  const relays = connections.stats().relays.length;
  const isClient = name === "client";
  const budgets: Readonly<Record<string, number>> = {
    check: pairs.length * times(IDLE_S),
    answer: pairs.length * times(IDLE_S),
    keepalive: isClient ? times(IDLE_S) + times(RENEWAL_S) : 0,
    initiation: isClient ? times(RENEWAL_S) : 0,
    response: isClient ? 0 : times(RENEWAL_S),
    "check of a relay": relays * times(IDLE_S),
    // A nonce that has grown stale costs one more.
    refresh: relays * (times(HALF_LIFE_S) + times(NONCE_S)),
    bind: 2 * pairs.filter(({ localKind }) => localKind === "relay").length * times(HALF_LIFE_S),
  };
  return budgets[kind] ?? 0;
}

function countKinds(sent: readonly OutgoingDatagram[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const datagram of sent) {
    const kind = kindOf(datagram);
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return counts;
}

function kindOf({ destination, bytes }: OutgoingDatagram): string {
  const isToRelay = destination.port === RELAY_LISTEN;
  const isChannelData = isToRelay && (bytes[0] ?? 0) >> 4 === 4;
  const inner = isChannelData ? bytes.subarray(CHANNEL_HEADER_BYTES) : bytes;
  const first = new DataView(inner.buffer, inner.byteOffset).getUint16(0);
  const stun = STUN_KINDS[first];
  if (stun !== undefined && !isWireguard(inner)) {
    return isToRelay && !isChannelData && stun === "check" ? "check of a relay" : stun;
  }
  return WIREGUARD_KINDS[inner[0] ?? 0] ?? `of no rule: ${first}`;
}

/** Little-endian types: the three bytes behind the first are zero; STUN has a length there. */
function isWireguard(bytes: Uint8Array): boolean {
  return bytes[1] === 0 && bytes[2] === 0 && bytes[3] === 0;
}
