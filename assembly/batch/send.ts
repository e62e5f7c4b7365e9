/**
 * The send under construction: a run of datagrams for one path that one `sendmsg` can carry (PF-55,
 * PG-45), sealed straight into the send buffer (D-6).
 *
 *     direct    [type 4][remote index][counter][text][tag]              repeated, equal lengths
 *     relayed   [channel][length][type 4][remote index]...              with the header of D-7 in front
 *
 * Only the last datagram may be shorter; it closes the send. The path is copied when a send begins,
 * because a send may stay open longer than its path's row lives.
 */

import { count } from "../counters";
import { flush, seal } from "../crypto";
import {
  BUFFER_LEAD,
  CHANNEL_HEADER_BYTES,
  COUNTER_PACKETS_PASSED,
  DATA_HEADER_BYTES,
  EGRESS_REFUSED_SOURCES,
  EGRESS_SEND_BYTES,
  EGRESS_SEND_COUNT,
  EGRESS_SEND_ECN,
  EGRESS_SEND_IS_CLOSED,
  EGRESS_SEND_NAME,
  EGRESS_SEND_NAME_BYTES,
  EGRESS_SEND_SEGMENT,
  EGRESS_SEND_SERIAL,
  EGRESS_SEND_SLOT,
  EGRESS_SEND_SOURCE,
  EGRESS_SEND_SOURCE_BYTES,
  MESSAGE_DATA,
  PATH_CHANNEL,
  PATH_DESTINATION,
  PATH_DESTINATION_BYTES,
  PATH_HEAD_ROOM,
  PATH_SERIAL,
  PATH_SOURCE,
  PATH_SOURCE_BYTES,
  PLANE_ADDRESS,
  PLANE_IS_PADDED,
  PLANE_MTU,
  SEND_BYTES,
  SEND_SEGMENTS,
  SESSION_REMOTE,
  SESSION_SEND_KEY,
  TAG_BYTES,
  TRANSIT_COUNTER,
  TRANSIT_ECN,
  TRANSIT_PATH,
  TRANSIT_RESERVED,
  TRANSIT_SESSION,
  TRANSIT_SLOT,
  WORKER_AEAD,
  WORKER_NONCE,
  WORKER_NONCE_COUNTER,
  WORKER_NOW,
  WORKER_OUTPUT,
} from "../layout";
import { noteSent } from "../table/activity";
import { peerRow } from "../table/session";

const PADDING_BYTES: u32 = 16;

/**
 * Seals the IP packet at `packet` for the session and path of `transit`, with its next reserved counter, as
 * the next datagram of the send. Expects 16 writable bytes behind the packet, which are restored.
 * @returns false if the send must go first: nothing has happened, call again after `sendDone`
 */
export function sealInto(cx: usize, transit: usize, packet: usize, bytes: u32): bool {
  const path = load<usize>(transit, TRANSIT_PATH);
  const headRoom = load<u32>(path, PATH_HEAD_ROOM);
  const text = paddedBytes(bytes);
  const message = DATA_HEADER_BYTES + text + TAG_BYTES;
  const datagram = headRoom + message;
  const open = load<u32>(cx, EGRESS_SEND_BYTES);
  if (open == 0) beginSend(cx, transit, datagram);
  else if (!joins(cx, transit, open, datagram)) return false;
  let at = load<usize>(cx, WORKER_OUTPUT) + BUFFER_LEAD + <usize>open;
  if (headRoom == CHANNEL_HEADER_BYTES) {
    store<u16>(at, bswap<u16>(<u16>load<u32>(path, PATH_CHANNEL)));
    store<u16>(at, bswap<u16>(<u16>message), 2);
    at += CHANNEL_HEADER_BYTES;
  }
  sealMessage(cx, transit, packet, bytes, text, at);
  store<u32>(cx, open + datagram, EGRESS_SEND_BYTES);
  store<u32>(cx, load<u32>(cx, EGRESS_SEND_COUNT) + 1, EGRESS_SEND_COUNT);
  if (datagram < load<u32>(cx, EGRESS_SEND_SEGMENT)) store<u32>(cx, 1, EGRESS_SEND_IS_CLOSED);
  count(cx, COUNTER_PACKETS_PASSED, 1);
  return true;
}

/** A multiple of 16 where the mode pads, but never beyond the MTU: a full packet stays as it is (PF-55). */
function paddedBytes(bytes: u32): u32 {
  if (load<u32>(PLANE_ADDRESS, PLANE_IS_PADDED) == 0) return bytes;
  const rounded = (bytes + PADDING_BYTES - 1) & ~(PADDING_BYTES - 1);
  return max<u32>(bytes, min<u32>(rounded, load<u32>(PLANE_ADDRESS, PLANE_MTU)));
}

