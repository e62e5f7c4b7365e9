/**
 * The send under construction: a run of datagrams for one path that one `sendmsg` can carry (PF-55,
 * PG-45), sealed straight into the send buffer (D-6).
 *
 *     direct    [type 4][remote index][counter][text][tag]              repeated, equal lengths
 *     relayed   [channel][length][type 4][remote index]...              with the header of D-7 in front
 *
 * Only the last datagram may be shorter; it closes the send. The path is copied when a send begins,
 * because a send may stay open longer than its path's row lives. The twin of sealing is in
 * `test/twin/plane/egress.ts`; how datagrams are joined has none.
 */
import { count } from "../counters";
import { flush, LANES, SEAL_SHORT_BYTES, seal, sealShort } from "../crypto";
import { Channel, Data } from "../header";
import {
  BUFFER_LEAD,
  CHANNEL_HEADER_BYTES,
  Counter,
  DATA_HEADER_BYTES,
  Egress,
  MESSAGE_DATA,
  Path,
  PLANE_ADDRESS,
  Plane,
  SEND_BYTES,
  SEND_SEGMENTS,
  Session,
  TAG_BYTES,
  Transit,
  Worker,
} from "../layout";
import { noteSent } from "../table/activity";
import { peerRow } from "../table/session";
import { blocksAhead } from "./ahead";

const PADDING_BYTES: u32 = 16;

/**
 * Seals the IP packet at `packet` for the session and path of `transit`, with its next reserved counter, as
 * the next datagram of the send. Expects 16 writable bytes behind the packet, which are restored.
 * @returns false if the send must go first: nothing has happened, call again after `sendDone`
 */
export function sealInto(worker: usize, transit: usize, packet: usize, bytes: u32): bool {
  const path = load<usize>(transit, Transit.PATH);
  const headRoom = load<u32>(path, Path.HEAD_ROOM);
  const text = paddedBytes(bytes);
  const message = DATA_HEADER_BYTES + text + TAG_BYTES;
  const datagram = headRoom + message;
  const open = load<u32>(worker, Egress.SEND_BYTES);
  if (open == 0) beginSend(worker, transit, datagram);
  else if (!joins(worker, transit, open, datagram)) return false;
  let at = load<usize>(worker, Worker.OUTPUT) + BUFFER_LEAD + <usize>open;
  if (headRoom == CHANNEL_HEADER_BYTES) {
    store<u16>(at, bswap<u16>(<u16>load<u32>(path, Path.CHANNEL)), Channel.NUMBER);
    store<u16>(at, bswap<u16>(<u16>message), Channel.LENGTH);
    at += CHANNEL_HEADER_BYTES;
  }
  sealMessage(worker, transit, packet, bytes, text, at);
  store<u32>(worker, open + datagram, Egress.SEND_BYTES);
  store<u32>(worker, load<u32>(worker, Egress.SEND_COUNT) + 1, Egress.SEND_COUNT);
  if (datagram < load<u32>(worker, Egress.SEND_SEGMENT)) store<u32>(worker, 1, Egress.SEND_IS_CLOSED);
  count(worker, Counter.PACKETS_PASSED, 1);
  return true;
}

/** A multiple of 16 where the mode pads, but never beyond the MTU: a full packet stays as it is (PF-55). */
function paddedBytes(bytes: u32): u32 {
  if (load<u32>(PLANE_ADDRESS, Plane.IS_PADDED) == 0) return bytes;
  const rounded = (bytes + PADDING_BYTES - 1) & ~(PADDING_BYTES - 1);
  return max<u32>(bytes, min<u32>(rounded, load<u32>(PLANE_ADDRESS, Plane.MTU)));
}

function joins(worker: usize, transit: usize, open: u32, datagram: u32): bool {
  return (
    load<u32>(worker, Egress.SEND_IS_CLOSED) == 0 &&
    datagram <= load<u32>(worker, Egress.SEND_SEGMENT) &&
    load<u32>(worker, Egress.SEND_COUNT) < SEND_SEGMENTS &&
    open + datagram <= SEND_BYTES &&
    load<u32>(worker, Egress.SEND_SERIAL) == load<u32>(load<usize>(transit, Transit.PATH), Path.SERIAL) &&
    load<u32>(worker, Egress.SEND_ECN) == load<u32>(transit, Transit.ECN)
  );
}

