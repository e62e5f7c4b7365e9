/**
 * From received datagrams to frames for the TUN device (WG-47), without system calls.
 *
 * Driven like this: the loop writes source, local address and ECN of the receive into the worker's
 * record, then `ingressBegin`, then `ingressStep` until it returns 0. Where it returns 1 the listed frames of
 * `coalesce` must be written, and their count set to 0; behind the last step they may wait for those of the next
 * batch. When the sockets have nothing more: `ingressFlush`, and the same.
 *
 * All datagrams of a batch have one source, so that activity and roaming are noted once per batch and
 * peer. The twin: `test/twin/plane/ingress.ts`.
 */
import { count, dropped } from "../counters";
import { AHEAD_BYTES, LANES, lanesFor, makeAhead, open, openShort } from "../crypto";
import { currentGuard, judgeHandshake, judgeStun, judgeUnknown } from "../guard/guard";
import { noteKnownSource } from "../guard/known-source";
import { noteDataWork } from "../guard/replies";
import { Data, Sockaddr } from "../header";
import {
  BUFFER_LEAD,
  CHANNEL_HEADER_BYTES,
  CHECK_CHECKSUMS,
  Coalesce,
  Counter,
  DATA_HEADER_BYTES,
  Drop,
  EVENT_ACTIVITY,
  EVENT_CONFIRMED,
  EVENT_HANDSHAKE,
  EVENT_STUN,
  EVENT_WAKE,
  FLOW_IN,
  FLOW_OUT,
  Ingress,
  JUDGED,
  PATH_DIRECT,
  Path,
  Peer,
  PLANE_ADDRESS,
  Plane,
  PUNT_CONTROL_EVENT,
  PUNT_ICMP_ERROR,
  PUNT_REFUSED,
  PUNT_RESOLVER,
  Session,
  TAG_BYTES,
  TARGET_CONTROL,
  TARGET_DROP,
  TARGET_FLOW_OF,
  TARGET_ICMP_ERROR_OF,
  TARGET_NONE,
  TARGET_REFUSE,
  TARGET_RESOLVER,
  Worker,
} from "../layout";
import { AF_INET6 } from "../linux";
import { mergeEcn } from "../packet/ecn";
import { validate } from "../packet/ip";
import { checksumsHold } from "../packet/verify";
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
import { clampArriving } from "./fit";
import { egressDirection, followFlow, translate } from "./flow";
import { judgeIngress } from "./policy";
import {
  mayHandError,
  mayHandEvent,
  mayHandFlow,
  mayRefusePeer,
  publishEvent,
  puntDatagram,
  puntDetail,
  puntFlow,
  puntPacket,
  reportOnce,
  reportRoamed,
  reserveEvent,
} from "./punt";

/** Keys and blocks in advance pay from three messages on (PF-65), one pair of blocks from two on (PF-81). */
const AHEAD_MIN: u32 = 3;
const AHEAD_MIN_SHORT: u32 = 2;
const AHEAD_SHORT_BYTES: u32 = 64;
/** Eight strides of this length, from anywhere in a receive, stay inside the buffer. */
const AHEAD_STRIDE_MAX: u32 = 8192;

/** Takes a receive of `bytes` bytes in the input buffer: datagrams of `stride` bytes, the last shorter. */
export function ingressBegin(worker: usize, bytes: u32, stride: u32): void {
  store<u32>(worker, 0, Ingress.BATCH_BYTES);
  store<u32>(worker, 0, Ingress.POSITION);
  store<u32>(worker, 0, Ingress.SESSION_INDEX);
  store<u32>(worker, 0, Ingress.AHEAD);
  store<u32>(worker, 0, Ingress.CHANNEL);
  store<u32>(worker, 0, Ingress.REPLY_COUNT);
  store<usize>(worker, 0, Ingress.PEER);
  store<usize>(worker, 0, Worker.FLOW);
  if (bytes == 0) return;
  count(worker, Counter.READS, 1);
  count(worker, Counter.BYTES_IN, <u64>bytes);
  if (stride == 0 || stride > bytes) {
    count(worker, Counter.PACKETS_IN, 1);
    dropped(worker, Drop.UDP_BAD_META, 1);
    return;
  }
  const datagrams = <u64>((bytes + stride - 1) / stride);
  count(worker, Counter.PACKETS_IN, datagrams);
  if (datagrams > 1) count(worker, Counter.SUPER_FRAMES_IN, 1);
  if (load<u32>(worker, Worker.LOCAL_BYTES) == 0) {
    dropped(worker, Drop.UDP_BAD_META, datagrams);
    return;
  }
  store<u32>(worker, bytes, Ingress.BATCH_BYTES);
  store<u32>(worker, stride, Ingress.STRIDE);
}