function joins(cx: usize, transit: usize, open: u32, datagram: u32): bool {
  return (
    load<u32>(cx, EGRESS_SEND_IS_CLOSED) == 0 &&
    datagram <= load<u32>(cx, EGRESS_SEND_SEGMENT) &&
    load<u32>(cx, EGRESS_SEND_COUNT) < SEND_SEGMENTS &&
    open + datagram <= SEND_BYTES &&
    load<u32>(cx, EGRESS_SEND_SERIAL) == load<u32>(load<usize>(transit, TRANSIT_PATH), PATH_SERIAL) &&
    load<u32>(cx, EGRESS_SEND_ECN) == load<u32>(transit, TRANSIT_ECN)
  );
}

function beginSend(cx: usize, transit: usize, datagram: u32): void {
  const path = load<usize>(transit, TRANSIT_PATH);
  const serial = load<u32>(path, PATH_SERIAL);
  store<u32>(cx, datagram, EGRESS_SEND_SEGMENT);
  store<u32>(cx, 0, EGRESS_SEND_COUNT);
  store<u32>(cx, 0, EGRESS_SEND_IS_CLOSED);
  store<u32>(cx, load<u32>(transit, TRANSIT_ECN), EGRESS_SEND_ECN);
  store<u32>(cx, load<u32>(transit, TRANSIT_SLOT), EGRESS_SEND_SLOT);
  store<u32>(cx, serial, EGRESS_SEND_SERIAL);
  store<u32>(cx, load<u32>(path, PATH_DESTINATION_BYTES), EGRESS_SEND_NAME_BYTES);
  v128.store(cx, v128.load(path, PATH_DESTINATION), EGRESS_SEND_NAME);
  v128.store(cx, v128.load(path, PATH_DESTINATION + 16), EGRESS_SEND_NAME + 16);
  const isRefused = load<u32>(refusedSource(cx, serial), EGRESS_REFUSED_SOURCES) == serial;
  store<u32>(cx, isRefused ? 0 : load<u32>(path, PATH_SOURCE_BYTES), EGRESS_SEND_SOURCE_BYTES);
  v128.store(cx, v128.load(path, PATH_SOURCE), EGRESS_SEND_SOURCE);
}

/**
 * The host has lost the fixed source of the send: this and later sends by the same publication of the
 * path go without it (PF-41a). Remembered here, because the path's row belongs to control.
 */
export function forgetSource(cx: usize): void {
  const serial = load<u32>(cx, EGRESS_SEND_SERIAL);
  store<u32>(refusedSource(cx, serial), serial, EGRESS_REFUSED_SOURCES);
  store<u32>(cx, 0, EGRESS_SEND_SOURCE_BYTES);
}

/** Where the serial is remembered, less `EGRESS_REFUSED_SOURCES`. */
function refusedSource(cx: usize, serial: u32): usize {
  return cx + ((<usize>(serial & 63)) << 2);
}

/** Writes the message at `at`; the text is `bytes` bytes of the packet and zeros up to `text`. */
function sealMessage(cx: usize, transit: usize, packet: usize, bytes: u32, text: u32, at: usize): void {
  const session = load<usize>(transit, TRANSIT_SESSION);
  const counter = load<u64>(transit, TRANSIT_COUNTER);
  store<u64>(transit, counter + 1, TRANSIT_COUNTER);
  store<u32>(transit, load<u32>(transit, TRANSIT_RESERVED) - 1, TRANSIT_RESERVED);
  store<u64>(cx, counter, WORKER_NONCE_COUNTER);
  store<u32>(at, MESSAGE_DATA);
  store<u32>(at, load<u32>(session, SESSION_REMOTE), 4);
  store<u64>(at, counter, 8);
  const key = session + SESSION_SEND_KEY;
  const body = at + <usize>DATA_HEADER_BYTES;
  if (text == bytes) {
    seal(key, cx + WORKER_NONCE, packet, body, <i32>text, cx + WORKER_AEAD);
    return;
  }
  // What follows the packet may be the next segment's payload: put back afterwards.
  const behind = packet + <usize>bytes;
  const saved = v128.load(behind);
  v128.store(behind, i32x4.splat(0));
  seal(key, cx + WORKER_NONCE, packet, body, <i32>text, cx + WORKER_AEAD);
  v128.store(behind, saved);
}

/**
 * Completes the send: writes the tag that is still due (PF-63) and stamps the peer's activity.
 * @returns whether there is anything to send
 */
export function completeSend(cx: usize): bool {
  const bytes = load<u32>(cx, EGRESS_SEND_BYTES);
  if (bytes == 0) return false;
  flush(cx + WORKER_AEAD);
  const peer = peerRow(load<u32>(cx, EGRESS_SEND_SLOT));
  noteSent(peer, load<u64>(cx, WORKER_NOW), load<u32>(cx, EGRESS_SEND_COUNT), bytes);
  return true;
}

/** The send has been taken over by the kernel, or given up: the next one may begin. */
export function sendDone(cx: usize): void {
  store<u32>(cx, 0, EGRESS_SEND_BYTES);
}
