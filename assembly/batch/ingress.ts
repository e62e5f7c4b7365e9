/**
 * From received datagrams to frames for the TUN device (WG-47), without system calls.
 *
 * Driven like this: the loop writes source, local address and ECN of the receive into the worker's
 * record, then `ingressBegin`, then `ingressStep` until it returns 0. After each step the listed frames
 * of `coalesce` are written; the next step, or the next batch, reuses their room. When the sockets have
 * nothing more: `ingressFlush`, and the same.
 *
 * All datagrams of a batch have one source, so that activity and roaming are settled once per batch and
 * peer.
 */

import { count, dropped } from "../counters";
import { LANES, open, otks } from "../crypto";
import {
  BUFFER_LEAD,
  CHANNEL_HEADER_BYTES,
  COUNTER_BYTES_IN,
  COUNTER_KEEPALIVES,
  COUNTER_PACKETS_IN,
  COUNTER_PACKETS_PASSED,
  COUNTER_READS,
  COUNTER_SUPER_FRAMES_IN,
  DATA_HEADER_BYTES,
  DROP_REFUSE_RATE,
  DROP_UDP_BAD_META,
  DROP_UDP_TOO_LONG,
  DROP_WG_BAD_TAG,
  DROP_WG_COUNTER_LIMIT,
  DROP_WG_EXPIRED_SESSION,
  DROP_WG_MALFORMED,
  DROP_WG_REPLAY,
  DROP_WG_UNKNOWN_INDEX,
  EVENT_ACTIVITY,
  EVENT_CONFIRMED,
  EVENT_STUN,
  EVENT_WAKE,
  INGRESS_AHEAD,
  INGRESS_AHEAD_FIRST,
  INGRESS_AHEAD_INDEX,
  INGRESS_BATCH_BYTES,
  INGRESS_CHANNEL,
  INGRESS_COALESCE,
  INGRESS_FROM,
  INGRESS_FROM_BYTES,
  INGRESS_FROM_PORT,
  INGRESS_LOCAL_BYTES,
  INGRESS_OUTER_ECN,
  INGRESS_PEER,
  INGRESS_PEER_BYTES,
  INGRESS_PEER_PACKETS,
  INGRESS_POSITION,
  INGRESS_SESSION,
  INGRESS_SESSION_INDEX,
  INGRESS_STRIDE,
  PATH_DESTINATION,
  PATH_DIRECT,
  PATH_KIND,
  PEER_BYTES,
  PEER_CURRENT,
  PEER_IDLE,
  PEER_PATH,
  PEER_ROAMING,
  PEER_WATCH,
  PLANE_ADDRESS,
  PLANE_IS_ROAMING,
  PLANE_IS_STRICT,
  PLANE_MAX_DATAGRAM,
  PLANE_MAX_PACKET,
  PLANE_PEERS,
  PUNT_CONTROL_EVENT,
  PUNT_REFUSED,
  SESSION_GENERATION,
  SESSION_IS_INITIATOR,
  SESSION_RECEIVE_KEY,
  SESSION_RECV_UNTIL,
  SESSION_REJECT_LIMIT,
  SESSION_SLOT,
  TAG_BYTES,
  TARGET_CONTROL,
  TARGET_DROP,
  TARGET_NONE,
  TARGET_REFUSE,
  WORKER_AEAD,
  WORKER_INPUT,
  WORKER_KEYS_AHEAD,
  WORKER_NONCE,
  WORKER_NONCE_COUNTER,
  WORKER_NOW,
  WORKER_PACKET,
} from "../layout";
import { mergeEcn } from "../packet/ecn";
import { validate } from "../packet/ip";
import {
  coalesceAccept,
  coalesceBegin,
  coalesceClose,
  coalesceDiscard,
  coalesceTarget,
} from "../segment/coalesce";
import { noteReceived } from "../table/activity";
import { accept, isFresh } from "../table/replay-window";
import { findSession, peerRow, sessionNumber, sessionRow } from "../table/session";
import { channelLength, isData, isRelayed, isShortData, kindForControl } from "./demux";
import { judgeIngress } from "./policy";
import {
  mayRefuse,
  publishEvent,
  puntDatagram,
  puntPacket,
  reportOnce,
  reportRoamed,
  reserveEvent,
} from "./punt";

/** One-time keys in advance pay from three messages on (PF-65). */
const AHEAD_MIN: u32 = 3;
/** struct sockaddr_in6 begins with it. */
const AF_INET6: u32 = 10;
/** Eight strides of this length, from anywhere in a receive, stay inside the buffer. */
const AHEAD_STRIDE_MAX: u32 = 8192;

