/**
 * ChannelData (RFC 8656 §12.4): what is relayed, behind a header of four bytes.
 *
 *     0      channel number u16
 *     2      length of the data u16
 *     4      data; up to 3 bytes of padding may follow
 */
import { malformed, type Parsed, parsed } from "../base/index.ts";
import { CHANNEL_FIRST, CHANNEL_HEADER_BYTES, CHANNEL_PADDING_MAX } from "./constants.ts";

/** It borrows the datagram: valid as long as that is not overwritten. */
export interface ChannelData {
  readonly channel: number;
  readonly data: Uint8Array;
}

export type MalformedChannelData = "short" | "channel" | "length";

/** Reads ChannelData with a channel up to `lastChannel`; zero bytes of data are valid (RL-4, SN-98). */
export function parseChannelData(
  datagram: Uint8Array,
  lastChannel: number,
): Parsed<ChannelData, MalformedChannelData> {
  if (datagram.length < CHANNEL_HEADER_BYTES) return malformed("short");
  const view = viewOf(datagram);
  const channel = view.getUint16(0);
  if (channel < CHANNEL_FIRST || channel > lastChannel) return malformed("channel");
  const length = view.getUint16(2);
  const surplus = datagram.length - CHANNEL_HEADER_BYTES - length;
  if (surplus < 0 || surplus > CHANNEL_PADDING_MAX) return malformed("length");
  return parsed({ channel, data: datagram.subarray(CHANNEL_HEADER_BYTES, CHANNEL_HEADER_BYTES + length) });
}

/** Writes header and data, unpadded (RL-4). @returns length in bytes */
export function encodeChannelData(into: Uint8Array, { channel, data }: ChannelData): number {
  const view = viewOf(into);
  view.setUint16(0, channel);
  view.setUint16(2, data.length);
  into.set(data, CHANNEL_HEADER_BYTES);
  return CHANNEL_HEADER_BYTES + data.length;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}
