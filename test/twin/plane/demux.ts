/**
 * What a datagram is: the twin of `assembly/batch/demux.ts` (D-9, SN-1, SN-98 to SN-102, SN-128). The
 * shared vectors are `test/vectors/demux.json`.
 */
import { equalSocketAddress, type SocketAddress } from "../../../src/base/index.ts";
import { isStunShaped } from "../../../src/stun/index.ts";

export type DatagramKind = "data" | "short-data" | "stun" | "handshake" | "other";

/** Channel data from one of our relays, unwrapped. */
export interface Relayed {
  readonly message: Uint8Array;
  readonly channel: number;
}

const DATA = 4;
const DATA_BYTES_MIN = 32;
const HANDSHAKE_BYTES: Readonly<Record<number, number>> = { 1: 148, 2: 92, 3: 64 };
const RELAY_PORT = 3478;
const CHANNEL_HEADER_BYTES = 4;
/** RFC 8656 §12.5: padding, which UDP need not have. */
const CHANNEL_SURPLUS_BYTES = 3;

export function kindOf(bytes: Uint8Array): DatagramKind {
  const type = bytes.length < 4 ? undefined : viewOf(bytes).getUint32(0, true);
  if (type === DATA && bytes.length >= DATA_BYTES_MIN) return "data";
  if (isStunShaped(bytes)) return "stun";
  if (type === DATA) return "short-data";
  return type !== undefined && HANDSHAKE_BYTES[type] === bytes.length ? "handshake" : "other";
}

/** Channel data from a relay of ours; anything else is `undefined`. */
export function unwrapChannelData(
  bytes: Uint8Array,
  from: SocketAddress,
  relays: readonly SocketAddress[],
): Relayed | undefined {
  const isShaped = bytes.length >= CHANNEL_HEADER_BYTES && (bytes[0] ?? 0) >> 4 === 4;
  if (!isShaped || from.port !== RELAY_PORT) return undefined;
  const channel = viewOf(bytes).getUint16(0);
  const length = viewOf(bytes).getUint16(2);
  const surplus = bytes.length - CHANNEL_HEADER_BYTES - length;
  if (surplus < 0 || surplus > CHANNEL_SURPLUS_BYTES) return undefined;
  if (!relays.some((relay) => equalSocketAddress(relay, from))) return undefined;
  return { message: bytes.subarray(CHANNEL_HEADER_BYTES, CHANNEL_HEADER_BYTES + length), channel };
}

/** Receiver index and counter of a transport message. */
export function headerOf(message: Uint8Array): { readonly index: number; readonly counter: bigint } {
  const view = viewOf(message);
  return { index: view.getUint32(4, true), counter: view.getBigUint64(8, true) };
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}