/** Takes a receive of `bytes` bytes in the input buffer: datagrams of `stride` bytes, the last shorter. */
export function ingressBegin(cx: usize, bytes: u32, stride: u32): void {
  store<u32>(cx, 0, INGRESS_BATCH_BYTES);
  store<u32>(cx, 0, INGRESS_POSITION);
  store<u32>(cx, 0, INGRESS_SESSION_INDEX);
  store<u32>(cx, 0, INGRESS_AHEAD);
  store<u32>(cx, 0, INGRESS_CHANNEL);
  store<usize>(cx, 0, INGRESS_PEER);
  if (bytes == 0) return;
  count(cx, COUNTER_READS, 1);
  count(cx, COUNTER_BYTES_IN, <u64>bytes);
  if (stride == 0 || stride > bytes) {
    count(cx, COUNTER_PACKETS_IN, 1);
    dropped(cx, DROP_UDP_BAD_META, 1);
    return;
  }
  const datagrams = <u64>((bytes + stride - 1) / stride);
  count(cx, COUNTER_PACKETS_IN, datagrams);
  if (datagrams > 1) count(cx, COUNTER_SUPER_FRAMES_IN, 1);
  if (load<u32>(cx, INGRESS_LOCAL_BYTES) == 0) {
    dropped(cx, DROP_UDP_BAD_META, datagrams);
    return;
  }
  store<u32>(cx, bytes, INGRESS_BATCH_BYTES);
  store<u32>(cx, stride, INGRESS_STRIDE);
}

/**
 * Works on the batch until it is done or the list of frames is full.
 * @returns 1: write the listed frames and step on; 0: the batch is done, and frames may be listed
 */
export function ingressStep(cx: usize): i32 {
  coalesceBegin(cx + INGRESS_COALESCE);
  const bytes = load<u32>(cx, INGRESS_BATCH_BYTES);
  const stride = load<u32>(cx, INGRESS_STRIDE);
  const input = load<usize>(cx, WORKER_INPUT) + BUFFER_LEAD;
  let position = load<u32>(cx, INGRESS_POSITION);
  for (; position < bytes; position += stride) {
    if (!handleDatagram(cx, input + <usize>position, min<u32>(stride, bytes - position), bytes - position)) {
      store<u32>(cx, position, INGRESS_POSITION);
      return 1;
    }
  }
  store<u32>(cx, bytes, INGRESS_POSITION);
  settlePeer(cx);
  return 0;
}

/** Lists the frame under construction, because nothing more is coming (PF-58). */
export function ingressFlush(cx: usize): void {
  coalesceBegin(cx + INGRESS_COALESCE);
  coalesceClose(cx + INGRESS_COALESCE);
}

/**
 * One datagram of `bytes` bytes, `left` bytes before the end of the batch.
 * @returns false if there is no room for its frame: nothing has happened
 */
function handleDatagram(cx: usize, at: usize, bytes: u32, left: u32): bool {
  if (bytes > load<u32>(PLANE_ADDRESS, PLANE_MAX_DATAGRAM)) {
    dropped(cx, DROP_UDP_TOO_LONG, 1);
    return true;
  }
  if (isData(at, bytes)) return handleData(cx, at, bytes, left, bytes);
  if (!isRelayed(cx, at, bytes)) {
    handleOther(cx, at, bytes, 0);
    return true;
  }
  const message = at + CHANNEL_HEADER_BYTES;
  const length = channelLength(at);
  if (isData(message, length))
    return handleData(cx, message, length, left - <u32>CHANNEL_HEADER_BYTES, bytes);
  handleOther(cx, message, length, load<u32>(cx, INGRESS_CHANNEL));
  return true;
}

function handleOther(cx: usize, at: usize, bytes: u32, channel: u32): void {
  const kind = kindForControl(at, bytes);
  if (isShortData(at, bytes) && kind != EVENT_STUN) dropped(cx, DROP_WG_MALFORMED, 1);
  else puntDatagram(cx, kind, at, bytes, channel);
}

/**
 * A transport message of `bytes` bytes at `at` (WG-47). `wire` is the length of its datagram.
 * @returns false if there is no room for its frame: nothing has happened
 */
