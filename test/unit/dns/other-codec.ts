/**
 * `dns-packet`, the codec that most programs in JavaScript use, beside ours (dns.md §17): what either reads in a
 * message, in one form.
 */
import { createRequire } from "node:module";
import { type IpAddress, ip, toHex } from "../../../src/base/index.ts";
import {
  type DnsMessage,
  parseMessage,
  parseName,
  type ResourceRecord,
  TYPE,
} from "../../../src/dns/index.ts";

/** What is used of it; it brings no types. */
interface DnsPacket {
  decode(bytes: Buffer): TheirMessage;
  encode(message: TheirMessage): Buffer;
  record(type: string): { encode(data: unknown): Buffer };
}

export interface TheirMessage {
  readonly id: number;
  readonly type: string;
  /** Without QR. */
  readonly flags: number;
  readonly questions: readonly { readonly name: string; readonly type: string; readonly class: string }[];
  readonly answers: readonly TheirRecord[];
  readonly additionals: readonly TheirRecord[];
}

interface TheirRecord {
  readonly name: string;
  readonly type: string;
  readonly class: string;
  readonly ttl: number;
  /** The top bit of the class, which multicast DNS uses otherwise. */
  readonly flush?: boolean;
  readonly data: unknown;
  readonly udpPayloadSize?: number;
  readonly extendedRcode?: number;
  readonly ednsVersion?: number;
  readonly flag_do?: boolean;
  readonly options?: readonly { readonly code: number; readonly data: Buffer }[];
}

/** A message as one reader sees it. Names are text, in which a dot within a label looks like one between labels. */
export interface Seen {
  readonly header: readonly [id: number, isResponse: boolean, opcode: number, rcode: number];
  readonly flags: readonly [truncated: boolean, recursionDesired: boolean, checkingDisabled: boolean];
  readonly question: string | undefined;
  readonly answers: readonly string[];
  readonly edns: string | undefined;
}

export const dnsPacket = createRequire(import.meta.url)("dns-packet") as DnsPacket;

/** @returns the reason instead, if it is malformed */
export function seenByUs(bytes: Uint8Array): Seen | string {
  const message = parseMessage(bytes);
  return message.ok ? toSeen(message.value) : message.reason;
}

/** @returns what it throws instead */
export function seenByThem(bytes: Uint8Array): Seen | Error {
  try {
    return fromTheirs(dnsPacket.decode(Buffer.from(bytes)));
  } catch (error) {
    if (error instanceof Error) return error;
    throw error;
  }
}

function toSeen({ header, question, answers, edns, bytes }: DnsMessage): Seen {
  return {
    header: [header.id, header.isResponse, header.opcode, header.rcode],
    flags: [header.isTruncated, header.isRecursionDesired, header.isCheckingDisabled],
    question: question && `${textOf(question.name.wire)} ${question.class} ${question.type}`,
    answers: answers.map((record) => {
      const { ownerAt, type, ttlS } = record;
      return `${nameAt(bytes, ownerAt).text} ${record.class} ${type} ${ttlS} ${dataOf(bytes, record)}`;
    }),
    edns:
      edns &&
      `${edns.sizeBytes} ${edns.extendedRcode} ${edns.version} ${edns.isDnssecOk} ${toHex(edns.options)}`,
  };
}

function dataOf(bytes: Uint8Array, { type, dataAt, dataBytes }: ResourceRecord): string {
  const data = bytes.subarray(dataAt, dataAt + dataBytes);
  const name = (from: number): string => nameAt(bytes, dataAt + from).text;
  switch (type) {
    case TYPE.NS:
    case TYPE.CNAME:
    case TYPE.PTR:
    case TYPE.DNAME:
      return name(0);
    case TYPE.MX:
      return `${toHex(data.subarray(0, 2))} ${name(2)}`;
    case TYPE.SRV:
      return `${toHex(data.subarray(0, 6))} ${name(6)}`;
    case TYPE.SOA: {
      const first = nameAt(bytes, dataAt);
      return `${first.text} ${nameAt(bytes, first.end, "\\.").text} ${toHex(data.subarray(-20))}`;
    }
    default:
      return toHex(data);
  }
}

function nameAt(bytes: Uint8Array, at: number, dot = "."): { readonly text: string; readonly end: number } {
  const name = parseName(bytes, at);
  if (!name.ok) throw new Error("a name that has been read cannot be read again");
  return { text: textOf(name.value.name.wire, dot), end: name.value.end };
}