/**
 * Works on the batch until it is done or the list of frames is full.
 * @returns 1: write the listed frames and step on; 0: the batch is done, and frames may be listed
 */
export function ingressStep(worker: usize): i32 {
  beginFrames(worker + Ingress.COALESCE);
  const bytes = load<u32>(worker, Ingress.BATCH_BYTES);
  const stride = load<u32>(worker, Ingress.STRIDE);
  const input = load<usize>(worker, Worker.INPUT) + BUFFER_LEAD;
  let position = load<u32>(worker, Ingress.POSITION);
  for (; position < bytes; position += stride) {
    if (
      !handleDatagram(worker, input + <usize>position, min<u32>(stride, bytes - position), bytes - position)
    ) {
      store<u32>(worker, position, Ingress.POSITION);
      return 1;
    }
  }
  store<u32>(worker, bytes, Ingress.POSITION);
  notePeer(worker);
  return 0;
}

/** Lists the frame under construction, because nothing more is coming (PF-58). */
export function ingressFlush(worker: usize): void {
  beginFrames(worker + Ingress.COALESCE);
  coalesceClose(worker + Ingress.COALESCE);
}

/** Listed frames that have not been written yet keep their room. */
function beginFrames(coalesce: usize): void {
  if (load<u32>(coalesce, Coalesce.COUNT) == 0) coalesceBegin(coalesce);
}

/**
 * One datagram of `bytes` bytes, `left` bytes before the end of the batch.
 * @returns false if there is no room for its frame: nothing has happened
 */
function handleDatagram(worker: usize, at: usize, bytes: u32, left: u32): bool {
  if (bytes > load<u32>(PLANE_ADDRESS, Plane.MAX_DATAGRAM)) {
    dropped(worker, Drop.UDP_TOO_LONG, 1);
    return true;
  }
  if (isData(at, bytes)) return handleData(worker, at, bytes, left, bytes);
  if (!isRelayed(worker, at, bytes)) {
    handleOther(worker, at, bytes, 0);
    return true;
  }
  const message = at + CHANNEL_HEADER_BYTES;
  const length = channelLength(at);
  if (isData(message, length))
    return handleData(worker, message, length, left - <u32>CHANNEL_HEADER_BYTES, bytes);
  handleOther(worker, message, length, load<u32>(worker, Ingress.CHANNEL));
  return true;
}

/** Not a transport message: for control, if it may ask for its time. */
function handleOther(worker: usize, at: usize, bytes: u32, channel: u32): void {
  const kind = kindForControl(at, bytes);
  const reason = reasonNotToPunt(worker, kind, at, bytes, channel != 0);
  if (reason != 0) {
    dropped(worker, reason, 1);
    return;
  }
  const isJudged = kind == EVENT_HANDSHAKE && currentGuard() != 0;
  puntDatagram(worker, kind, at, bytes, channel, isJudged ? JUDGED : 0);
}

function reasonNotToPunt(worker: usize, kind: u32, at: usize, bytes: u32, isRelayed: bool): u32 {
  if (kind == EVENT_STUN) return judgeStun(worker, isRelayed);
  if (kind == EVENT_HANDSHAKE) return judgeHandshake(worker, at, isRelayed);
  return isShortData(at, bytes) ? Drop.WG_MALFORMED : judgeUnknown(worker);
}

/**
 * A transport message of `bytes` bytes at `at` (WG-47). `wire` is the length of its datagram.
 * @returns false if there is no room for its frame: nothing has happened
 */
