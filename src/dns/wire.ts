/**
 * Reads DNS messages (RFC 1035 §4, RFC 6891): all sections are walked, records stay where they are.
 *
 * Nothing is allocated by a count that the message only claims, and no name is expanded here, so that a small
 * message cannot make a big one (DN-4, DN-5).
 */
import { malformed, type Parsed, parsed } from "../base/index.ts";
import { MESSAGE_BYTES_MAX, TYPE, UDP_MIN } from "./constants.ts";
import { HEADER_BYTES, type Name, parseName, skipName } from "./name.ts";

export interface Question {
  readonly name: Name;
  readonly type: number;
  readonly class: number;
}

/** A record as it stands in the message: offsets, so that names stay unexpanded. */
export interface ResourceRecord {
  readonly ownerAt: number;
  readonly type: number;
  readonly class: number;
  /** 0 if the top bit was set (RFC 2181 §8). */
  readonly ttlS: number;
  readonly dataAt: number;
  readonly dataBytes: number;
}

export interface Edns {
  /** What the sender takes over UDP, at least 512 (RFC 6891 §6.2.3). */
  readonly sizeBytes: number;
  readonly sizeAt: number;
  readonly extendedRcode: number;
  readonly version: number;
  readonly isDnssecOk: boolean;
  /** Each as `[code u16][length u16][octets]`. */
  readonly options: Uint8Array;
}

export interface DnsHeader {
  readonly id: number;
  readonly isResponse: boolean;
  readonly opcode: number;
  readonly isTruncated: boolean;
  readonly isRecursionDesired: boolean;
  readonly isCheckingDisabled: boolean;
  /** Only the four bits of the header. */
  readonly rcode: number;
  readonly counts: readonly [questions: number, answers: number, authorities: number, additionals: number];
}

export interface DnsMessage {
  readonly header: DnsHeader;
  /** Borrowed, without the octets behind the last record (DN-8). */
  readonly bytes: Uint8Array;
  readonly question: Question | undefined;
  /** Where the question ends and the records begin. */
  readonly recordsAt: number;
  readonly answers: readonly ResourceRecord[];
  /** How long the zone lets nobody ask again for what is not there (RFC 2308 §5); absent without its SOA. */
  readonly negativeTtlS: number | undefined;
  readonly edns: Edns | undefined;
  /** Signed messages must not be changed (DN-13). */
  readonly isSigned: boolean;
}

export type MalformedDns =
  | "length"
  | "question-count"
  | "bad-question"
  | "counts"
  | "bad-name"
  | "bad-record"
  | "bad-data"
  | "bad-edns";

const FLAG = { response: 0x8000, truncated: 0x0200, recursionDesired: 0x0100, checkingDisabled: 0x0010 };
/** Of a record behind its owner: type, class, TTL, length of the data. */
const RECORD_FIXED_BYTES = 10;
/** Two names and five numbers. */
const SOA_BYTES_MIN = 22;
const RECORD_BYTES_MIN = 1 + RECORD_FIXED_BYTES;

/** The header; `undefined` for less than 12 or more than 65,535 octets. */
export function parseDnsHeader(bytes: Uint8Array): DnsHeader | undefined {
  if (bytes.length < HEADER_BYTES || bytes.length > MESSAGE_BYTES_MAX) return undefined;
  const flags = u16(bytes, 2);
  return {
    id: u16(bytes, 0),
    isResponse: (flags & FLAG.response) !== 0,
    opcode: (flags >> 11) & 15,
    isTruncated: (flags & FLAG.truncated) !== 0,
    isRecursionDesired: (flags & FLAG.recursionDesired) !== 0,
    isCheckingDisabled: (flags & FLAG.checkingDisabled) !== 0,
    rcode: flags & 15,
    counts: [u16(bytes, 4), u16(bytes, 6), u16(bytes, 8), u16(bytes, 10)],
  };
}

/** Reads the question behind the header. */
export function parseQuestion(
  bytes: Uint8Array,
): Parsed<{ readonly question: Question; readonly end: number }, "bad-question"> {
  const name = parseName(bytes, HEADER_BYTES);
  if (!name.ok) return malformed("bad-question");
  const { end } = name.value;
  if (end + 4 > bytes.length) return malformed("bad-question");
  const question = { name: name.value.name, type: u16(bytes, end), class: u16(bytes, end + 2) };
  return parsed({ question, end: end + 4 });
}

/** Reads a whole message with no question or one. Borrows `bytes`. Never throws. */
export function parseMessage(bytes: Uint8Array): Parsed<DnsMessage, MalformedDns> {
  const header = parseDnsHeader(bytes);
  if (header === undefined) return malformed("length");
  const [questions, answers, authorities, additionals] = header.counts;
  if (questions > 1) return malformed("question-count");
  const asked = questions === 1 ? parseQuestion(bytes) : undefined;
  if (asked?.ok === false) return asked;
  const recordsAt = asked?.value.end ?? HEADER_BYTES;
  if ((answers + authorities + additionals) * RECORD_BYTES_MIN > bytes.length - recordsAt) {
    return malformed("counts");
  }
  const sections = walkSections(bytes, recordsAt, [answers, authorities, additionals]);
  if (!sections.ok) return sections;
  const { end, ...found } = sections.value;
  const question = asked?.value.question;
  return parsed({ header, bytes: bytes.subarray(0, end), question, recordsAt, ...found });
}

interface Sections {
  readonly answers: readonly ResourceRecord[];
  readonly negativeTtlS: number | undefined;
  readonly edns: Edns | undefined;
  readonly isSigned: boolean;
  readonly end: number;
}

