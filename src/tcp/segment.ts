/** TCP segments as they arrive (RFC 9293 §3.1, §3.2), and their options (RFC 7323, RFC 2018). */
import { malformed, type Parsed, parsed } from "../base/index.ts";

export interface Timestamp {
  readonly value: number;
  readonly echo: number;
}

export interface SackBlock {
  readonly start: number;
  /** Number behind the last octet. */
  readonly end: number;
}

export interface Segment {
  readonly seq: number;
  readonly ack: number;
  readonly isSyn: boolean;
  readonly isAck: boolean;
  readonly isFin: boolean;
  readonly isRst: boolean;
  /** Nothing follows for now. */
  readonly isPush?: boolean;
  /** As it stands in the header, not scaled. */
  readonly window: number;
  /** The next three only of a SYN. */
  readonly mss?: number;
  readonly windowShift?: number;
  readonly isSackPermitted?: boolean;
  readonly timestamp?: Timestamp;
  readonly sacks?: readonly SackBlock[];
  readonly payload: Uint8Array;
}

export type MalformedSegment = "tcp-header" | "tcp-option";

export const FLAG = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16 } as const;
export const TCP_HEADER_BYTES = 20;
export const OPTION = {
  end: 0,
  nop: 1,
  mss: 2,
  windowShift: 3,
  sackPermitted: 4,
  sack: 5,
  timestamp: 8,
} as const;
/** Length of each option that has one length only. */
export const OPTION_BYTES = {
  mss: 4,
  windowShift: 3,
  sackPermitted: 2,
  timestamp: 10,
  sackBlock: 8,
} as const;
const FIXED_LENGTHS: Readonly<Record<number, number>> = {
  [OPTION.mss]: OPTION_BYTES.mss,
  [OPTION.windowShift]: OPTION_BYTES.windowShift,
  [OPTION.sackPermitted]: OPTION_BYTES.sackPermitted,
  [OPTION.timestamp]: OPTION_BYTES.timestamp,
};

export const NO_OCTETS = new Uint8Array(0);

/** What the options of one header say. */
type Options = {
  -readonly [K in "mss" | "windowShift" | "isSackPermitted" | "timestamp" | "sacks"]?: Segment[K];
};

/**
 * Reads a segment; its payload borrows from the packet. Unknown options are skipped; one whose length cannot be
 * makes the segment as a whole doubtful (PG-127).
 */
export function parseSegment({
  transport,
}: {
  readonly transport: Uint8Array;
}): Parsed<Segment, MalformedSegment> {
  if (transport.length < TCP_HEADER_BYTES) return malformed("tcp-header");
  const view = new DataView(transport.buffer, transport.byteOffset, transport.byteLength);
  const headerBytes = (view.getUint8(12) >> 4) * 4;
  if (headerBytes < TCP_HEADER_BYTES || headerBytes > transport.length) return malformed("tcp-header");
  const flags = view.getUint8(13);
  const isSyn = (flags & FLAG.syn) !== 0;
  const options = headerBytes === TCP_HEADER_BYTES ? {} : parseOptions(view, headerBytes, isSyn);
  if (options === undefined) return malformed("tcp-option");
  return parsed({
    seq: view.getUint32(4),
    ack: view.getUint32(8),
    isSyn,
    isAck: (flags & FLAG.ack) !== 0,
    isFin: (flags & FLAG.fin) !== 0,
    isRst: (flags & FLAG.rst) !== 0,
    window: view.getUint16(14),
    ...options,
    payload: transport.subarray(headerBytes),
  });
}

/** Only a SYN speaks of MSS, window scale and SACK (RFC 9293 §3.7.1, RFC 7323 §2.2, RFC 2018 §2). */
function parseOptions(view: DataView, headerBytes: number, isSyn: boolean): Options | undefined {
  const options: Options = {};
  for (let at = TCP_HEADER_BYTES; at < headerBytes; ) {
    const kind = view.getUint8(at);
    if (kind === OPTION.end) break;
    if (kind === OPTION.nop) {
      at++;
      continue;
    }
    const length = at + 1 < headerBytes ? view.getUint8(at + 1) : 0;
    if (length < 2 || at + length > headerBytes) return undefined;
    if (length !== (FIXED_LENGTHS[kind] ?? length)) return undefined;
    if (!readOption(options, view, at, isSyn)) return undefined;
    at += length;
  }
  return options;
}

/** @returns whether the option can be what it says */
function readOption(options: Options, view: DataView, at: number, isSyn: boolean): boolean {
  switch (view.getUint8(at)) {
    case OPTION.mss:
      if (isSyn) options.mss = view.getUint16(at + 2);
      return true;
    case OPTION.windowShift:
      if (isSyn) options.windowShift = view.getUint8(at + 2);
      return true;
    case OPTION.sackPermitted:
      if (isSyn) options.isSackPermitted = true;
      return true;
    case OPTION.timestamp:
      options.timestamp = { value: view.getUint32(at + 2), echo: view.getUint32(at + 6) };
      return true;
    case OPTION.sack: {
      const blocksBytes = view.getUint8(at + 1) - 2;
      if (blocksBytes === 0 || blocksBytes % OPTION_BYTES.sackBlock !== 0) return false;
      options.sacks = Array.from({ length: blocksBytes / OPTION_BYTES.sackBlock }, (_, i) => ({
        start: view.getUint32(at + 2 + i * OPTION_BYTES.sackBlock),
        end: view.getUint32(at + 6 + i * OPTION_BYTES.sackBlock),
      }));
      return true;
    }
    default:
      return true;
  }
}

/** Octets of sequence space: data, and one each for SYN and FIN. */
export function spaceOf({ payload, isSyn, isFin }: Segment): number {
  return payload.length + (isSyn ? 1 : 0) + (isFin ? 1 : 0);
}

/** The reset that answers what belongs to no connection (RFC 9293 §3.5.2). */
export function resetFor(segment: Segment): Segment {
  const plain = { isSyn: false, isFin: false, isRst: true, window: 0, payload: NO_OCTETS };
  if (segment.isAck) return { ...plain, seq: segment.ack, ack: 0, isAck: false };
  return { ...plain, seq: 0, ack: (segment.seq + spaceOf(segment)) >>> 0, isAck: true };
}