function handleData(worker: usize, at: usize, bytes: u32, left: u32, wire: u32): bool {
  const session = sessionOf(worker, load<u32>(at, Data.RECEIVER));
  const counter = load<u64>(at, Data.COUNTER);
  const reason = reasonNotToOpen(worker, session, counter);
  if (reason != 0) {
    dropped(worker, reason, 1);
    return true;
  }
  const text = bytes - DATA_HEADER_BYTES - TAG_BYTES;
  const coalesce = worker + Ingress.COALESCE;
  const target = coalesceTarget(coalesce, text);
  if (target == 0) return false;
  const key = session + Session.RECEIVE_KEY;
  const ahead = LANES != 0 ? madeAhead(worker, key, at, text, left) : 0;
  store<u64>(worker, counter, Worker.NONCE_COUNTER);
  const body = at + <usize>DATA_HEADER_BYTES;
  const isShort = LANES != 0 && ahead != 0 && text <= load<u32>(worker, Ingress.AHEAD_TEXT);
  const isRight = isShort
    ? openShort(body, target, <i32>text, worker + Worker.AEAD, ahead)
    : open(key, worker + Worker.NONCE, body, target, <i32>text, worker + Worker.AEAD, ahead);
  if (isRight == 0) {
    coalesceDiscard(coalesce);
    dropped(worker, Drop.WG_BAD_TAG, 1);
    return true;
  }
  // The counter enters the window only now: a forged message must not close it for the true one.
  if (!accept(session, counter)) {
    coalesceDiscard(coalesce);
    dropped(worker, Drop.WG_REPLAY, 1);
    return true;
  }
  noteAuthentic(worker, session, text, wire);
  if (text == 0) {
    coalesceDiscard(coalesce);
    count(worker, Counter.PACKETS_PASSED, 1);
    count(worker, Counter.KEEPALIVES, 1);
    return true;
  }
  deliver(worker, load<u32>(session, Session.SLOT), target, text);
  return true;
}

/** The session of a receiver index, looked up once per run. */
function sessionOf(worker: usize, index: u32): usize {
  if (index != 0 && load<u32>(worker, Ingress.SESSION_INDEX) == index)
    return load<usize>(worker, Ingress.SESSION);
  const session = findSession(index);
  store<u32>(worker, index, Ingress.SESSION_INDEX);
  store<usize>(worker, session, Ingress.SESSION);
  return session;
}

/** What is known before any cryptography: a reason, or 0. */
function reasonNotToOpen(worker: usize, session: usize, counter: u64): u32 {
  if (session == 0) return Drop.WG_UNKNOWN_INDEX;
  if (load<u64>(worker, Worker.NOW) >= load<u64>(session, Session.RECV_UNTIL)) return Drop.WG_EXPIRED_SESSION;
  if (counter >= load<u64>(session, Session.REJECT_LIMIT)) return Drop.WG_COUNTER_LIMIT;
  return isFresh(session, counter) ? 0 : Drop.WG_REPLAY;
}

/**
 * What was made in advance for the message of `text` bytes at `at`, one of a run of one session, or 0.
 *
 * It is made for several messages at the batch's stride, whatever lies there: for one that turns out to be
 * another session's, or none, it is never used.
 */
function madeAhead(worker: usize, key: usize, at: usize, text: u32, left: u32): usize {
  const stride = load<u32>(worker, Ingress.STRIDE);
  const index = load<u32>(at, Data.RECEIVER);
  const records = worker + Worker.KEYS_AHEAD;
  const made = load<u32>(worker, Ingress.AHEAD);
  if (made != 0 && load<u32>(worker, Ingress.AHEAD_INDEX) == index) {
    const distance = <u32>(at - load<usize>(worker, Ingress.AHEAD_FIRST));
    const lane = distance / stride;
    if (lane < made && lane * stride == distance) return records + <usize>lane * AHEAD_BYTES;
  }
  const atLeast = text <= AHEAD_SHORT_BYTES ? AHEAD_MIN_SHORT : AHEAD_MIN;
  if (left < atLeast * stride || stride > AHEAD_STRIDE_MAX) return 0;
  // Without a second message of the session right behind, all of it would be for one.
  if (load<u32>(at + <usize>stride, Data.RECEIVER) != index) return 0;
  const isFor = makeAhead(key, at + Data.COUNTER, <usize>stride, <i32>text, records, worker + Worker.AEAD);
  store<u32>(worker, <u32>lanesFor(<i32>text), Ingress.AHEAD);
  store<u32>(worker, <u32>isFor, Ingress.AHEAD_TEXT);
  store<usize>(worker, at, Ingress.AHEAD_FIRST);
  store<u32>(worker, index, Ingress.AHEAD_INDEX);
  return records;
}

