/**
 * The path's MTU (SN-150): what the kernel knows of it, and what answered checks of a size prove.
 *
 *     confirming ──3 tries, no answer──▶ searching ──3 tries──▶ resting
 *          │ ▲                              │ first of all       │ ▲
 *          │ └────────── after 60 s ────────┼────────────────────┘ │
 *          └── answer ──────────────────────┴──────────────────────┘
 */
import { after, earliest, type Instant, IPV6_MTU_MIN } from "../base/index.ts";
import { type Candidate, ICE, type IceAgent } from "../ice/index.ts";
import { encodeTooBig, encodeUdp, MAX_IP_SIZE } from "../packet/index.ts";
import { CHANNEL_HEADER_BYTES } from "../turn/index.ts";
import {
  type Connection,
  type ConnectionsState,
  formatPath,
  idField,
  type MtuCheck,
  type Path,
  type PathMtu,
  type Way,
} from "./state.ts";
import { firstHop } from "./way.ts";

const TRIES = 3;
const TRY_ROUND_TRIPS = 3;
const TRY_MS_MIN = 100;
const TRY_MS_MAX = 1_000;
/** While no check of the pair has been answered, as at a gateway just after the nomination. */
const TRY_MS_FIRST = 250;
const REST_MS = 60_000;
/** For so long a kernel remembers what ICMPv6 told it (`net.ipv6.route.mtu_expires`), and a moment more. */
const KERNEL_FORGETS_MS = 601_000;
/** After a search without any answer. */
const REST_MS_UNANSWERED = 5_000;

/** MTUs of tunnels in tunnels, the least of IPv6, plateaus of RFC 1191 §7, the least of IPv4. */
const SIZES = [1340, 1320, 1300, 1280, 1240, 1200, 1100, 1000, 800, 576] as const;
const IPV4_MTU_MIN = 576;
/** STUN counts in fours (RFC 8489 §5), and so do the headers around it. */
const UNIT_BYTES = 4;
const IP_UDP_BYTES = { v4: 28, v6: 48 } as const;
/** Header and tag of a transport message. */
const WIREGUARD_BYTES = 32;

/** Of a path that has just been selected: the kernel knows best. It is checked at once. */
export function createPathMtu(state: ConnectionsState, way: Way): PathMtu {
  const top = kernelMtu(state, way);
  return {
    bytes: top,
    by: "kernel",
    check: confirming(top, state.now),
    isCutInside: false,
    hasWarned: false,
  };
}

/** The largest inner packet that fits. */
export function mtuInside(path: Path): number {
  return path.mtu.bytes - overheadOf(path) - WIREGUARD_BYTES;
}

/** When the path must be looked at. An idle connection's is left alone. */
export function mtuDeadline({ phase }: Connection): Instant | undefined {
  return phase.kind === "connected" ? phase.path.mtu.check.dueAt : undefined;
}

/** Does what is due. */
export function advanceMtu(state: ConnectionsState, connection: Connection): void {
  const { phase } = connection;
  if (phase.kind !== "connected" || state.now < phase.path.mtu.check.dueAt) return;
  const { path } = phase;
  // Its relay is gone: nothing can be sent, and by which family anything will be is not known (SN-89).
  if (firstHop(path) === undefined) return rest(state, connection, path, REST_MS_UNANSWERED);
  const top = kernelMtu(state, path);
  const { check } = path.mtu;
  if (check.kind === "resting" || top < check.top) path.mtu.check = confirming(top, state.now);
  if (top < path.mtu.bytes) setMtu(state, connection, path, top, "kernel");
  takeStep(state, connection, path);
}

/** The kernel found a datagram too long: it knows more than we do. */
export function recheckMtu(state: ConnectionsState, { phase }: Connection): void {
  if (phase.kind === "connecting") return;
  const { path } = phase;
  path.mtu.check = confirming(kernelMtu(state, path), state.now);
}

