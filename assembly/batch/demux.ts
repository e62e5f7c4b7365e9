/**
 * What a datagram is, by its first bytes and its source (D-9, SN-98 to SN-102, SN-128). The shared vectors
 * are `test/vectors/demux.json`, the twin is `test/twin/plane/demux.ts`.
 */

import { Channel } from "../header";
import {
  CHANNEL_HEADER_BYTES,
  COOKIE_REPLY_BYTES,
  DATA_HEADER_BYTES,
  EVENT_HANDSHAKE,
  EVENT_OTHER,
  EVENT_STUN,
  INITIATION_BYTES,
  Ingress,
  MESSAGE_COOKIE,
  MESSAGE_DATA,
  MESSAGE_INITIATION,
  MESSAGE_RESPONSE,
  PLANE_ADDRESS,
  Plane,
  RELAY_PORT,
  RELAY_ROW_BYTES,
  RESPONSE_BYTES,
  TAG_BYTES,
  Worker,
} from "../layout";

/** RFC 8489 §5, as it lies in memory at offset 4. */
const STUN_COOKIE: u32 = 0x42a41221;
const STUN_COOKIE_AT: usize = 4;
const STUN_LENGTH: usize = 2;
const STUN_HEADER_BYTES: u32 = 20;
/** RFC 8656 §12.5: padding behind channel data, which UDP need not have. */
const CHANNEL_SURPLUS_BYTES: u32 = 3;

/** Whether the bytes are a transport message of full length: header and tag at least. */
// @ts-ignore: a decorator
@inline
export function isData(at: usize, bytes: u32): bool {
  return bytes >= DATA_HEADER_BYTES + TAG_BYTES && load<u32>(at) == MESSAGE_DATA;
}

/** Whether they begin like a transport message but are too short for one (`wg_malformed`). */
export function isShortData(at: usize, bytes: u32): bool {
  return bytes >= 4 && bytes < DATA_HEADER_BYTES + TAG_BYTES && load<u32>(at) == MESSAGE_DATA;
}

/** The kind of a datagram for control: EVENT_STUN, EVENT_HANDSHAKE or EVENT_OTHER. */
export function kindForControl(at: usize, bytes: u32): u32 {
  if (isStun(at, bytes)) return EVENT_STUN;
  if (bytes < COOKIE_REPLY_BYTES) return EVENT_OTHER;
  const type = load<u32>(at);
  const isHandshake =
    (type == MESSAGE_INITIATION && bytes == INITIATION_BYTES) ||
    (type == MESSAGE_RESPONSE && bytes == RESPONSE_BYTES) ||
    (type == MESSAGE_COOKIE && bytes == COOKIE_REPLY_BYTES);
  return isHandshake ? EVENT_HANDSHAKE : EVENT_OTHER;
}

/** Whether a datagram has the shape of STUN, which no WireGuard message has (SN-1). */
export function isStun(at: usize, bytes: u32): bool {
  if (bytes < STUN_HEADER_BYTES || (load<u8>(at) & 0xc0) != 0) return false;
  const length = <u32>bswap<u16>(load<u16>(at, STUN_LENGTH));
  return (
    load<u32>(at, STUN_COOKIE_AT) == STUN_COOKIE && (length & 3) == 0 && length + STUN_HEADER_BYTES == bytes
  );
}

/**
 * Whether the datagram is channel data (SN-98) from a relay of ours; the worker's `channel` then holds its
 * number. The message lies 4 bytes further on, and its length is in the header. The channel need not be that of
 * a path: the peer chooses its own way, and may be ahead of us or behind.
 */
export function isRelayed(worker: usize, at: usize, bytes: u32): bool {
  if (bytes < <u32>CHANNEL_HEADER_BYTES || load<u8>(at) >> 4 != 4) return false;
  if (load<u32>(worker, Worker.FROM_PORT) != RELAY_PORT) return false;
  const length = channelLength(at);
  const rest = bytes - <u32>CHANNEL_HEADER_BYTES;
  if (length > rest || rest - length > CHANNEL_SURPLUS_BYTES) return false;
  if (!isFromRelay(worker)) return false;
  store<u32>(worker, <u32>bswap<u16>(load<u16>(at, Channel.NUMBER)), Ingress.CHANNEL);
  return true;
}

/** The length of the message behind a channel-data header. */
export function channelLength(at: usize): u32 {
  return <u32>bswap<u16>(load<u16>(at, Channel.LENGTH));
}

/** Whether the batch's source is a relay of ours; a channel found before in the batch says so. */
function isFromRelay(worker: usize): bool {
  if (load<u32>(worker, Ingress.CHANNEL) != 0) return true;
  const relays = atomic.load<usize>(PLANE_ADDRESS, Plane.RELAYS);
  if (relays == 0) return false;
  const family = load<u32>(worker, Worker.FROM_BYTES);
  const port = load<u32>(worker, Worker.FROM_PORT);
  const from = v128.load(worker, Worker.FROM);
  let row = relays + 16;
  for (let left = load<u32>(relays); left != 0; left--, row += <usize>RELAY_ROW_BYTES) {
    if (load<u32>(row) != family || load<u32>(row, 4) != port) continue;
    if (!v128.any_true(v128.xor(v128.load(row, 16), from))) return true;
  }
  return false;
}