function beginSend(worker: usize, transit: usize, datagram: u32): void {
  const path = load<usize>(transit, Transit.PATH);
  const serial = load<u32>(path, Path.SERIAL);
  store<u32>(worker, datagram, Egress.SEND_SEGMENT);
  store<u32>(worker, 0, Egress.SEND_COUNT);
  store<u32>(worker, 0, Egress.SEND_IS_CLOSED);
  store<u32>(worker, load<u32>(transit, Transit.ECN), Egress.SEND_ECN);
  store<u32>(worker, load<u32>(transit, Transit.SLOT), Egress.SEND_SLOT);
  store<u32>(worker, serial, Egress.SEND_SERIAL);
  store<u32>(worker, limitOf(path), Egress.SEND_LIMIT);
  store<u32>(worker, load<u32>(path, Path.DESTINATION_BYTES), Egress.SEND_NAME_BYTES);
  v128.store(worker, v128.load(path, Path.DESTINATION), Egress.SEND_NAME);
  v128.store(worker, v128.load(path, Path.DESTINATION + 16), Egress.SEND_NAME + 16);
  const isRefused = load<u32>(refusedSource(worker, serial), Egress.REFUSED_SOURCES) == serial;
  store<u32>(worker, isRefused ? 0 : load<u32>(path, Path.SOURCE_BYTES), Egress.SEND_SOURCE_BYTES);
  v128.store(worker, v128.load(path, Path.SOURCE), Egress.SEND_SOURCE);
}

/** The longest datagram that the path carries whole (SN-150); 0: any. */
function limitOf(path: usize): u32 {
  const mtu = load<u32>(path, Path.MTU);
  return mtu == 0 ? 0 : load<u32>(path, Path.HEAD_ROOM) + DATA_HEADER_BYTES + mtu + TAG_BYTES;
}

/**
 * The host has lost the fixed source of the send: this and later sends by the same publication of the
 * path go without it (PF-41a). Remembered here, because the path's row belongs to control.
 */
export function forgetSource(worker: usize): void {
  const serial = load<u32>(worker, Egress.SEND_SERIAL);
  store<u32>(refusedSource(worker, serial), serial, Egress.REFUSED_SOURCES);
  store<u32>(worker, 0, Egress.SEND_SOURCE_BYTES);
}

/** Where the serial is remembered, less `Egress.REFUSED_SOURCES`. */
function refusedSource(worker: usize, serial: u32): usize {
  return worker + ((<usize>(serial & 63)) << 2);
}

/** Writes the message at `at`; the text is `bytes` bytes of the packet and zeros up to `text`. */
function sealMessage(worker: usize, transit: usize, packet: usize, bytes: u32, text: u32, at: usize): void {
  const session = load<usize>(transit, Transit.SESSION);
  const counter = load<u64>(transit, Transit.COUNTER);
  const reserved = load<u32>(transit, Transit.RESERVED);
  store<u64>(transit, counter + 1, Transit.COUNTER);
  store<u32>(transit, reserved - 1, Transit.RESERVED);
  store<u64>(worker, counter, Worker.NONCE_COUNTER);
  store<u32>(at, MESSAGE_DATA);
  store<u32>(at, load<u32>(session, Session.REMOTE), Data.RECEIVER);
  store<u64>(at, counter, Data.COUNTER);
  const key = session + Session.SEND_KEY;
  const body = at + <usize>DATA_HEADER_BYTES;
  let ahead: usize = 0;
  if (LANES != 0 && text <= <u32>SEAL_SHORT_BYTES) ahead = blocksAhead(worker, key, counter, text, reserved);
  if (text == bytes) {
    sealText(worker, key, packet, body, text, ahead);
    return;
  }
  // What follows the packet may be the next segment's payload: put back afterwards.
  const behind = packet + <usize>bytes;
  const saved = v128.load(behind);
  v128.store(behind, i32x4.splat(0));
  sealText(worker, key, packet, body, text, ahead);
  v128.store(behind, saved);
}

/** @param ahead blocks made in advance, or 0 */
function sealText(worker: usize, key: usize, packet: usize, body: usize, text: u32, ahead: usize): void {
  if (LANES != 0 && ahead != 0) sealShort(packet, body, <i32>text, ahead);
  else seal(key, worker + Worker.NONCE, packet, body, <i32>text, worker + Worker.AEAD);
}

/**
 * Completes the send: writes the tag that is still due (PF-63) and stamps the peer's activity.
 * @returns whether there is anything to send
 */
export function completeSend(worker: usize): bool {
  const bytes = load<u32>(worker, Egress.SEND_BYTES);
  if (bytes == 0) return false;
  flush(worker + Worker.AEAD);
  const peer = peerRow(load<u32>(worker, Egress.SEND_SLOT));
  noteSent(peer, load<u64>(worker, Worker.NOW), load<u32>(worker, Egress.SEND_COUNT), bytes);
  return true;
}

/** The send has been taken over by the kernel, or given up: the next one may begin. */
export function sendDone(worker: usize): void {
  store<u32>(worker, 0, Egress.SEND_BYTES);
}