/** An authentic message of `wire` bytes on `session`: activity, confirmation. */
function noteAuthentic(worker: usize, session: usize, text: u32, wire: u32): void {
  const slot = load<u32>(session, Session.SLOT);
  const peer = peerRow(slot);
  if (load<usize>(worker, Ingress.PEER) != peer) {
    notePeer(worker);
    store<usize>(worker, peer, Ingress.PEER);
  }
  store<u32>(worker, load<u32>(worker, Ingress.PEER_BYTES) + wire, Ingress.PEER_BYTES);
  if (text != 0) store<u32>(worker, load<u32>(worker, Ingress.PEER_PACKETS) + 1, Ingress.PEER_PACKETS);
  const number = sessionNumber(session);
  if (atomic.load<u32>(peer, Peer.CURRENT) == number || load<u32>(session, Session.IS_INITIATOR) != 0) return;
  confirm(worker, peer, slot, session, number);
}

/**
 * A responder's session sends from its first authentic message on, unless a newer one does (WG-16). It is
 * not confirmed while control cannot be told: the next message tries again.
 */
function confirm(worker: usize, peer: usize, slot: u32, session: usize, number: u32): void {
  const generation = load<u32>(session, Session.GENERATION);
  while (true) {
    const seen = atomic.load<u32>(peer, Peer.CURRENT);
    const current = sessionRow(seen);
    if (current != 0 && load<u32>(current, Session.GENERATION) >= generation) return;
    const entry = reserveEvent(worker);
    if (entry == 0) return;
    if (atomic.cmpxchg<u32>(peer, seen, number, Peer.CURRENT) == seen) {
      publishEvent(worker, entry, EVENT_CONFIRMED, slot, generation, 0);
      return;
    }
  }
}

/** Once per batch and peer: stamps, watch and idle events, roaming. */
function notePeer(worker: usize): void {
  const peer = load<usize>(worker, Ingress.PEER);
  if (peer == 0) return;
  const packets = load<u32>(worker, Ingress.PEER_PACKETS);
  noteReceived(peer, load<u64>(worker, Worker.NOW), packets, load<u32>(worker, Ingress.PEER_BYTES));
  noteDataWork(worker, load<u32>(worker, Ingress.PEER_BYTES));
  noteKnownSource(worker);
  store<usize>(worker, 0, Ingress.PEER);
  store<u32>(worker, 0, Ingress.PEER_PACKETS);
  store<u32>(worker, 0, Ingress.PEER_BYTES);
  const slot = <u32>((peer - load<usize>(PLANE_ADDRESS, Plane.PEERS)) / Peer.BYTES);
  if (packets != 0) {
    if (atomic.load<u32>(peer, Peer.WATCH) != 0) reportOnce(worker, peer + Peer.WATCH, EVENT_ACTIVITY, slot);
    if (atomic.load<u32>(peer, Peer.IDLE) != 0) reportOnce(worker, peer + Peer.IDLE, EVENT_WAKE, slot);
  }
  // What comes through a relay says nothing of the peer's own address.
  if (load<u32>(worker, Ingress.CHANNEL) == 0 && !isFromEndpoint(worker, peer)) {
    reportRoamed(worker, peer, slot);
  }
}

