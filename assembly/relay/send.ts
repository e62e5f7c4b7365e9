/**
 * Sends of a relay worker while they are put together (RL-52): nothing is copied, vectors name what goes out.
 *
 *     to a peer      [data]                          repeated, in segments of equal length
 *     to a client    [channel][length] [data]        two vectors per datagram
 *     inside         [channel][length][data]         the client's own header with the other's channel (RL-45)
 *
 * Datagrams of one binding that follow each other become one send; only the last may be shorter, and closes it.
 * Sends of one socket wait for each other until the receive is done. What they name lives that long: buffers
 * until the next receive, bindings until the next quiescent point. What becomes of each datagram is what the
 * twin says, `test/twin/relay/relay.ts`.
 */
import { Channel, Sockaddr } from "../header";
import {
  Binding,
  CHANNEL_HEADER_BYTES,
  Forward,
  PLANE_ADDRESS,
  Plane,
  RELAY_CONTROL_BYTES,
  RELAY_HEADS_BYTES,
  RELAY_MESSAGES,
  RELAY_VECTORS_BYTES,
  RelaySend,
  SEND_BYTES,
  SEND_SEGMENTS,
  Worker,
} from "../layout";
import {
  IOVEC_BYTES,
  MMSGHDR_BYTES,
  MSGHDR_CONTROL,
  MSGHDR_FLAGS,
  MSGHDR_IOV,
  MSGHDR_NAME,
  MSGHDR_NAME_BYTES,
} from "../linux";
import { writeSource, writeTrafficClass } from "../loop/control-message";
import { flush } from "./transmit";

/** Adds a datagram for the binding's peer: `bytes` bytes at `data`. */
export function sendToPeer(worker: usize, row: usize, data: usize, bytes: u32): void {
  let send = joined(worker, row, load<i32>(row, Binding.FD), bytes);
  if (send == 0) {
    send = begin(worker, row, load<i32>(row, Binding.FD), bytes);
    const isV6 = load<u32>(row, Binding.PEER_BYTES) == 16;
    open(worker, send, row + Binding.PEER_NAME, isV6, 0, 1);
  }
  addVector(worker, send, data, bytes);
}

/** Adds a datagram of the binding's peer for its client. */
export function sendToClient(worker: usize, row: usize, data: usize, bytes: u32): void {
  const fd = load<i32>(row, Binding.LISTEN_FD);
  const wire = bytes + <u32>CHANNEL_HEADER_BYTES;
  let send = joined(worker, row, fd, wire);
  if (send == 0) {
    send = begin(worker, row, fd, wire);
    openToClient(worker, send, row, 2);
  }
  const heads = headsOf(worker, send);
  const isShorter = wire < load<u32>(send, RelaySend.SEGMENT);
  const head = isShorter ? heads + <usize>CHANNEL_HEADER_BYTES : heads;
  writeHeader(head, load<u32>(row, Binding.CHANNEL), bytes);
  addVector(worker, send, head, <u32>CHANNEL_HEADER_BYTES);
  addVector(worker, send, data, bytes);
}

/** Adds a datagram for the client of another binding: its header at `header` gets that one's channel. */
export function sendInside(worker: usize, row: usize, header: usize, bytes: u32): void {
  const fd = load<i32>(row, Binding.LISTEN_FD);
  const wire = bytes + <u32>CHANNEL_HEADER_BYTES;
  let send = joined(worker, row, fd, wire);
  if (send == 0) {
    send = begin(worker, row, fd, wire);
    openToClient(worker, send, row, 1);
  }
  writeHeader(header, load<u32>(row, Binding.CHANNEL), bytes);
  addVector(worker, send, header, wire);
}

/** The send that this datagram continues, or 0. */
function joined(worker: usize, row: usize, fd: i32, wire: u32): usize {
  const send = load<usize>(worker, Forward.RUN);
  if (send == 0 || load<usize>(worker, Forward.RUN_BINDING) != row) return 0;
  if (load<i32>(worker, Forward.OUT_FD) != fd) return 0;
  if (load<u32>(worker, Forward.RUN_ECN) != load<u32>(worker, Worker.OUTER_ECN)) return 0;
  const segment = load<u32>(send, RelaySend.SEGMENT);
  // A segment has a length: empty datagrams go alone.
  if (load<u32>(send, RelaySend.IS_CLOSED) != 0 || wire == 0 || wire > segment) return 0;
  const datagrams = load<u32>(send, RelaySend.DATAGRAMS);
  const bytes = load<u32>(send, RelaySend.TOTAL) + wire;
  if (datagrams == SEND_SEGMENTS || bytes > SEND_BYTES) return 0;
  store<u32>(send, datagrams + 1, RelaySend.DATAGRAMS);
  store<u32>(send, bytes, RelaySend.TOTAL);
  if (wire < segment) store<u32>(send, 1, RelaySend.IS_CLOSED);
  return send;
}

