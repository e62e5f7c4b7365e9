/**
 * Questions for addresses and the answers to them (RFC 1035 §4), as far as a stub needs them: one question,
 * no EDNS, so that an answer that does not fit into 512 octets comes truncated and is asked for by TCP.
 */
import { concatBytes, copyOf, type IpAddress, malformed, type Parsed, parsed } from "../base/index.ts";
import { HEADER_BYTES, type Name, parseName } from "./name.ts";

export const TYPE_A = 1;
export const TYPE_AAAA = 28;
const TYPE_CNAME = 5;
const CLASS_IN = 1;

export const RCODE_NOERROR = 0;
export const RCODE_NXDOMAIN = 3;

const FLAG_RESPONSE = 0x8000;
const FLAG_TRUNCATED = 0x0200;
const FLAG_RECURSION_DESIRED = 0x0100;
const MASK_OPCODE = 0x7800;
const MASK_RCODE = 0x000f;
/** Of a resource record after its owner: type, class, TTL, length of the data. */
const RECORD_FIXED_BYTES = 10;
const RECORD_BYTES_MIN = 1 + RECORD_FIXED_BYTES;
/** Aliases that are followed within one answer. */
const ALIASES_MAX = 16;

export interface Question {
  readonly id: number;
  readonly name: Name;
  readonly type: typeof TYPE_A | typeof TYPE_AAAA;
}

export interface Response {
  readonly rcode: number;
  /** Not all of the answer is here (RFC 1035 §4.2.1). */
  readonly isTruncated: boolean;
  /** Of the asked name, or of the name that it is an alias of. */
  readonly addresses: readonly IpAddress[];
}

/** Why a datagram is no answer to a question (DN-4, DN-5, DN-14). */
export type MalformedDns = "short" | "not-an-answer" | "other-question" | "bad-record" | "bad-name";

export function encodeQuery({ id, name, type }: Question): Uint8Array<ArrayBuffer> {
  const header = new Uint8Array(HEADER_BYTES);
  const view = new DataView(header.buffer);
  view.setUint16(0, id);
  view.setUint16(2, FLAG_RECURSION_DESIRED);
  view.setUint16(4, 1);
  return concatBytes(header, name.wire, Uint8Array.of(0, type, 0, CLASS_IN));
}

/** Reads the answer to `question`; anything else is malformed. */
export function parseResponse(message: Uint8Array, question: Question): Parsed<Response, MalformedDns> {
  if (message.length < HEADER_BYTES) return malformed("short");
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  const flags = view.getUint16(2);
  const isAnswer = (flags & FLAG_RESPONSE) !== 0 && (flags & MASK_OPCODE) === 0;
  if (!isAnswer || view.getUint16(0) !== question.id) return malformed("not-an-answer");
  const rcode = flags & MASK_RCODE;
  const isTruncated = (flags & FLAG_TRUNCATED) !== 0;
  // Some servers refuse without repeating the question.
  if (view.getUint16(4) === 0 && rcode !== RCODE_NOERROR && rcode !== RCODE_NXDOMAIN) {
    return parsed({ rcode, isTruncated, addresses: [] });
  }
  if (view.getUint16(4) !== 1) return malformed("other-question");
  const asked = parseName(message, HEADER_BYTES);
  if (!asked.ok) return asked;
  const { name, end } = asked.value;
  if (end + 4 > message.length) return malformed("short");
  const isSame =
    name.key === question.name.key &&
    view.getUint16(end) === question.type &&
    view.getUint16(end + 2) === CLASS_IN;
  if (!isSame) return malformed("other-question");
  if (isTruncated) return parsed({ rcode, isTruncated, addresses: [] });
  const records = parseRecords(message, view, end + 4);
  if (!records.ok) return records;
  return parsed({ rcode, isTruncated, addresses: addressesOf(records.value, question) });
}

interface AnswerRecord {
  readonly owner: string;
  readonly type: number;
  readonly data: Uint8Array;
  /** The key of the name that an alias leads to. */
  readonly target: string | undefined;
}

function parseRecords(
  message: Uint8Array,
  view: DataView,
  start: number,
): Parsed<readonly AnswerRecord[], MalformedDns> {
  const count = view.getUint16(6);
  const all = count + view.getUint16(8) + view.getUint16(10);
  // No loop is driven by a count alone (DN-4).
  if (all * RECORD_BYTES_MIN > message.length - start) return malformed("bad-record");
  const records: AnswerRecord[] = [];
  let at = start;
  for (let i = 0; i < count; i++) {
    const owner = parseName(message, at);
    if (!owner.ok) return owner;
    at = owner.value.end;
    if (at + RECORD_FIXED_BYTES > message.length) return malformed("bad-record");
    const type = view.getUint16(at);
    const isInternet = view.getUint16(at + 2) === CLASS_IN;
    const dataAt = at + RECORD_FIXED_BYTES;
    at = dataAt + view.getUint16(at + 8);
    if (at > message.length) return malformed("bad-record");
    const data = message.subarray(dataAt, at);
    if (!isInternet) continue;
    if ((type === TYPE_A && data.length !== 4) || (type === TYPE_AAAA && data.length !== 16)) {
      return malformed("bad-record");
    }
    const target = type === TYPE_CNAME ? parseName(message, dataAt) : undefined;
    if (target !== undefined && (!target.ok || target.value.end !== at)) return malformed("bad-record");
    records.push({
      owner: owner.value.name.key,
      type,
      data,
      target: target?.ok ? target.value.name.key : undefined,
    });
  }
  return parsed(records);
}

function addressesOf(records: readonly AnswerRecord[], { name, type }: Question): readonly IpAddress[] {
  let owner = name.key;
  for (let aliases = 0; aliases < ALIASES_MAX; aliases++) {
    const found = records.filter((record) => record.type === type && record.owner === owner);
    if (found.length > 0) return found.map(({ data }) => copyOf(data));
    const alias = records.find((record) => record.target !== undefined && record.owner === owner);
    if (alias?.target === undefined) return [];
    owner = alias.target;
  }
  return [];
}
