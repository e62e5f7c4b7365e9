/** Datagrams of an idle connection by kind, and how many of each the rules allow (TS-58, TS-80). */
import { RELAY_LISTEN } from "../sim/relay.ts";

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

export interface IdleEnd {
  readonly isClient: boolean;
  /** Pairs of addresses that are not given up. */
  readonly pairs: number;
  /** Those of them whose own address lies at a relay. */
  readonly relayPairs: number;
  readonly relays: number;
}

/** @returns datagrams of a kind that an end may send in so many hours; of no rule: none */
export function idleBudget({ isClient, pairs, relayPairs, relays }: IdleEnd, kind: string, hours: number) {
  const times = (everyS: number): number => Math.ceil((hours * HOUR_S) / everyS) + 1;
  const budgets: Readonly<Record<string, number>> = {
    check: pairs * times(IDLE_S),
    answer: pairs * times(IDLE_S),
    keepalive: isClient ? times(IDLE_S) + times(RENEWAL_S) : 0,
    initiation: isClient ? times(RENEWAL_S) : 0,
    response: isClient ? 0 : times(RENEWAL_S),
    "check of a relay": relays * times(IDLE_S),
    // A nonce that has grown stale costs one more.
    refresh: relays * (times(HALF_LIFE_S) + times(NONCE_S)),
    bind: 2 * relayPairs * times(HALF_LIFE_S),
  };
  return budgets[kind] ?? 0;
}

/** @param port of the destination */
export function idleKind(port: number, bytes: Uint8Array): string {
  const isToRelay = port === RELAY_LISTEN;
  const isChannelData = isToRelay && (bytes[0] ?? 0) >> 4 === 4;
  const inner = isChannelData ? bytes.subarray(CHANNEL_HEADER_BYTES) : bytes;
  const first = new DataView(inner.buffer, inner.byteOffset).getUint16(0);
  const stun = STUN_KINDS[first];
  if (stun !== undefined && !isWireguard(inner)) {
    return isToRelay && !isChannelData && stun === "check" ? "check of a relay" : stun;
  }
  return WIREGUARD_KINDS[inner[0] ?? 0] ?? `of no rule: ${first} to port ${port}`;
}

/** Little-endian types: the three bytes behind the first are zero; STUN has a length there. */
function isWireguard(bytes: Uint8Array): boolean {
  return bytes[1] === 0 && bytes[2] === 0 && bytes[3] === 0;
}

export function countKinds(kinds: Iterable<string>): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const kind of kinds) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return counts;
}
