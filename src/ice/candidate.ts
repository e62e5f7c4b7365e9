/** Candidates: kinds, validity, priorities, identity and order (SN-15, SN-18 to SN-23). */
import {
  equalSocketAddress,
  formatIp,
  formatSocketAddress,
  type IpAddress,
  isUsableAddress,
  type SocketAddress,
} from "../base/index.ts";
import { crc32 } from "../stun/index.ts";
import {
  COMPONENT,
  CROSS_FAMILY_PENALTY,
  LOCAL_PREFERENCE_START,
  STREAM_PENALTY,
  TYPE_PREFERENCE,
} from "./constants.ts";

export type CandidateKind = "host" | "prflx" | "srflx" | "relay";

export interface Candidate {
  readonly kind: CandidateKind;
  readonly address: SocketAddress;
  /** 1 to 2^31 - 1. */
  readonly priority: number;
}

/** A candidate of ours. Datagrams of its pairs leave from `base`. */
export interface LocalCandidate extends Candidate {
  readonly base: SocketAddress;
  readonly foundation: string;
  readonly localPreference: number;
}

/** What is known of a local candidate before it has a place in an agent's list. */
export interface LocalAddress {
  readonly kind: "host" | "srflx" | "relay";
  readonly address: SocketAddress;
  /** For `srflx` the host address behind it; otherwise the address itself. */
  readonly base: SocketAddress;
  /** The relay that showed or allocated it. */
  readonly relay?: IpAddress;
  /** The relay is reached by a stream: worse than any that is reached by UDP. */
  readonly isByStream?: boolean;
}

/** Whether a local candidate may be made of it (SN-15). */
export function isUsableLocal(local: LocalAddress): boolean {
  if (!isUsableAddress(local.address.address) || local.address.port === 0) return false;
  return local.kind !== "srflx" || local.address.address.length === local.base.address.length;
}

/**
 * A local candidate with its priority (SN-18).
 *
 * @param rank how many candidates of the same kind and family the agent has had before
 */
export function toLocalCandidate(local: LocalAddress, rank: number): LocalCandidate {
  const isCrossFamily =
    local.kind === "relay" &&
    local.relay !== undefined &&
    local.relay.length !== local.address.address.length;
  const localPreference =
    LOCAL_PREFERENCE_START[local.kind] -
    (local.address.address.length === 4 ? 1 : 0) -
    2 * rank -
    (isCrossFamily ? CROSS_FAMILY_PENALTY : 0) -
    (local.isByStream === true ? STREAM_PENALTY : 0);
  return {
    kind: local.kind,
    address: local.address,
    base: local.base,
    localPreference,
    priority: priorityOf(local.kind, localPreference),
    foundation: foundationOf(local),
  };
}

/** RFC 8445 §5.1.2.1. */
function priorityOf(kind: CandidateKind, localPreference: number): number {
  return TYPE_PREFERENCE[kind] * 2 ** 24 + localPreference * 2 ** 8 + (256 - COMPONENT);
}

/** PRIORITY of a check: that of the prflx candidate it would make us at the peer (SN-19). */
export function checkPriority(local: LocalCandidate): number {
  return priorityOf("prflx", local.localPreference);
}

/** SN-23. Nothing here uses it, but the text form has a place for it. */
function foundationOf(local: LocalAddress): string {
  const relay = local.relay === undefined ? "" : formatIp(local.relay);
  const seed = `${local.kind}|${formatIp(local.base.address)}|${relay}|udp`;
  return crc32(new TextEncoder().encode(seed)).toString(16).padStart(8, "0");
}

/** SN-22: priority, foundation, related address and base do not count. */
export function isSameCandidate(a: Candidate, b: Candidate): boolean {
  return a.kind === b.kind && equalSocketAddress(a.address, b.address);
}

/** Descending priority, ties broken by text: a total order over different candidates (SN-21). */
export function compareCandidates(a: Candidate, b: Candidate): number {
  if (a.priority !== b.priority) return b.priority - a.priority;
  const textA = `${a.kind} ${formatSocketAddress(a.address)}`;
  const textB = `${b.kind} ${formatSocketAddress(b.address)}`;
  return textA < textB ? -1 : textA > textB ? 1 : 0;
}
