/** What a relay shows of us: host, server-reflexive and relayed candidates (RL-106 to RL-108). */
import {
  equalSocketAddress,
  formatSocketAddress,
  isUsableAddress,
  type SocketAddress,
} from "../base/index.ts";
import type { RelayCandidate } from "./relay-client-face.ts";
import type { RelayClientState } from "./relay-client-state.ts";

/** Descending preference, as ICE sorts them (SN-21). */
const KINDS = ["host", "srflx", "relay"] as const;

export function candidatesOf({ shown, phase }: RelayClientState): readonly RelayCandidate[] {
  const all = [...shown.values(), ...(phase.kind === "active" ? phase.relayed : [])];
  return KINDS.flatMap((kind) => all.filter((candidate) => candidate.kind === kind));
}

/**
 * A Binding response arrived at `local`: our own address, and what the relay saw (RL-107). An address that
 * has changed is not withdrawn: roaming unnoticed must not break a pair that works (RL-108).
 */
export function noteBinding(
  state: RelayClientState,
  answer: { readonly local: SocketAddress; readonly mapped: SocketAddress; readonly relay: SocketAddress },
): void {
  const base = copyOfAddress(answer.local);
  const relay = answer.relay.address;
  show(state, { kind: "host", address: base, base, relay });
  if (equalSocketAddress(answer.mapped, base)) state.shown.delete(keyOf("srflx", base));
  else show(state, { kind: "srflx", address: answer.mapped, base, relay });
}

function show(state: RelayClientState, candidate: RelayCandidate): void {
  if (!isCandidate(state, candidate)) return;
  const key = keyOf(candidate.kind, candidate.address);
  const before = state.shown.get(key);
  if (before !== undefined && isSame(before, candidate)) return;
  state.shown.set(key, candidate);
  state.events.push({ kind: "added", candidate });
}

/** The relayed candidates among the addresses of an Allocate response. */
export function relayedCandidates(
  state: RelayClientState,
  addresses: readonly SocketAddress[],
  relay: SocketAddress,
): readonly RelayCandidate[] {
  return addresses
    .map((address): RelayCandidate => ({ kind: "relay", address, base: address, relay: relay.address }))
    .filter((candidate) => isCandidate(state, candidate));
}

function isCandidate({ options, log }: RelayClientState, { kind, address, base }: RelayCandidate): boolean {
  const isLoopback = kind === "relay" && isLoopbackAddress(address) && options.acceptsLoopback !== true;
  const isOfOneFamily = address.address.length === base.address.length;
  if (isUsableAddress(address.address) && address.port !== 0 && isOfOneFamily && !isLoopback) return true;
  log.debug?.("no candidate", { kind, address: formatSocketAddress(address) });
  return false;
}

function isLoopbackAddress({ address }: SocketAddress): boolean {
  if (address.length === 4) return address[0] === 127;
  return address.every((byte, i) => byte === (i === 15 ? 1 : 0));
}

function keyOf(kind: RelayCandidate["kind"], { address }: SocketAddress): string {
  return `${kind} ${address.length}`;
}

function isSame(a: RelayCandidate, b: RelayCandidate): boolean {
  return equalSocketAddress(a.address, b.address) && equalSocketAddress(a.base, b.base);
}

function copyOfAddress({ address, port }: SocketAddress): SocketAddress {
  return { address: address.slice(), port };
}
