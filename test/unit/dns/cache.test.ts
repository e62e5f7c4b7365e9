import { describe, expect, it } from "vitest";
import { concatBytes, type Instant, instant, toHex } from "../../../src/base/index.ts";
import { CACHE_ENTRIES_MAX, createCache, findCached, store } from "../../../src/dns/cache.ts";
import { checkQuery, parseMessage, type Query } from "../../../src/dns/index.ts";
import fc from "../../lib/property.ts";
import { EXAMPLE, message, octets, opt, record } from "./octets.ts";

const QUESTION = `${EXAMPLE} 0001 0001`;
const start = instant(5_000);
const at = (seconds: number): Instant => instant(start + seconds * 1000);

function queryOf(bytes: Uint8Array = message("0001 0000 0000 0000", QUESTION, "0100")): Query {
  const check = checkQuery(bytes);
  if (check.kind !== "query") throw new Error(check.counter);
  return check.query;
}

function responseOf(records: readonly string[], { flags = "8180", question = QUESTION, tail = "" } = {}) {
  const counts = `0001 ${records.length.toString(16).padStart(4, "0")} 0000 000${tail === "" ? 0 : 1}`;
  const read = parseMessage(message(counts, `${question} ${records.join("")} ${tail}`, flags));
  if (!read.ok) throw new Error(read.reason);
  return read.value;
}

const a = (ttl: number) => record("c00c", "0001", "c0000207", ttl.toString(16).padStart(8, "0"));

function ttlsOf(bytes: Uint8Array | undefined): number[] | undefined {
  const read = bytes && parseMessage(bytes);
  return read?.ok ? read.value.answers.map(({ ttlS }) => ttlS) : undefined;
}