/** Whether the batch came from where the peer's path leads (WG-62). */
function isFromEndpoint(worker: usize, peer: usize): bool {
  const path = atomic.load<usize>(peer, Peer.PATH);
  if (path == 0 || load<u32>(path, Path.KIND) != PATH_DIRECT) return false;
  const port = <u32>bswap<u16>(load<u16>(path, Path.DESTINATION + Sockaddr.PORT));
  if (port != load<u32>(worker, Worker.FROM_PORT)) return false;
  const isV6 = load<u16>(path, Path.DESTINATION + Sockaddr.FAMILY) == AF_INET6;
  if (isV6 != (load<u32>(worker, Worker.FROM_BYTES) == 16)) return false;
  if (!isV6) return load<u32>(path, Path.DESTINATION + Sockaddr.ADDRESS4) == load<u32>(worker, Worker.FROM);
  const scope = load<u32>(path, Path.DESTINATION + Sockaddr.SCOPE6);
  if (scope != load<u32>(worker, Worker.FROM_SCOPE)) return false;
  return !v128.any_true(
    v128.xor(v128.load(path, Path.DESTINATION + Sockaddr.ADDRESS6), v128.load(worker, Worker.FROM)),
  );
}

/** The decrypted bytes: validated, judged, and put into a frame, or handed to control, or dropped. */
function deliver(worker: usize, slot: u32, packet: usize, available: u32): void {
  const coalesce = worker + Ingress.COALESCE;
  const found = worker + Worker.PACKET;
  const limit = load<u32>(PLANE_ADDRESS, Plane.MAX_RECEIVED);
  const isStrict = load<u32>(PLANE_ADDRESS, Plane.IS_STRICT) != 0;
  const length = validate(packet, available, limit, isStrict, found);
  if (length < 0) {
    coalesceDiscard(coalesce);
    dropped(worker, <u32>-length, 1);
    return;
  }
  const judged = judgeIngress(slot, packet, found);
  const target = followFlow(worker, judged, packet, found, false, TARGET_NONE, 1);
  if (target == TARGET_NONE) {
    if ((load<u32>(PLANE_ADDRESS, Plane.CHECKS) & CHECK_CHECKSUMS) != 0 && !checksumsHold(packet, found)) {
      count(worker, Counter.CHECKSUM_MISMATCH, 1);
    }
    translate(worker, packet, false);
    clampArriving(slot, packet, found);
    mergeEcn(packet, load<u32>(worker, Worker.OUTER_ECN));
    coalesceAccept(coalesce, found);
    count(worker, Counter.PACKETS_PASSED, 1);
    return;
  }
  handToControl(worker, target, slot, packet, <u32>length);
  coalesceDiscard(coalesce);
}

/** A packet that does not pass: to control, within what its peer may ask for (TN-14, TN-78), or dropped. */
function handToControl(worker: usize, target: u32, slot: u32, packet: usize, bytes: u32): void {
  if (target == TARGET_CONTROL) {
    if (mayHandEvent(worker, slot)) puntPacket(worker, PUNT_CONTROL_EVENT, slot, packet, bytes);
    else dropped(worker, Drop.PUNT_RATE, 1);
  } else if (target == TARGET_RESOLVER) {
    // What turns out to be a program's goes on to it from control.
    mergeEcn(packet, load<u32>(worker, Worker.OUTER_ECN));
    if (mayHandFlow(worker, slot)) puntPacket(worker, PUNT_RESOLVER, slot, packet, bytes);
    else dropped(worker, Drop.FLOW_RATE, 1);
  } else if (target == TARGET_REFUSE) {
    const refusal = load<u32>(worker, Worker.REFUSAL);
    if (mayRefusePeer(worker, slot)) puntDetail(worker, PUNT_REFUSED, slot, refusal, packet, bytes);
    else dropped(worker, Drop.REFUSE_RATE, 1);
  } else if (target >= TARGET_ICMP_ERROR_OF) {
    mergeEcn(packet, load<u32>(worker, Worker.OUTER_ECN));
    const direction: u32 = egressDirection() == FLOW_IN ? FLOW_OUT : FLOW_IN;
    if (mayHandError(worker, slot)) puntDetail(worker, PUNT_ICMP_ERROR, slot, direction, packet, bytes);
    else dropped(worker, Drop.ICMP_RATE, 1);
  } else if (target >= TARGET_FLOW_OF) {
    if (mayHandFlow(worker, slot)) puntFlow(worker, slot, FLOW_OUT, packet, bytes);
    else dropped(worker, Drop.FLOW_RATE, 1);
  } else {
    dropped(worker, target - TARGET_DROP, 1);
  }
}
