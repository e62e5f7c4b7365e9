/**
 * What a flood of initiations brings beyond what will be answered is dropped by the kernel, before it reaches the
 * socket (PG-160): there it costs a fiftieth of what it costs here, where each message is a system call (PF-80).
 *
 * This is the filter's program, in the instructions of classic BPF. It looks at initiations only. Some of them
 * pass by chance, and all from where a peer's path leads; those with a mac2, which it cannot check, have a chance of
 * their own. Everything else is not touched. `loop/flood.ts` puts it before the sockets and takes it away. The twin:
 * `test/twin/plane/flood.ts`.
 */
import { Sockaddr } from "../header";
import {
  FLOOD_BEGINS,
  FLOOD_ENDS,
  FLOOD_ONE,
  FLOOD_PASSED,
  FLOOD_PASSING_MIN,
  FLOOD_PEERS_MAX,
  PATH_DIRECT,
  Path,
  Peer,
  PLANE_ADDRESS,
  Plane,
  REPLY_SHARE,
} from "../layout";
import { AF_INET6 } from "../linux";
import { peerRow } from "../table/session";

const INSTRUCTION_BYTES: usize = 8;
const ALL: u32 = 0xffffffff;

/** `BPF_LD | BPF_W | BPF_ABS`: a word in network order, from the UDP header on. */
const LOAD: u32 = 0x20;
const LOAD_LENGTH: u32 = 0x80;
const RETURN: u32 = 0x06;
/** `BPF_MISC | BPF_TAX`, `BPF_ALU | BPF_OR | BPF_X`. */
const TO_X: u32 = 0x07;
const OR_X: u32 = 0x4c;
/** Comparisons, each with how many instructions it skips where it holds, or where it does not. */
const SKIP_IF_EQUAL: u32 = 0x0001_0015;
const SKIP_UNLESS_LESS: u32 = 0x0001_0035;
const SKIP_3_IF_EQUAL: u32 = 0x0003_0015;
const SKIP_4_UNLESS_LESS: u32 = 0x0004_0035;
const SKIP_UNLESS_EQUAL: u32 = 0x0100_0015;
const SKIP_3_UNLESS_EQUAL: u32 = 0x0300_0015;
/** SKF_AD_OFF + SKF_AD_RANDOM; SKF_NET_OFF and where IP headers have the source. */
const RANDOM: u32 = 0xfffff038;
const SOURCE4: u32 = 0xfff0000c;
const SOURCE6: u32 = 0xfff00008;

/** What is no initiation passes. X becomes 0 where there is no mac2; for each kind chance has a threshold of its own. */
const HEAD = memory.data<u32>([
  LOAD_LENGTH,
  0,
  SKIP_IF_EQUAL,
  156,
  RETURN,
  ALL,
  LOAD,
  8,
  SKIP_IF_EQUAL,
  0x01000000,
  RETURN,
  ALL,
  LOAD,
  140,
  TO_X,
  0,
  LOAD,
  144,
  OR_X,
  0,
  TO_X,
  0,
  LOAD,
  148,
  OR_X,
  0,
  TO_X,
  0,
  LOAD,
  152,
  OR_X,
  0,
  SKIP_3_IF_EQUAL,
  0,
  LOAD,
  RANDOM,
  SKIP_4_UNLESS_LESS,
  0,
  RETURN,
  ALL,
  LOAD,
  RANDOM,
  SKIP_UNLESS_LESS,
  0,
  RETURN,
  ALL,
]);
const HEAD_BYTES: usize = 23 * INSTRUCTION_BYTES;
const STALE_THRESHOLD_AT: usize = 18 * INSTRUCTION_BYTES + 4;
const BARE_THRESHOLD_AT: usize = 21 * INSTRUCTION_BYTES + 4;

/**
 * How many in FLOOD_ONE may pass from now on, after `came` initiations of a kind in `elapsed` ms, while `passing`
 * did, and there are `replies` in a window; 0: all.
 */
export function passingOf(came: u32, elapsed: u64, passing: u32, replies: u32): u32 {
  const one: u64 = passing == 0 ? FLOOD_ONE : passing;
  const perSecond = (<u64>came * 1000 * <u64>FLOOD_ONE) / (elapsed * one);
  if (perSecond < scaled(passing == 0 ? FLOOD_BEGINS : FLOOD_ENDS, replies)) return 0;
  return max<u32>(FLOOD_PASSING_MIN, <u32>((scaled(FLOOD_PASSED, replies) * <u64>FLOOD_ONE) / perSecond));
}

/** A rate that belongs to REPLY_SHARE, for so many replies. */
function scaled(rate: u32, replies: u32): u64 {
  return (<u64>rate * <u64>replies) / <u64>REPLY_SHARE;
}

/**
 * Writes the program for one family, by which so many in FLOOD_ONE pass (0: all) without a mac2, and with one.
 * Returns its length in instructions, or 0 if peers are too many.
 */
export function writeFilter(program: usize, isV6: bool, bare: u32, stale: u32): u32 {
  memory.copy(program, HEAD, HEAD_BYTES);
  store<u32>(program, thresholdOf(bare), BARE_THRESHOLD_AT);
  store<u32>(program, thresholdOf(stale), STALE_THRESHOLD_AT);
  let at = program + HEAD_BYTES;
  if (!isV6) at = put(at, LOAD, SOURCE4);
  const slots = load<u32>(PLANE_ADDRESS, Plane.PEER_CAPACITY);
  let known: u32 = 0;
  for (let slot: u32 = 0; slot < slots; slot++) {
    const path = directPath(peerRow(slot));
    if (path == 0 || isV6 != (<u32>load<u16>(path, Path.DESTINATION + Sockaddr.FAMILY) == AF_INET6)) continue;
    if (++known > FLOOD_PEERS_MAX) return 0;
    at = isV6 ? passNetwork6(at, path) : passAddress4(at, path);
  }
  at = put(at, RETURN, 0);
  return <u32>((at - program) / INSTRUCTION_BYTES);
}

/** FLOOD_ONE in 2^32. */
function thresholdOf(passing: u32): u32 {
  return passing == 0 ? ALL : passing << 16;
}

function directPath(peer: usize): usize {
  if (atomic.load<u32>(peer, Peer.PEER_ID) == 0) return 0;
  const path = atomic.load<usize>(peer, Peer.PATH);
  return path != 0 && load<u32>(path, Path.KIND) == PATH_DIRECT ? path : 0;
}

function passAddress4(at: usize, path: usize): usize {
  at = put(at, SKIP_UNLESS_EQUAL, bswap<u32>(load<u32>(path, Path.DESTINATION + Sockaddr.ADDRESS4)));
  return put(at, RETURN, ALL);
}

/** The /64, as budgets have it. */
function passNetwork6(at: usize, path: usize): usize {
  at = put(at, LOAD, SOURCE6);
  at = put(at, SKIP_3_UNLESS_EQUAL, bswap<u32>(load<u32>(path, Path.DESTINATION + Sockaddr.ADDRESS6)));
  at = put(at, LOAD, SOURCE6 + 4);
  at = put(at, SKIP_UNLESS_EQUAL, bswap<u32>(load<u32>(path, Path.DESTINATION + Sockaddr.ADDRESS6 + 4)));
  return put(at, RETURN, ALL);
}

function put(at: usize, code: u32, operand: u32): usize {
  store<u32>(at, code);
  store<u32>(at, operand, 4);
  return at + INSTRUCTION_BYTES;
}
