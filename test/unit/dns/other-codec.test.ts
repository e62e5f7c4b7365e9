/** Our codec beside another one, `dns-packet` (dns.md §17): both read and write the same, but for what is listed. */
import { describe, expect, it } from "vitest";
import { concatBytes, toHex } from "../../../src/base/index.ts";
import {
  checkQuery,
  encodeForwarded,
  encodeLocal,
  encodeQuery,
  fitAnswer,
  HEADER_BYTES,
  type LocalRecord,
  parseMessage,
  type Query,
  TYPE,
  toName,
} from "../../../src/dns/index.ts";
import fc from "../../lib/property.ts";
import { drawnMessages, encodeDrawn } from "./drawn-messages.ts";
import { message, octets, opt, record } from "./octets.ts";
import { dnsPacket, type Seen, seenByThem, seenByUs } from "./other-codec.ts";

const ROOT_QUESTION = "00 0001 0001";
const answer = (...records: readonly string[]) =>
  message(`0001 000${records.length} 0000 0000`, `${ROOT_QUESTION} ${records.join(" ")}`);

function queryOf(bytes: Uint8Array): Query {
  const checked = checkQuery(bytes);
  if (checked.kind !== "query") throw new Error(`no query: ${checked.kind}`);
  return checked.query;
}

/** @returns what both read */
function readByBoth(bytes: Uint8Array): Seen {
  const ours = seenByUs(bytes);
  if (typeof ours === "string") return expect.unreachable(ours);
  expect(seenByThem(bytes)).toEqual(ours);
  return ours;
}

describe("valid messages", () => {
  it("DN-1 to DN-7: both read the same in 3,000 messages of every type, with names compressed", () => {
    fc.assert(
      fc.property(drawnMessages({ isText: false }), (drawn) => void readByBoth(encodeDrawn(drawn))),
      { numRuns: 3_000 },
    );
  });

  it("DN-1 to DN-7: what they have read and written again we read as before", () => {
    fc.assert(
      fc.property(drawnMessages({ isText: true }), (drawn) => {
        const bytes = encodeDrawn(drawn);
        const again = dnsPacket.encode(dnsPacket.decode(Buffer.from(bytes)));
        expect(seenByUs(again)).toEqual(seenByUs(bytes));
      }),
      { numRuns: 2_000 },
    );
  });

  it("DN-9 to DN-13: they read what we write: queries, answers of our own, what is forwarded and cut short", () => {
    const data: fc.Arbitrary<LocalRecord> = fc.oneof(
      fc.uint8Array({ minLength: 4, maxLength: 4 }).map((octets4) => ({ type: TYPE.A, data: octets4 })),
      fc
        .uint8Array({ minLength: 16, maxLength: 16 })
        .map((octets16) => ({ type: TYPE.AAAA, data: octets16 })),
      fc.constant({ type: TYPE.PTR, data: toName("wiki.corp")?.wire ?? new Uint8Array(0) }),
    );
    const asked = drawnMessages({ isText: false }).map((drawn) => ({
      ...drawn,
      answers: [],
      // A query with RD and CD as they come, of version 0.
      flags: drawn.flags & 0x0110,
      question: { ...drawn.question, type: TYPE.ANY, class: 1 },
      edns: drawn.edns && { ...drawn.edns, ttl: drawn.edns.ttl & 0x8000 },
    }));
    const codes = fc.constantFrom(0, 2, 3, 5, 16);
    fc.assert(
      fc.property(asked, fc.array(data, { maxLength: 8 }), codes, (drawn, records, rcode) => {
        const query = queryOf(encodeDrawn(drawn));
        const asked = readByBoth(encodeDrawn(drawn));
        const { name, type } = query.question;
        const owner = asked.question?.slice(0, -` 1 ${type}`.length);
        const again = readByBoth(encodeQuery({ id: drawn.id, name, type }));
        expect(again.header).toEqual([drawn.id, false, 0, 0]);
        const forwarded = readByBoth(encodeForwarded(query, drawn.id ^ 0xffff));
        expect(forwarded.header).toEqual([drawn.id ^ 0xffff, false, 0, 0]);
        expect(forwarded.question).toBe(asked.question);
        const isDnssecOk = (drawn.edns?.ttl ?? 0) !== 0;
        const ednsOf = (code: number, options = "") =>
          drawn.edns && `1232 ${code >> 4} 0 ${isDnssecOk} ${options}`;
        const whole = encodeLocal(query, { rcode, records });
        const flags = [false, (drawn.flags & 0x0100) !== 0, (drawn.flags & 0x0010) !== 0];
        const header = [drawn.id, true, 0, rcode & 15];
        expect(readByBoth(whole)).toEqual({
          ...{ header, flags, question: asked.question, edns: ednsOf(rcode) },
          answers: records.map((one) => `${owner} 1 ${one.type} 1 ${shown(one)}`),
        });
        const failed = readByBoth(encodeLocal(query, { rcode: 2, extendedError: "deadline" }));
        expect(failed.edns).toBe(ednsOf(2, "000f00020016"));
        const short = readByBoth(fitAnswer(query, whole, HEADER_BYTES));
        expect(short).toMatchObject({ header, flags: [true, flags[1], flags[2]], answers: [] });
      }),
      { numRuns: 1_500 },
    );
  });
});