/** A check of `messageBytes` was answered. It counts however late it comes. */
export function noteSize(state: ConnectionsState, connection: Connection, messageBytes: number): void {
  const { phase } = connection;
  if (phase.kind === "connecting") return;
  const { path } = phase;
  const { mtu } = path;
  const size = messageBytes + overheadOf(path);
  if (mtu.check.kind === "resting") {
    if (size > mtu.bytes) setMtu(state, connection, path, size, "check");
    return;
  }
  const best = Math.max(size, mtu.check.best ?? 0);
  mtu.check = { ...mtu.check, best };
  // What a search has found so far is better than what has failed.
  if (best > mtu.bytes || (mtu.check.kind === "searching" && best < mtu.bytes)) {
    setMtu(state, connection, path, best, "check");
  }
  if (best >= mtu.check.top) settle(state, connection, path);
}

/** The next try, or what follows from the last. */
function takeStep(state: ConnectionsState, connection: Connection, path: Path): void {
  const { check } = path.mtu;
  if (check.kind === "resting") return;
  if (check.tries < TRIES) return sendTry(state, connection, path, check);
  if (check.best !== undefined) return settle(state, connection, path);
  if (check.kind === "searching") return rest(state, connection, path, REST_MS_UNANSWERED);
  return sendTry(state, connection, path, { ...check, kind: "searching", tries: 0 });
}

function sendTry(
  state: ConnectionsState,
  { agent }: Connection,
  path: Path,
  check: Exclude<MtuCheck, { kind: "resting" }>,
): void {
  const { mtu } = path;
  const rttMs = ICE.rttMs(agent);
  const waitMs =
    rttMs === undefined ? TRY_MS_FIRST : Math.min(TRY_MS_MAX, Math.max(TRY_MS_MIN, TRY_ROUND_TRIPS * rttMs));
  mtu.check = { ...check, tries: check.tries + 1, dueAt: after(state.now, waitMs) };
  const lower = check.kind === "confirming" ? [mtu.bytes] : SIZES;
  const sizes = lower.filter((size) => size < check.top && size >= leastOf(path));
  for (const size of [check.top, ...sizes]) {
    if (size > (check.best ?? 0)) ICE.checkSize(agent, size - overheadOf(path));
  }
}

/** Answers have shown what the path carries. */
function settle(state: ConnectionsState, connection: Connection, path: Path): void {
  tellKernel(state, path);
  noteCut(state, connection, path);
  rest(state, connection, path, REST_MS);
}

/** Whether what is longer than the path is cut up inside, by what is known of it now (TN-121). */
export function noteCut(state: ConnectionsState, connection: Connection, path: Path): void {
  const isCutInside = isNowhereCutOutside(state, connection, path);
  if (isCutInside === path.mtu.isCutInside) return;
  path.mtu.isCutInside = isCutInside;
  state.unpublished.add(connection);
}

/** Over IPv6 only the sender cuts datagrams up. A relay is one, too, and nobody can tell its kernel (RL-50). */
function isNowhereCutOutside(state: ConnectionsState, { agent }: Connection, path: Path): boolean {
  const { kind, mtu, relay, source } = path;
  const isToRelay = kind === "peer-to-relay" || kind === "relay-to-relay";
  if (relay !== undefined || isToRelay) {
    const isLentV6 = relay !== undefined && source.address.length === 16;
    const isV6Anywhere = isV6(path) || isLentV6 || (isToRelay && mayReachRelayByV6(agent));
    return isV6Anywhere && mtu.bytes < fullMtu(path);
  }
  // Where no kernel is asked, it may know, and cut.
  if (!isV6(path) || state.options.pathMtu === undefined) return false;
  return isKernelDeaf(state) && mtu.bytes < kernelMtu(state, path);
}

/** How the peer reaches its relay is not told, but whether it has IPv6 is. */
function mayReachRelayByV6(agent: IceAgent): boolean {
  const isOwnV6 = ({ kind, address }: Candidate): boolean =>
    kind !== "relay" && address.address.length === 16;
  return ICE.remoteCandidates(agent).some(isOwnV6);
}