/** A new send of one datagram; those before it go first if they are another socket's, or too many. */
function begin(worker: usize, row: usize, fd: i32, wire: u32): usize {
  if (load<i32>(worker, Forward.OUT_FD) != fd) {
    flush(worker);
    store<i32>(worker, fd, Forward.OUT_FD);
  } else if (load<u32>(worker, Forward.OUT_COUNT) == RELAY_MESSAGES) flush(worker);
  const place = load<u32>(worker, Forward.OUT_COUNT);
  store<u32>(worker, place + 1, Forward.OUT_COUNT);
  const send = load<usize>(worker, Forward.OUT_SENDS) + <usize>place * RelaySend.BYTES;
  store<u32>(send, 1, RelaySend.DATAGRAMS);
  store<u32>(send, wire, RelaySend.SEGMENT);
  store<u32>(send, wire, RelaySend.TOTAL);
  store<u32>(send, 0, RelaySend.VECTORS);
  store<u32>(send, 0, RelaySend.IS_CLOSED);
  store<usize>(worker, send, Forward.RUN);
  store<usize>(worker, row, Forward.RUN_BINDING);
  store<u32>(worker, load<u32>(worker, Worker.OUTER_ECN), Forward.RUN_ECN);
  return send;
}

function openToClient(worker: usize, send: usize, row: usize, perDatagram: u32): void {
  const isV6 = load<u32>(row, Binding.CLIENT_BYTES) == 16;
  const hasSource = load<u32>(row, Binding.LOCAL_BYTES) == (isV6 ? 16 : 4);
  open(worker, send, row + Binding.CLIENT_NAME, isV6, hasSource ? row + Binding.LOCAL : 0, perDatagram);
}

/**
 * Writes what is true of all datagrams of a send.
 * @param name address of the destination; `source`: of the fixed source address, 0: none
 */
function open(worker: usize, send: usize, name: usize, isV6: bool, source: usize, perDatagram: u32): void {
  store<u32>(send, perDatagram, RelaySend.PER_DATAGRAM);
  const place = placeOf(worker, send);
  const control = load<usize>(worker, Forward.OUT_CONTROLS) + place * <usize>RELAY_CONTROL_BYTES;
  let used: u32 = 0;
  if (source != 0) used = writeSource(control, used, isV6, source);
  // DSCP is 0, and ECN is the received datagram's (RL-47).
  const ecn = load<u32>(worker, Worker.OUTER_ECN);
  if (ecn != 0) used = writeTrafficClass(control, used, isV6, ecn);
  store<u32>(send, used, RelaySend.CONTROL_BYTES);
  const base = load<u64>(PLANE_ADDRESS, Plane.BASE);
  const header = load<usize>(worker, Forward.OUT_HEADERS) + place * MMSGHDR_BYTES;
  store<u64>(header, base + <u64>name, MSGHDR_NAME);
  store<u32>(header, isV6 ? Sockaddr.BYTES6 : Sockaddr.BYTES4, MSGHDR_NAME_BYTES);
  store<u64>(header, base + <u64>vectorsOf(worker, place), MSGHDR_IOV);
  store<u64>(header, base + <u64>control, MSGHDR_CONTROL);
  store<i32>(header, 0, MSGHDR_FLAGS);
}

function addVector(worker: usize, send: usize, at: usize, bytes: u32): void {
  const vectors = load<u32>(send, RelaySend.VECTORS);
  const vector = vectorsOf(worker, placeOf(worker, send)) + <usize>vectors * IOVEC_BYTES;
  store<u64>(vector, load<u64>(PLANE_ADDRESS, Plane.BASE) + <u64>at);
  store<u64>(vector, <u64>bytes, 8);
  store<u32>(send, vectors + 1, RelaySend.VECTORS);
}

function writeHeader(at: usize, channel: u32, bytes: u32): void {
  store<u16>(at, bswap<u16>(<u16>channel), Channel.NUMBER);
  store<u16>(at, bswap<u16>(<u16>bytes), Channel.LENGTH);
}

function placeOf(worker: usize, send: usize): usize {
  return (send - load<usize>(worker, Forward.OUT_SENDS)) / RelaySend.BYTES;
}

function vectorsOf(worker: usize, place: usize): usize {
  return load<usize>(worker, Forward.OUT_VECTORS) + place * <usize>RELAY_VECTORS_BYTES;
}

function headsOf(worker: usize, send: usize): usize {
  return load<usize>(worker, Forward.OUT_HEADS) + placeOf(worker, send) * <usize>RELAY_HEADS_BYTES;
}