function shown({ type, data }: LocalRecord): string {
  return type === TYPE.PTR ? "wiki.corp" : toHex(data);
}

/**
 * Where the two differ on what one of them takes for valid, and why ours is as it is. Each is shown by a message:
 * when theirs changes, the list has to.
 */
const DIFFERENCES: readonly {
  readonly what: string;
  readonly bytes: Uint8Array;
  readonly ours: string;
  readonly theirs: "reads" | "refuses";
}[] = [
  {
    what: "DN-5: an A record of three octets is not an address; they read one beyond its end",
    bytes: concatBytes(answer(record("00", "0001", "c00002")), octets("ff")),
    ours: "bad-data",
    theirs: "reads",
  },
  {
    what: "DN-5: nor is one of five; they read on within it",
    bytes: answer(record("00", "0001", "c000020100")),
    ours: "bad-data",
    theirs: "reads",
  },
  {
    what: "DN-5: a name that ends before its data end",
    bytes: answer(record("00", "0002", "01 61 00 00")),
    ours: "bad-data",
    theirs: "reads",
  },
  {
    what: "DN-5: text without a string (RFC 1035 §3.3.14)",
    bytes: answer(record("00", "0010", "")),
    ours: "bad-data",
    theirs: "reads",
  },
  {
    what: "DN-3: a pointer into the header",
    bytes: answer(record("c004", "0001", "c0000201")),
    ours: "bad-name",
    theirs: "reads",
  },
  {
    what: "DN-7: two OPT records",
    bytes: message("0001 0000 0000 0002", `${ROOT_QUESTION} ${opt()} ${opt()}`),
    ours: "bad-edns",
    theirs: "reads",
  },
  {
    what: "DN-7: an OPT that is not of the root",
    bytes: message("0001 0000 0000 0001", `${ROOT_QUESTION} ${opt({ owner: "01 61 00" })}`),
    ours: "bad-edns",
    theirs: "reads",
  },
  {
    what: "DN-7: an OPT among the answers",
    bytes: message("0001 0001 0000 0000", `${ROOT_QUESTION} ${opt()}`),
    ours: "bad-edns",
    theirs: "reads",
  },
  {
    what: "DN-15: two questions (RFC 9619)",
    bytes: message("0002 0000 0000 0000", `${ROOT_QUESTION} ${ROOT_QUESTION}`),
    ours: "question-count",
    theirs: "reads",
  },
  {
    what: "DN-5: types that we pass on without looking into them may hold anything, a key without octets too",
    bytes: answer(record("00", "0030", "")),
    ours: "reads",
    theirs: "refuses",
  },
  {
    what: "DN-7: options are opaque to us; they want a client's subnet whole",
    bytes: message("0001 0000 0000 0001", `${ROOT_QUESTION} ${opt({ options: "0008 0000" })}`),
    ours: "reads",
    theirs: "refuses",
  },
];