/** Where no kernel is asked, none listens. */
function isKernelDeaf({ options }: ConnectionsState): boolean {
  return options.pathMtu === undefined || options.isKernelDeaf === true;
}

/**
 * Over IPv6 only the sender cuts datagrams up, and the kernel does so for none if no ICMP came to it. So it hears from
 * the TUN device what a router would have said of a datagram of ours (SN-152). It forgets that in time, and then larger
 * checks show whether the path has become wider.
 */
function tellKernel(state: ConnectionsState, path: Path): void {
  const { source, destination, mtu, relay } = path;
  // Behind a relay the narrow place may be the relay's.
  if (relay !== undefined || isKernelDeaf(state) || !isV6(path)) return;
  if (mtu.bytes >= kernelMtu(state, path)) return;
  const datagram = encodeUdp(source, destination, new Uint8Array());
  const packet = datagram.ok ? encodeTooBig(datagram.value, mtu.bytes) : undefined;
  if (packet === undefined) return;
  state.commands.push({ kind: "write-tun", packet });
  mtu.kernelForgetsAt = after(state.now, KERNEL_FORGETS_MS);
}

/** Nothing more is tried for a while. A narrow path is said once. */
function rest(state: ConnectionsState, connection: Connection, path: Path, forMs: number): void {
  const { mtu } = path;
  const dueAt = after(state.now, forMs);
  const { kernelForgetsAt } = mtu;
  const isForgotten = kernelForgetsAt === undefined || kernelForgetsAt <= state.now;
  mtu.check = { kind: "resting", dueAt: isForgotten ? dueAt : (earliest(dueAt, kernelForgetsAt) ?? dueAt) };
  if (mtu.hasWarned || firstHop(path) === undefined || mtu.bytes >= fullMtu(path)) return;
  mtu.hasWarned = true;
  connection.log.warn?.("path carries no full packets", describe(state, connection, path));
}

function setMtu(
  state: ConnectionsState,
  connection: Connection,
  path: Path,
  bytes: number,
  by: PathMtu["by"],
): void {
  path.mtu.bytes = bytes;
  path.mtu.by = by;
  noteCut(state, connection, path);
  state.unpublished.add(connection);
  connection.log.debug?.("path MTU changed", describe(state, connection, path));
}

function describe(
  state: ConnectionsState,
  { id }: Connection,
  path: Path,
): Readonly<Record<string, unknown>> {
  const { bytes, by } = path.mtu;
  return {
    ...idField(state, id),
    path: formatPath(path),
    mtu: bytes,
    mtuInside: mtuInside(path),
    learntBy: by,
  };
}

function confirming(top: number, now: Instant): MtuCheck {
  return { kind: "confirming", top, tries: 0, best: undefined, dueAt: now };
}

/** What the kernel takes, within what is of interest. */
function kernelMtu({ options }: ConnectionsState, way: Way): number {
  const hop = firstHop(way);
  const source = way.relay === undefined ? { source: way.source.address } : {};
  const known = hop && options.pathMtu?.({ ...source, destination: hop });
  const full = fullMtu(way);
  const most = known === undefined ? full : Math.min(full, known - (known % UNIT_BYTES));
  return Math.max(leastOf(way), most);
}

/** The datagram of the largest inner packet. */
function fullMtu(way: Way): number {
  return MAX_IP_SIZE + WIREGUARD_BYTES + overheadOf(way);
}

/** What stands before a message: IP and UDP, and channel data to a relay (RFC 8656 §12.4). */
function overheadOf(way: Way): number {
  const ipUdp = isV6(way) ? IP_UDP_BYTES.v6 : IP_UDP_BYTES.v4;
  return way.relay === undefined ? ipUdp : ipUdp + CHANNEL_HEADER_BYTES;
}

function leastOf(way: Way): number {
  return isV6(way) ? IPV6_MTU_MIN : IPV4_MTU_MIN;
}

function isV6(way: Way): boolean {
  return (firstHop(way) ?? way.destination).address.length === 16;
}