describe("the cache", () => {
  it("DN-79: TTLs fall by what has elapsed", () => {
    const cache = createCache();
    store(cache, start, queryOf(), responseOf([a(3600)]));
    expect(ttlsOf(findCached(cache, at(100), queryOf()))).toEqual([3500]);
    store(cache, start, queryOf(), responseOf([a(1800), a(3600)]));
    expect(ttlsOf(findCached(cache, at(100), queryOf()))).toEqual([1700, 3500]);
    expect(ttlsOf(findCached(cache, instant(at(1799) + 999), queryOf()))).toEqual([1, 1801]);
    expect(findCached(cache, at(1800), queryOf())).toBeUndefined();
    expect(cache.bytes).toBe(0);
  });

  it("DN-79: the asker gets its ID, its question and an OPT if it has one", () => {
    const cache = createCache();
    store(cache, start, queryOf(), responseOf([a(60)]));
    const mixed = `07 4578616d706c65 03 434f4d 00 0001 0001`;
    const query = queryOf(message("0001 0000 0000 0001", mixed + opt(), "0100", "beef"));
    expect(toHex(findCached(cache, at(1), query) ?? octets(""))).toBe(
      toHex(
        octets(`beef 8180 0001 0001 0000 0001 ${mixed} ${EXAMPLE} 0001 0001 0000003b 0004 c0000207 ${opt()}`),
      ),
    );
  });

  it.each([
    ["4 s left", [a(4)], {}],
    ["a record with less", [a(60), a(4)], {}],
    ["no such name", [], { flags: "8183" }],
    ["no data", [], {}],
    ["a failure", [a(60)], { flags: "8182" }],
    ["a truncated answer", [a(60)], { flags: "8380" }],
    ["an alias alone", [record("c00c", "0005", "c00c", "00000e10")], {}],
    ["an extended code", [a(60)], { tail: opt({ flags: "01000000" }) }],
    ["a type with names that we do not know", [a(60), record("c00c", "0023", "00", "00000e10")], {}],
  ])("DN-78: not kept: %s", (_, records, options) => {
    const cache = createCache();
    store(cache, start, queryOf(), responseOf(records, options));
    expect(cache.entries.size).toBe(0);
  });

  it("DN-78: 5 s are enough, and 3,600 s the most", () => {
    const cache = createCache();
    store(cache, start, queryOf(), responseOf([a(5)]));
    expect(ttlsOf(findCached(cache, at(4), queryOf()))).toEqual([1]);
    store(cache, start, queryOf(), responseOf([a(86_400)]));
    expect(findCached(cache, at(3_599), queryOf())).toBeDefined();
    expect(findCached(cache, at(3_600), queryOf())).toBeUndefined();
  });

  it.each([
    ["RD=0", message("0001 0000 0000 0000", QUESTION, "0000")],
    ["CD", message("0001 0000 0000 0000", QUESTION, "0110")],
    ["DO", message("0001 0000 0000 0001", QUESTION + opt({ flags: "00008000" }), "0100")],
    ["another type", message("0001 0000 0000 0000", `${EXAMPLE} 001c 0001`, "0100")],
    ["another class", message("0001 0000 0000 0000", `${EXAMPLE} 0001 0003`, "0100")],
  ])("DN-79: a query with %s is not answered from it", (_, bytes) => {
    const cache = createCache();
    store(cache, start, queryOf(), responseOf([a(60)]));
    expect(findCached(cache, at(1), queryOf(bytes))).toBeUndefined();
  });

  it("DN-78: names in records are expanded, whatever they pointed to", () => {
    const question = `${EXAMPLE} 000f 0001`;
    const cache = createCache();
    const query = queryOf(message("0001 0000 0000 0000", question, "0100"));
    store(
      cache,
      start,
      query,
      responseOf([record("c00c", "000f", "000a 04 6d61696c c00c", "0000003c")], { question }),
    );
    expect(toHex(findCached(cache, at(0), query) ?? octets(""))).toContain(
      toHex(octets(`${EXAMPLE} 000f 0001 0000003c 0014 000a 04 6d61696c ${EXAMPLE}`)),
    );
  });

  it("DN-80: the least recently used goes first", () => {
    const cache = createCache();
    const named = (i: number) => {
      const label = `04 ${toHex(new TextEncoder().encode(String(i).padStart(4, "0")))} 00 0001 0001`;
      return { label, query: queryOf(message("0001 0000 0000 0000", label, "0100")) };
    };
    for (let i = 0; i < CACHE_ENTRIES_MAX; i++) {
      const { label, query } = named(i);
      store(cache, start, query, responseOf([a(60)], { question: label }));
    }
    findCached(cache, start, named(0).query);
    const { label, query } = named(CACHE_ENTRIES_MAX);
    store(cache, start, query, responseOf([a(60)], { question: label }));
    expect(cache.entries.size).toBe(CACHE_ENTRIES_MAX);
    expect(findCached(cache, start, named(0).query)).toBeDefined();
    expect(findCached(cache, start, named(1).query)).toBeUndefined();
  });

  it("DN-80: no more than 4 MiB", () => {
    const cache = createCache();
    for (let i = 0; i < 100; i++) {
      const label = `04 ${i.toString(16).padStart(8, "0")} 00 0010 0001`;
      const big = record("c00c", "0010", `ff${"61".repeat(255)}`.repeat(250), "0000003c");
      const query = queryOf(message("0001 0000 0000 0000", label, "0100"));
      store(cache, start, query, responseOf([big], { question: label }));
    }
    expect(cache.bytes).toBeLessThanOrEqual(4 * 1024 * 1024);
    expect(cache.entries.size).toBe(65);
  });

  it("§17: never a TTL of 0, never older data than stored last", () => {
    const step = fc.record({
      isStore: fc.boolean(),
      waitMs: fc.nat(8_000),
      ttl: fc.nat(20),
      value: fc.nat(255),
    });
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const cache = createCache();
        let now = start;
        let last: { value: number; until: number } | undefined;
        for (const { isStore, waitMs, ttl, value } of steps) {
          now = instant(now + waitMs);
          if (isStore) {
            const data = `c00002${value.toString(16).padStart(2, "0")}`;
            store(
              cache,
              now,
              queryOf(),
              responseOf([record("c00c", "0001", data, ttl.toString(16).padStart(8, "0"))]),
            );
            if (ttl >= 5) last = { value, until: now + ttl * 1000 };
            continue;
          }
          const found = findCached(cache, now, queryOf());
          expect(found !== undefined).toBe(last !== undefined && now < last.until);
          if (found === undefined) continue;
          expect(found.at(-1)).toBe(last?.value);
          expect(ttlsOf(found)?.[0]).toBeGreaterThan(0);
        }
      }),
    );
  });

  it("DN-72: what lay in a cache of HTTP is older already", () => {
    const cache = createCache();
    store(cache, start, queryOf(), responseOf([a(60)]), 50);
    expect(ttlsOf(findCached(cache, at(3), queryOf()))).toEqual([7]);
    store(
      cache,
      start,
      queryOf(concatBytes(message("0001 0000 0000 0000", QUESTION, "0100"))),
      responseOf([a(60)]),
      56,
    );
    expect(ttlsOf(findCached(cache, at(3), queryOf()))).toEqual([7]);
  });
});