describe("where they differ", () => {
  it.each(DIFFERENCES)("$what", ({ bytes, ours, theirs }) => {
    const seen = seenByUs(bytes);
    expect(typeof seen === "string" ? seen : "reads").toBe(ours);
    expect(readsAtAll(bytes) ? "reads" : "refuses").toBe(theirs);
  });

  it("DN-1: to them octets of a label are text: two names that differ look alike, and one label like two", () => {
    const [high, higher, dotted] = ["02 fe 61", "02 ff 61", "03 61 2e 62"].map((label) =>
      message("0001 0000 0000 0000", `${label} 00 0001 0001`),
    );
    const nameOf = (bytes = new Uint8Array(0)) => dnsPacket.decode(Buffer.from(bytes)).questions[0]?.name;
    expect(nameOf(high)).toBe(nameOf(higher));
    expect(nameOf(dotted)).toBe("a.b");
    const keyOf = (bytes = new Uint8Array(0)) => queryOf(bytes).question.name.key;
    const queries = [high, higher].map((bytes) => bytes && Uint8Array.from(bytes).fill(0, 2, 4));
    expect(keyOf(queries[0])).not.toBe(keyOf(queries[1]));
  });
});

function readsAtAll(bytes: Uint8Array): boolean {
  try {
    dnsPacket.decode(Buffer.from(bytes));
    return true;
  } catch {
    return false;
  }
}

/** Of types that both look into, or neither: others may hold anything that only one of them minds. */
const SAME_DEPTH: readonly number[] = [
  ...[TYPE.A, TYPE.AAAA, TYPE.NS, TYPE.CNAME, TYPE.PTR, TYPE.DNAME, TYPE.MX, TYPE.SRV, TYPE.SOA, TYPE.TXT],
  ...[TYPE.SIG, TYPE.TSIG, TYPE.SVCB, TYPE.HTTPS, TYPE.URI],
];

/** No section that we only walk, and no option, of which some have a shape to them. */
function isSameDepth(bytes: Uint8Array): boolean {
  const read = parseMessage(bytes);
  if (!read.ok) return false;
  const { header, answers, edns } = read.value;
  const [, , authorities, additionals] = header.counts;
  const isPlain = edns === undefined || edns.options.length === 0;
  if (!isPlain || authorities !== 0 || additionals !== (edns === undefined ? 0 : 1)) return false;
  return answers.every(({ type }) => SAME_DEPTH.includes(type));
}

type Damage = { readonly at: number; readonly to: number } | { readonly cutAt: number };

const damage: fc.Arbitrary<Damage> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ at: fc.nat(), to: fc.integer({ min: 0, max: 255 }) }) },
  { weight: 1, arbitrary: fc.record({ cutAt: fc.nat() }) },
);

function damaged(bytes: Uint8Array, all: readonly Damage[]): Uint8Array {
  let next = bytes.slice();
  for (const one of all) {
    if ("cutAt" in one) next = next.slice(0, one.cutAt % (next.length + 1));
    else if (next.length > 0) next[one.at % next.length] = one.to;
  }
  return next;
}

describe("malformed messages", () => {
  it("DN-4, DN-5: neither crashes, and what we read they read alike", () => {
    let [alike, malformed] = [0, 0];
    const some = drawnMessages({ isText: false }).map((drawn) => ({
      ...drawn,
      answers: drawn.answers.filter(({ type }) => SAME_DEPTH.includes(type)),
      edns: drawn.edns && { ...drawn.edns, options: [] },
    }));
    fc.assert(
      fc.property(some, fc.array(damage, { minLength: 1, maxLength: 3 }), (drawn, all) => {
        const bytes = damaged(encodeDrawn(drawn), all);
        const ours = seenByUs(bytes);
        const theirs = seenByThem(bytes);
        if (typeof ours === "string") return void malformed++;
        if (!isSameDepth(bytes)) return;
        expect(theirs).toEqual(ours);
        alike++;
      }),
      { numRuns: 4_000 },
    );
    expect(alike).toBeGreaterThan(1_000);
    expect(malformed).toBeGreaterThan(500);
  });

  it("DN-4: neither crashes on octets that are no message", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 0, maxLength: 80 }), (bytes) => {
        seenByUs(bytes);
        checkQuery(bytes);
        seenByThem(bytes);
      }),
      { numRuns: 3_000 },
    );
  });
});
