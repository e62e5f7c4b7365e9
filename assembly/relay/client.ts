/**
 * From clients to peers (RL-42): a message of the listening sockets, a datagram or a train of them, is walked
 * by its headers. STUN goes to control. The twin: `test/twin/relay/relay.ts`.
 */
import { fillDatagram } from "../arrival";
import { count, dropped, punted } from "../counters";
import { Channel } from "../header";
import {
  Binding,
  CHANNEL_HEADER_BYTES,
  Counter,
  Drop,
  EVENT_STUN,
  Forward,
  RELAY_CHANNEL_FIRST,
  RELAY_CHANNEL_LAST,
  RELAY_PADDING_MAX,
  RELAY_STUN_BYTES_MAX,
  Worker,
} from "../layout";
import { ringCommit, ringReserve } from "../ring";
import { noteToClient, noteToPeer } from "./activity";
import { bufferOf, bytesOfMessage, readArrival } from "./receive";
import { sendInside, sendToPeer } from "./send";
import { findByChannel, findByPeer } from "./table";
import { flush } from "./transmit";
import { flushWhole, isSizeCheck } from "./whole";

/** First bytes (RFC 8656 §12): below, STUN. */
const STUN_LAST: u32 = 0x03;

/** Works on message `i` of a receive. What it sends waits for `flush`. */
export function handleFromClient(worker: usize, i: u32, overflowAt: usize): void {
  const bytes = bytesOfMessage(worker, i);
  const stride = readArrival(worker, i, overflowAt);
  const at = bufferOf(worker, i);
  if (bytes == 0) {
    dropped(worker, Drop.RELAY_UNKNOWN, 1);
    return;
  }
  for (let position: u32 = 0; position < bytes; position += stride) {
    handleDatagram(worker, at + <usize>position, min<u32>(stride, bytes - position));
  }
}

function handleDatagram(worker: usize, at: usize, bytes: u32): void {
  const first = <u32>load<u8>(at);
  if (first <= STUN_LAST) return punt(worker, at, bytes);
  if (first < RELAY_CHANNEL_FIRST >> 8 || first > RELAY_CHANNEL_LAST >> 8) {
    dropped(worker, Drop.RELAY_UNKNOWN, 1);
    return;
  }
  if (bytes < <u32>CHANNEL_HEADER_BYTES) {
    dropped(worker, Drop.RELAY_CHANNEL_LENGTH, 1);
    return;
  }
  const length = <u32>bswap<u16>(load<u16>(at, Channel.LENGTH));
  const rest = bytes - <u32>CHANNEL_HEADER_BYTES;
  if (length > rest || rest - length > RELAY_PADDING_MAX) {
    dropped(worker, Drop.RELAY_CHANNEL_LENGTH, 1);
    return;
  }
  const row = bindingOf(worker, <u32>bswap<u16>(load<u16>(at, Channel.NUMBER)));
  if (row == 0) {
    dropped(worker, Drop.RELAY_NO_CHANNEL, 1);
    return;
  }
  if (load<u32>(row, Binding.IS_HAIRPIN) != 0) return turnInside(worker, row, at, length);
  count(worker, Counter.PACKETS_PASSED, 1);
  noteToPeer(worker, row, length);
  const data = at + <usize>CHANNEL_HEADER_BYTES;
  if (!isSizeCheck(data, length)) return sendToPeer(worker, row, data, length);
  flush(worker);
  sendToPeer(worker, row, data, length);
  flushWhole(worker, load<u32>(row, Binding.PEER_BYTES) == 16);
}

/** The binding of the message's client with that channel; most trains have one channel. */
function bindingOf(worker: usize, channel: u32): usize {
  if (load<u32>(worker, Forward.CHANNEL) == channel) return load<usize>(worker, Forward.BINDING);
  const port = load<u32>(worker, Worker.FROM_PORT);
  const row = findByChannel(worker + Worker.FROM, load<u32>(worker, Worker.FROM_BYTES), port, channel);
  store<u32>(worker, channel, Forward.CHANNEL);
  store<usize>(worker, row, Forward.BINDING);
  return row;
}

/**
 * To the client at the other allocation port, as if it came from the public address of this one (RL-45): if
 * that client has bound it.
 */
function turnInside(worker: usize, row: usize, at: usize, length: u32): void {
  const other = findByPeer(
    load<u32>(row, Binding.PEER_PORT),
    row + Binding.PEER,
    load<u32>(row, Binding.PEER_BYTES),
    load<u32>(row, Binding.PORT),
  );
  if (other == 0) {
    dropped(worker, Drop.RELAY_NO_BINDING, 1);
    return;
  }
  count(worker, Counter.PACKETS_PASSED, 1);
  noteToPeer(worker, row, length);
  noteToClient(worker, other, length);
  if (!isSizeCheck(at + <usize>CHANNEL_HEADER_BYTES, length)) return sendInside(worker, other, at, length);
  flush(worker);
  sendInside(worker, other, at, length);
  flushWhole(worker, load<u32>(other, Binding.CLIENT_BYTES) == 16);
}

/** Hands STUN to control; counts what becomes of it (RL-55). */
function punt(worker: usize, at: usize, bytes: u32): void {
  if (bytes > RELAY_STUN_BYTES_MAX) {
    dropped(worker, Drop.RELAY_MALFORMED, 1);
    return;
  }
  const ring = load<usize>(worker, Worker.CONTROL_RING);
  const entry = ringReserve(ring, bytes);
  if (entry == 0) {
    dropped(worker, Drop.RELAY_PUNT_FULL, 1);
    return;
  }
  fillDatagram(worker, entry, EVENT_STUN, 0, 0, at, bytes);
  ringCommit(ring, entry);
  punted(worker);
}
