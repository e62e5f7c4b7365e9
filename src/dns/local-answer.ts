/** Answers that we make ourselves (DN-9 to DN-12). */
import { concatBytes } from "../base/index.ts";
import { EXTENDED_ERROR, type ExtendedError, LOCAL_TTL_S, UDP_MAX, UDP_MIN } from "./constants.ts";
import { HEADER_BYTES } from "./name.ts";
import type { DnsHeader, DnsMessage } from "./wire.ts";

/** What an answer takes from its query. */
export type Asked = Pick<DnsMessage, "header" | "bytes" | "recordsAt" | "edns">;

/** A record about the asked name, in class IN. */
export interface LocalRecord {
  readonly type: number;
  readonly data: Uint8Array;
  readonly ttlS?: number;
}

export interface LocalAnswer {
  /** All twelve bits; those above four go into the OPT. */
  readonly rcode: number;
  readonly records?: readonly LocalRecord[];
  /** Why it failed, for those who take EDNS (RFC 8914). */
  readonly extendedError?: ExtendedError;
}

const FLAGS_LOCAL = { response: 0x8000, recursionAvailable: 0x0080 } as const;
const KEPT = { opcode: 0x7800, recursionDesired: 0x0100, checkingDisabled: 0x0010 } as const;
const OPTION_EXTENDED_ERROR = 15;
/** The owner of every answer: the name in the question. */
const POINTER_TO_QUESTION = [0xc0, HEADER_BYTES] as const;

/** Header, the question octet by octet as it came (0x20 safe), records, and an OPT if the query had one. */
export function encodeLocal(asked: Asked, answer: LocalAnswer): Uint8Array<ArrayBuffer> {
  const records = answer.records ?? [];
  const opt = encodeOpt(asked, answer);
  const header = encodeHeader(asked.header, answer.rcode);
  const view = new DataView(header.buffer);
  view.setUint16(4, 1);
  view.setUint16(6, records.length);
  view.setUint16(10, opt.length === 0 ? 0 : 1);
  const question = asked.bytes.subarray(HEADER_BYTES, asked.recordsAt);
  return concatBytes(header, question, ...records.map(encodeLocalRecord), opt);
}

/** For queries whose question is none. */
export function encodeHeaderOnly(header: DnsHeader, rcode: number): Uint8Array<ArrayBuffer> {
  return encodeHeader(header, rcode);
}

/** How much the asker takes over UDP. */
export function udpLimitOf({ edns }: Pick<DnsMessage, "edns">): number {
  return edns === undefined ? UDP_MIN : Math.min(UDP_MAX, edns.sizeBytes);
}

/** The same answer where it fits, else the word that it does not: TC, question, OPT. */
export function fitAnswer(
  asked: Asked,
  answer: Uint8Array<ArrayBuffer>,
  limitBytes: number,
): Uint8Array<ArrayBuffer> {
  if (answer.length <= limitBytes) return answer;
  const short = encodeLocal(asked, { rcode: (answer[3] ?? 0) & 15 });
  // Flags and codes stay those of the answer.
  short.set(answer.subarray(2, 4), 2);
  short[2] = (short[2] ?? 0) | 0x02;
  return short;
}

function encodeHeader(of: DnsHeader, rcode: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, of.id);
  const flags =
    FLAGS_LOCAL.response |
    FLAGS_LOCAL.recursionAvailable |
    ((of.opcode << 11) & KEPT.opcode) |
    (of.isRecursionDesired ? KEPT.recursionDesired : 0) |
    (of.isCheckingDisabled ? KEPT.checkingDisabled : 0) |
    (rcode & 15);
  view.setUint16(2, flags);
  return bytes;
}

function encodeLocalRecord({ type, data, ttlS = LOCAL_TTL_S }: LocalRecord): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(12 + data.length);
  const view = new DataView(bytes.buffer);
  bytes.set(POINTER_TO_QUESTION);
  view.setUint16(2, type);
  view.setUint16(4, 1);
  view.setUint32(6, ttlS);
  view.setUint16(10, data.length);
  bytes.set(data, 12);
  return bytes;
}

function encodeOpt({ edns }: Asked, { rcode, extendedError }: LocalAnswer): Uint8Array<ArrayBuffer> {
  if (edns === undefined) return new Uint8Array(0);
  const options =
    extendedError === undefined ? [] : [0, OPTION_EXTENDED_ERROR, 0, 2, 0, EXTENDED_ERROR[extendedError]];
  const bytes = new Uint8Array(11 + options.length);
  const view = new DataView(bytes.buffer);
  view.setUint16(1, 41);
  view.setUint16(3, UDP_MAX);
  bytes[5] = rcode >> 4;
  bytes[7] = edns.isDnssecOk ? 0x80 : 0;
  view.setUint16(9, options.length);
  bytes.set(options, 11);
  return bytes;
}