/** As theirs: labels as UTF-8, joined by dots, which is not the way back. In mailboxes they mark a label's own dots. */
function textOf(wire: Uint8Array, dot = "."): string {
  const labels: string[] = [];
  for (let at = 0; (wire[at] ?? 0) > 0; at += 1 + (wire[at] ?? 0)) {
    const label = Buffer.from(wire.subarray(at + 1, at + 1 + (wire[at] ?? 0))).toString("utf8");
    labels.push(label.replaceAll(".", dot));
  }
  return labels.length === 0 ? "." : labels.join(".");
}

function fromTheirs({ id, type, flags, questions, answers, additionals }: TheirMessage): Seen {
  const [asked] = questions;
  const opt = additionals.find((record) => record.type === "OPT");
  return {
    header: [id, type === "response", (flags >> 11) & 15, flags & 15],
    flags: [(flags & 0x0200) !== 0, (flags & 0x0100) !== 0, (flags & 0x0010) !== 0],
    question: asked && `${asked.name} ${classOf(asked.class)} ${typeOf(asked.type)}`,
    answers: answers.map((record) => {
      const inClass = classOf(record.class) + (record.flush === true ? 0x8000 : 0);
      // RFC 2181 §8, which they leave to others (DN-6).
      const ttlS = record.ttl >= 0x8000_0000 ? 0 : record.ttl;
      return `${record.name} ${inClass} ${typeOf(record.type)} ${ttlS} ${theirData(record)}`;
    }),
    edns: opt && theirEdns(opt),
  };
}

function theirEdns({ udpPayloadSize = 0, extendedRcode, ednsVersion, flag_do, options = [] }: TheirRecord) {
  const parts = options.map(({ code, data }) => {
    const head = Buffer.alloc(4);
    head.writeUInt16BE(code, 0);
    head.writeUInt16BE(data.length, 2);
    return toHex(head) + toHex(data);
  });
  // RFC 6891 §6.2.3, which they leave to others (DN-7).
  const sizeBytes = Math.max(512, udpPayloadSize);
  return `${sizeBytes} ${extendedRcode} ${ednsVersion} ${flag_do} ${parts.join("")}`;
}

function theirData({ type, data }: TheirRecord): string {
  switch (type) {
    case "A":
    case "AAAA":
      return toHex(addressOf(data as string));
    case "NS":
    case "CNAME":
    case "PTR":
    case "DNAME":
      return data as string;
    case "MX": {
      const { preference, exchange } = data as { readonly preference: number; readonly exchange: string };
      return `${hexOf(2, preference)} ${exchange}`;
    }
    case "SRV": {
      const { priority, weight, port, target } = data as Readonly<
        Record<"priority" | "weight" | "port", number>
      > & {
        readonly target: string;
      };
      return `${hexOf(2, priority, weight, port)} ${target}`;
    }
    case "SOA":
      return theirSoa(data as Parameters<typeof theirSoa>[0]);
    default:
      // As they would write it, without the length in front.
      return toHex(dnsPacket.record(type).encode(data).subarray(2));
  }
}

function theirSoa(
  soa: Readonly<Record<"serial" | "refresh" | "retry" | "expire" | "minimum", number>> &
    Readonly<Record<"mname" | "rname", string>>,
): string {
  const numbers = hexOf(4, soa.serial, soa.refresh, soa.retry, soa.expire, soa.minimum);
  return `${soa.mname} ${soa.rname} ${numbers}`;
}

function addressOf(text: string): IpAddress {
  return ip(text);
}

function hexOf(octets: 2 | 4, ...numbers: readonly number[]): string {
  return numbers.map((number) => number.toString(16).padStart(2 * octets, "0")).join("");
}

const NUMBERED = /^UNKNOWN_(\d+)$/;

function typeOf(name: string): number {
  const number = NUMBERED.exec(name)?.[1];
  if (number !== undefined) return Number(number);
  const known = Object.entries(TYPE).find(([ours]) => ours === name)?.[1];
  return known ?? OTHER_TYPES[name] ?? Number.NaN;
}

/** Types that they have names for, and we have not. */
const OTHER_TYPES: Readonly<Record<string, number>> = {
  ...{ NULL: 10, HINFO: 13, RP: 17, AFSDB: 18, KEY: 25, LOC: 29, CERT: 37, KX: 36, APL: 42, DS: 43 },
  ...{ IPSECKEY: 45, RRSIG: 46, NSEC: 47, DNSKEY: 48, DHCID: 49, NSEC3: 50, NSEC3PARAM: 51, HIP: 55 },
  ...{ CDS: 59, CDNSKEY: 60, SPF: 99, TKEY: 249, CAA: 257, TA: 32_768, DLV: 32_769 },
};

const CLASSES: Readonly<Record<string, number>> = { IN: 1, CS: 2, CH: 3, HS: 4, ANY: 255 };

function classOf(name: string): number {
  return CLASSES[name] ?? Number(NUMBERED.exec(name)?.[1]);
}
