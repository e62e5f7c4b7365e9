/** Answers of upstreams and sites, kept while their TTLs last (DN-78 to DN-81). */
import { concatBytes, type Instant } from "../base/index.ts";
import { CLASS_IN, RCODE, TYPE } from "./constants.ts";
import { encodeLocal } from "./local-answer.ts";
import { HEADER_BYTES, parseName } from "./name.ts";
import type { Query } from "./query.ts";
import { type DnsMessage, nameShapeOf, type ResourceRecord } from "./wire.ts";

export const CACHE_MIN_TTL_S = 5;
export const CACHE_MAX_TTL_S = 3_600;
export const CACHE_ENTRIES_MAX = 4_096;
export const CACHE_BYTES_MAX = 4 * 1024 * 1024;
/** What an entry takes besides its records: key, map, objects; an estimate. */
const ENTRY_BYTES = 200;

/**
 * Types whose data may hold compressed names that we do not expand (RFC 3597 §4): RP, AFSDB, RT, SIG, PX, NXT,
 * NAPTR, KX, MB to MINFO.
 */
const OPAQUE_NAME_TYPES: readonly number[] = [3, 4, 7, 8, 9, 14, 17, 18, 21, 24, 26, 30, 35, 36];

interface CacheEntry {
  readonly storedAt: Instant;
  /** The smallest TTL of its records. */
  readonly lifetimeS: number;
  /** Each with its name expanded, so that it stands without its message. */
  readonly records: readonly {
    readonly bytes: Uint8Array<ArrayBuffer>;
    readonly ttlAt: number;
    readonly ttlS: number;
  }[];
  readonly bytes: number;
}

export interface Cache {
  /** In order of use, the least recent first. */
  readonly entries: Map<string, CacheEntry>;
  bytes: number;
}

export function createCache(): Cache {
  return { entries: new Map(), bytes: 0 };
}

/** The answer that is kept, with the asker's ID and question and TTLs that have aged. */
export function findCached(cache: Cache, now: Instant, query: Query): Uint8Array<ArrayBuffer> | undefined {
  if (!isCacheable(query)) return undefined;
  const key = keyOf(query);
  const entry = cache.entries.get(key);
  if (entry === undefined) return undefined;
  const elapsedS = Math.floor((now - entry.storedAt) / 1000);
  if (elapsedS >= entry.lifetimeS) {
    remove(cache, key, entry);
    return undefined;
  }
  cache.entries.delete(key);
  cache.entries.set(key, entry);
  return encodeCached(query, entry, elapsedS);
}

/** Keeps a response, if it may be kept (DN-78). */
export function store(cache: Cache, now: Instant, query: Query, response: DnsMessage, ageS = 0): void {
  if (!isCacheable(query)) return;
  const { header, answers, bytes } = response;
  if (header.rcode !== RCODE.noError || header.isTruncated || (response.edns?.extendedRcode ?? 0) !== 0)
    return;
  if (!answers.some(({ type }) => type === query.question.type)) return;
  if (answers.some(({ type }) => OPAQUE_NAME_TYPES.includes(type))) return;
  const lifetimeS = Math.min(CACHE_MAX_TTL_S, ...answers.map(({ ttlS }) => ttlS - ageS));
  if (lifetimeS < CACHE_MIN_TTL_S) return;
  const records = answers.map((record) => expand(bytes, record, ageS));
  const size = records.reduce((sum, record) => sum + record.bytes.length, ENTRY_BYTES);
  const key = keyOf(query);
  const before = cache.entries.get(key);
  if (before !== undefined) remove(cache, key, before);
  cache.entries.set(key, { storedAt: now, lifetimeS, records, bytes: size });
  cache.bytes += size;
  for (const [oldest, entry] of cache.entries) {
    if (cache.entries.size <= CACHE_ENTRIES_MAX && cache.bytes <= CACHE_BYTES_MAX) break;
    remove(cache, oldest, entry);
  }
}

export function flush(cache: Cache): void {
  cache.entries.clear();
  cache.bytes = 0;
}

function remove(cache: Cache, key: string, entry: CacheEntry): void {
  cache.entries.delete(key);
  cache.bytes -= entry.bytes;
}

/** Who asks for iteration, for signatures or without checking gets what the upstream says now (DN-79). */
function isCacheable({ header, question, edns }: Query): boolean {
  const isPlain = header.isRecursionDesired && !header.isCheckingDisabled && edns?.isDnssecOk !== true;
  return isPlain && question.class === CLASS_IN && question.type !== TYPE.ANY;
}

function keyOf({ question }: Query): string {
  return `${question.type} ${question.name.key}`;
}

function encodeCached(query: Query, entry: CacheEntry, elapsedS: number): Uint8Array<ArrayBuffer> {
  const empty = encodeLocal(query, { rcode: RCODE.noError });
  const records = entry.records.map(({ bytes, ttlAt, ttlS }) => {
    const aged = Uint8Array.from(bytes);
    new DataView(aged.buffer).setUint32(ttlAt, ttlS - elapsedS);
    return aged;
  });
  const behind = query.recordsAt;
  const answer = concatBytes(empty.subarray(0, behind), ...records, empty.subarray(behind));
  new DataView(answer.buffer).setUint16(6, records.length);
  return answer;
}

/** A record without pointers: owner, fixed part, data. */
function expand(message: Uint8Array, record: ResourceRecord, ageS: number): CacheEntry["records"][number] {
  const owner = wireAt(message, record.ownerAt);
  const data = expandData(message, record);
  const bytes = new Uint8Array(owner.length + 10 + data.length);
  const view = new DataView(bytes.buffer);
  bytes.set(owner);
  view.setUint16(owner.length, record.type);
  view.setUint16(owner.length + 2, record.class);
  view.setUint16(owner.length + 8, data.length);
  bytes.set(data, owner.length + 10);
  return { bytes, ttlAt: owner.length + 4, ttlS: record.ttlS - ageS };
}

function expandData(message: Uint8Array, { type, dataAt, dataBytes }: ResourceRecord): Uint8Array {
  const shape = nameShapeOf(type);
  const end = dataAt + dataBytes;
  if (shape === undefined) return message.subarray(dataAt, end);
  const parts = [message.subarray(dataAt, dataAt + shape.before)];
  let at = dataAt + shape.before;
  for (let i = 0; i < shape.names; i++) {
    const name = parseName(message, at);
    if (!name.ok) break;
    parts.push(name.value.name.wire);
    at = name.value.end;
  }
  return concatBytes(...parts, message.subarray(at, end));
}

function wireAt(message: Uint8Array, at: number): Uint8Array {
  const name = parseName(message, at);
  // Whoever stores a record has parsed its message.
  return name.ok ? name.value.name.wire : message.subarray(HEADER_BYTES, HEADER_BYTES);
}