function walkSections(
  bytes: Uint8Array,
  start: number,
  [answerCount, authorityCount, additionalCount]: readonly [number, number, number],
): Parsed<Sections, MalformedDns> {
  const answers: ResourceRecord[] = [];
  let edns: Edns | undefined;
  let isSigned = false;
  let negativeTtlS: number | undefined;
  let at = start;
  const additionalFrom = answerCount + authorityCount;
  for (let i = 0; i < additionalFrom + additionalCount; i++) {
    const read = parseRecord(bytes, at);
    if (!read.ok) return read;
    const record = read.value;
    at = record.dataAt + record.dataBytes;
    if (i < answerCount) {
      if (!hasValidData(bytes, record)) return malformed("bad-data");
      answers.push(record);
    }
    if (i >= answerCount && i < additionalFrom && record.type === TYPE.SOA) {
      negativeTtlS ??= negativeTtlOf(bytes, record);
    }
    if (record.type === TYPE.OPT) {
      // At most one, and nowhere else (RFC 6891 §6.1.1).
      const opt = i >= additionalFrom && edns === undefined ? parseEdns(bytes, record) : undefined;
      if (opt === undefined) return malformed("bad-edns");
      edns = opt;
    }
    isSigned = i >= additionalFrom && isSignature(bytes, record);
  }
  return parsed({ answers, negativeTtlS, edns, isSigned, end: at });
}

/** The smaller one of the SOA's own TTL and its last field. */
function negativeTtlOf(bytes: Uint8Array, { ttlS, dataAt, dataBytes }: ResourceRecord): number | undefined {
  if (dataBytes < SOA_BYTES_MIN) return undefined;
  const minimumAt = dataAt + dataBytes - 4;
  return Math.min(ttlS, u16(bytes, minimumAt) * 0x1_0000 + u16(bytes, minimumAt + 2));
}

/** Reads the record at `at`: its owner is valid, its data lie inside the message. */
function parseRecord(bytes: Uint8Array, at: number): Parsed<ResourceRecord, "bad-name" | "bad-record"> {
  const end = skipName(bytes, at);
  if (end === undefined) return malformed("bad-name");
  const dataAt = end + RECORD_FIXED_BYTES;
  if (dataAt > bytes.length) return malformed("bad-record");
  const dataBytes = u16(bytes, end + 8);
  if (dataAt + dataBytes > bytes.length) return malformed("bad-record");
  const ttl = u16(bytes, end + 4) * 0x1_0000 + u16(bytes, end + 6);
  return parsed({
    ownerAt: at,
    type: u16(bytes, end),
    class: u16(bytes, end + 2),
    ttlS: ttl >= 0x8000_0000 ? 0 : ttl,
    dataAt,
    dataBytes,
  });
}

/** What data of the types that we look into must be (DN-5); others are opaque. */
function hasValidData(bytes: Uint8Array, { type, dataAt, dataBytes }: ResourceRecord): boolean {
  switch (type) {
    case TYPE.A:
      return dataBytes === 4;
    case TYPE.AAAA:
      return dataBytes === 16;
    case TYPE.TXT:
      return isStrings(bytes.subarray(dataAt, dataAt + dataBytes));
    default: {
      const shape = nameShapeOf(type);
      if (shape === undefined) return true;
      let at: number | undefined = dataAt + shape.before;
      for (let i = 0; i < shape.names && at !== undefined; i++) at = skipName(bytes, at);
      return at !== undefined && at + shape.after === dataAt + dataBytes;
    }
  }
}

/** Where the names stand in the data of a type that may compress them (RFC 3597 §4). */
export function nameShapeOf(
  type: number,
): { readonly before: number; readonly names: number; readonly after: number } | undefined {
  switch (type) {
    case TYPE.CNAME:
    case TYPE.NS:
    case TYPE.PTR:
    case TYPE.DNAME:
      return { before: 0, names: 1, after: 0 };
    case TYPE.MX:
      return { before: 2, names: 1, after: 0 };
    case TYPE.SRV:
      return { before: 6, names: 1, after: 0 };
    case TYPE.SOA:
      return { before: 0, names: 2, after: 20 };
    default:
      return undefined;
  }
}

function isStrings(data: Uint8Array): boolean {
  let at = 0;
  while (at < data.length) at += 1 + (data[at] ?? 0);
  return at === data.length && at > 0;
}

function parseEdns(bytes: Uint8Array, record: ResourceRecord): Edns | undefined {
  const { ownerAt, dataAt, dataBytes } = record;
  // The owner is the root, and not a pointer to one.
  if (bytes[ownerAt] !== 0) return undefined;
  const options = bytes.subarray(dataAt, dataAt + dataBytes);
  let at = 0;
  while (at < options.length) {
    if (at + 4 > options.length) return undefined;
    at += 4 + u16(options, at + 2);
  }
  if (at !== options.length) return undefined;
  const ttlAt = dataAt - 6;
  return {
    sizeBytes: Math.max(UDP_MIN, record.class),
    sizeAt: dataAt - 8,
    extendedRcode: bytes[ttlAt] ?? 0,
    version: bytes[ttlAt + 1] ?? 0,
    isDnssecOk: ((bytes[ttlAt + 2] ?? 0) & 0x80) !== 0,
    options,
  };
}

/** TSIG, or SIG(0): a SIG that covers no type (RFC 8945 §5.1, RFC 2931 §3). */
function isSignature(bytes: Uint8Array, { type, dataAt, dataBytes }: ResourceRecord): boolean {
  return type === TYPE.TSIG || (type === TYPE.SIG && dataBytes >= 2 && u16(bytes, dataAt) === 0);
}

export function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}