function handleData(cx: usize, at: usize, bytes: u32, left: u32, wire: u32): bool {
  const session = sessionOf(cx, load<u32>(at, 4));
  const counter = load<u64>(at, 8);
  const reason = reasonNotToOpen(cx, session, counter);
  if (reason != 0) {
    dropped(cx, reason, 1);
    return true;
  }
  const text = bytes - DATA_HEADER_BYTES - TAG_BYTES;
  const coalesce = cx + INGRESS_COALESCE;
  const target = coalesceTarget(coalesce, text);
  if (target == 0) return false;
  const key = session + SESSION_RECEIVE_KEY;
  const ahead = LANES != 0 ? keyAhead(cx, key, at, left) : 0;
  store<u64>(cx, counter, WORKER_NONCE_COUNTER);
  const body = at + <usize>DATA_HEADER_BYTES;
  if (open(key, cx + WORKER_NONCE, body, target, <i32>text, cx + WORKER_AEAD, ahead) == 0) {
    coalesceDiscard(coalesce);
    dropped(cx, DROP_WG_BAD_TAG, 1);
    return true;
  }
  // The counter enters the window only now: a forged message must not close it for the true one.
  if (!accept(session, counter)) {
    coalesceDiscard(coalesce);
    dropped(cx, DROP_WG_REPLAY, 1);
    return true;
  }
  noteAuthentic(cx, session, text, wire);
  if (text == 0) {
    coalesceDiscard(coalesce);
    count(cx, COUNTER_PACKETS_PASSED, 1);
    count(cx, COUNTER_KEEPALIVES, 1);
    return true;
  }
  deliver(cx, load<u32>(session, SESSION_SLOT), target, text);
  return true;
}

/** The session of a receiver index, looked up once per run. */
function sessionOf(cx: usize, index: u32): usize {
  if (index != 0 && load<u32>(cx, INGRESS_SESSION_INDEX) == index) return load<usize>(cx, INGRESS_SESSION);
  const session = findSession(index);
  store<u32>(cx, index, INGRESS_SESSION_INDEX);
  store<usize>(cx, session, INGRESS_SESSION);
  return session;
}

/** What is known before any cryptography: a reason, or 0. */
function reasonNotToOpen(cx: usize, session: usize, counter: u64): u32 {
  if (session == 0) return DROP_WG_UNKNOWN_INDEX;
  if (load<u64>(cx, WORKER_NOW) >= load<u64>(session, SESSION_RECV_UNTIL)) return DROP_WG_EXPIRED_SESSION;
  if (counter >= load<u64>(session, SESSION_REJECT_LIMIT)) return DROP_WG_COUNTER_LIMIT;
  return isFresh(session, counter) ? 0 : DROP_WG_REPLAY;
}

/**
 * The one-time key of the message at `at`, made in advance for a run of one session, or 0.
 *
 * Keys are made for LANES messages at the batch's stride, whatever lies there: one whose message turns
 * out to be another session's, or none, is never used.
 */
function keyAhead(cx: usize, key: usize, at: usize, left: u32): usize {
  const stride = load<u32>(cx, INGRESS_STRIDE);
  const index = load<u32>(at, 4);
  const keys = cx + WORKER_KEYS_AHEAD;
  const made = load<u32>(cx, INGRESS_AHEAD);
  if (made != 0 && load<u32>(cx, INGRESS_AHEAD_INDEX) == index) {
    const distance = <u32>(at - load<usize>(cx, INGRESS_AHEAD_FIRST));
    const lane = distance / stride;
    if (lane < made && lane * stride == distance) return keys + <usize>(lane << 5);
  }
  if (left < AHEAD_MIN * stride || stride > AHEAD_STRIDE_MAX) return 0;
  // Without a second message of the session right behind, a whole batch of keys would be for one.
  if (load<u32>(at + <usize>stride, 4) != index) return 0;
  otks(key, at + 8, <usize>stride, keys, cx + WORKER_AEAD);
  store<u32>(cx, <u32>LANES, INGRESS_AHEAD);
  store<usize>(cx, at, INGRESS_AHEAD_FIRST);
  store<u32>(cx, index, INGRESS_AHEAD_INDEX);
  return keys;
}

/** An authentic message of `wire` bytes on `session`: activity, confirmation. */
function noteAuthentic(cx: usize, session: usize, text: u32, wire: u32): void {
  const slot = load<u32>(session, SESSION_SLOT);
  const peer = peerRow(slot);
  if (load<usize>(cx, INGRESS_PEER) != peer) {
    settlePeer(cx);
    store<usize>(cx, peer, INGRESS_PEER);
  }
  store<u32>(cx, load<u32>(cx, INGRESS_PEER_BYTES) + wire, INGRESS_PEER_BYTES);
  if (text != 0) store<u32>(cx, load<u32>(cx, INGRESS_PEER_PACKETS) + 1, INGRESS_PEER_PACKETS);
  const number = sessionNumber(session);
  if (atomic.load<u32>(peer, PEER_CURRENT) == number || load<u32>(session, SESSION_IS_INITIATOR) != 0) return;
  confirm(cx, peer, slot, session, number);
}

/**
 * A responder's session sends from its first authentic message on, unless a newer one does (WG-16). It is
 * not confirmed while control cannot be told: the next message tries again.
 */
function confirm(cx: usize, peer: usize, slot: u32, session: usize, number: u32): void {
  const generation = load<u32>(session, SESSION_GENERATION);
  while (true) {
    const seen = atomic.load<u32>(peer, PEER_CURRENT);
    const current = sessionRow(seen);
    if (current != 0 && load<u32>(current, SESSION_GENERATION) >= generation) return;
    const entry = reserveEvent(cx);
    if (entry == 0) return;
    if (atomic.cmpxchg<u32>(peer, seen, number, PEER_CURRENT) == seen) {
      publishEvent(cx, entry, EVENT_CONFIRMED, slot, generation, 0);
      return;
    }
  }
}

/** Once per batch and peer: stamps, watch and idle events, roaming. */
function settlePeer(cx: usize): void {
  const peer = load<usize>(cx, INGRESS_PEER);
  if (peer == 0) return;
  const packets = load<u32>(cx, INGRESS_PEER_PACKETS);
  noteReceived(peer, load<u64>(cx, WORKER_NOW), packets, load<u32>(cx, INGRESS_PEER_BYTES));
  store<usize>(cx, 0, INGRESS_PEER);
  store<u32>(cx, 0, INGRESS_PEER_PACKETS);
  store<u32>(cx, 0, INGRESS_PEER_BYTES);
  const slot = <u32>((peer - load<usize>(PLANE_ADDRESS, PLANE_PEERS)) / PEER_BYTES);
  if (packets != 0) {
    if (atomic.load<u32>(peer, PEER_WATCH) != 0) reportOnce(cx, peer + PEER_WATCH, EVENT_ACTIVITY, slot);
    if (atomic.load<u32>(peer, PEER_IDLE) != 0) reportOnce(cx, peer + PEER_IDLE, EVENT_WAKE, slot);
  }
  if (load<u32>(PLANE_ADDRESS, PLANE_IS_ROAMING) != 0 && !isFromEndpoint(cx, peer)) {
    reportRoamed(cx, peer + PEER_ROAMING, slot);
  }
}

/** Whether the batch came from where the peer's path leads (WG-62). */
function isFromEndpoint(cx: usize, peer: usize): bool {
  const path = atomic.load<usize>(peer, PEER_PATH);
  if (path == 0 || load<u32>(path, PATH_KIND) != PATH_DIRECT) return false;
  // struct sockaddr: port at 2 in both families; the address at 4 in IPv4, at 8 in IPv6.
  const port = <u32>bswap<u16>(load<u16>(path, PATH_DESTINATION + 2));
  if (port != load<u32>(cx, INGRESS_FROM_PORT)) return false;
  const isV6 = load<u16>(path, PATH_DESTINATION) == AF_INET6;
  if (isV6 != (load<u32>(cx, INGRESS_FROM_BYTES) == 16)) return false;
  if (!isV6) return load<u32>(path, PATH_DESTINATION + 4) == load<u32>(cx, INGRESS_FROM);
  return !v128.any_true(v128.xor(v128.load(path, PATH_DESTINATION + 8), v128.load(cx, INGRESS_FROM)));
}

/** The decrypted bytes: validated, judged, and put into a frame, or handed to control, or dropped. */
function deliver(cx: usize, slot: u32, packet: usize, available: u32): void {
  const coalesce = cx + INGRESS_COALESCE;
  const d = cx + WORKER_PACKET;
  const limit = load<u32>(PLANE_ADDRESS, PLANE_MAX_PACKET);
  const isStrict = load<u32>(PLANE_ADDRESS, PLANE_IS_STRICT) != 0;
  const length = validate(packet, available, limit, isStrict, d);
  if (length < 0) {
    coalesceDiscard(coalesce);
    dropped(cx, <u32>-length, 1);
    return;
  }
  const target = judgeIngress(slot, packet, d);
  if (target == TARGET_NONE) {
    mergeEcn(packet, load<u32>(cx, INGRESS_OUTER_ECN));
    coalesceAccept(coalesce, d);
    count(cx, COUNTER_PACKETS_PASSED, 1);
    return;
  }
  if (target == TARGET_CONTROL) puntPacket(cx, PUNT_CONTROL_EVENT, slot, packet, <u32>length);
  else if (target == TARGET_REFUSE && mayRefuse(cx)) puntPacket(cx, PUNT_REFUSED, slot, packet, <u32>length);
  else dropped(cx, target == TARGET_REFUSE ? DROP_REFUSE_RATE : target - TARGET_DROP, 1);
  coalesceDiscard(coalesce);
}
