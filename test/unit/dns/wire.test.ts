import { describe, expect, it } from "vitest";
import { concatBytes, fromBase64 } from "../../../src/base/index.ts";
import { domainOf, type MalformedDns, parseMessage, TYPE } from "../../../src/dns/index.ts";
import fc from "../../lib/property.ts";
import { EXAMPLE, message, octets, opt, record } from "./octets.ts";

const QUESTION = `${EXAMPLE} 0001 0001`;
const reasonOf = (bytes: Uint8Array) => {
  const read = parseMessage(bytes);
  return read.ok ? "well-formed" : read.reason;
};
const answer = (...records: readonly string[]) =>
  message(
    `0001 ${records.length.toString(16).padStart(4, "0")} 0000 0000`,
    `${QUESTION} ${records.join(" ")}`,
  );

describe("messages", () => {
  it("RFC 8484 §4.1.1: the query of its example", () => {
    const bytes = fromBase64("AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQAB");
    const read = bytes && parseMessage(bytes);
    expect(read).toMatchObject({
      ok: true,
      value: {
        header: { id: 0, isResponse: false, isRecursionDesired: true },
        question: { type: TYPE.A, class: 1 },
      },
    });
    expect(read?.ok && read.value.question && domainOf(read.value.question.name)).toBe("www.example.com");
  });

  it("RFC 8484 §4.2.2: the response of its example", () => {
    const bytes = octets(`
      0000 8180 0001 0001 0000 0000 03 777777 07 6578616d706c65 03 636f6d 00 001c 0001
      c00c 001c 0001 00000e7d 0010 2001 0db8 abcd 0012 0001 0002 0003 0004`);
    expect(parseMessage(bytes)).toMatchObject({
      ok: true,
      value: { answers: [{ type: TYPE.AAAA, ttlS: 3709, dataBytes: 16 }] },
    });
  });

  it("DN-7: the OPT says what its sender takes", () => {
    const options = "000a 0008 0102030405060708";
    const one = message("0001 0000 0000 0001", QUESTION + opt({ flags: "00008000", options }), "0100");
    expect(parseMessage(one)).toMatchObject({
      ok: true,
      value: {
        edns: { sizeBytes: 1232, extendedRcode: 0, version: 0, isDnssecOk: true, options: octets(options) },
      },
    });
    const small = message("0001 0000 0000 0001", QUESTION + opt({ size: "01ff", flags: "01020000" }));
    expect(parseMessage(small)).toMatchObject({
      ok: true,
      value: { edns: { sizeBytes: 512, extendedRcode: 1, version: 2, isDnssecOk: false } },
    });
  });

  it("DN-6: a TTL with the top bit set is 0", () => {
    const ttls = ["7fffffff", "80000000"].map((ttl) => record("c00c", "0001", "c0000201", ttl));
    expect(parseMessage(answer(...ttls))).toMatchObject({
      ok: true,
      value: { answers: [{ ttlS: 0x7fffffff }, { ttlS: 0 }] },
    });
  });

  it("DN-8: what follows the last record does not belong to the message", () => {
    const whole = answer(record("c00c", "0001", "c0000201"));
    const read = parseMessage(concatBytes(whole, octets("dead beef")));
    expect(read.ok && read.value.bytes).toEqual(whole);
  });

  it.each([
    ["NS", record("c00c", "0002", "c00c")],
    ["CNAME", record("c00c", "0005", "01 61 c00c")],
    ["SOA", record("c00c", "0006", `c00c c00c ${"00".repeat(20)}`)],
    ["PTR", record("c00c", "000c", "c00c")],
    ["MX", record("c00c", "000f", "000a c00c")],
    ["TXT", record("c00c", "0010", "03 616263 00")],
    ["SRV", record("c00c", "0021", "0000 0000 0035 c00c")],
    ["DNAME", record("c00c", "0027", "c00c")],
  ])("DN-5: data of %s are complete and end where they should", (_, whole) => {
    expect(reasonOf(answer(whole))).toBe("well-formed");
    const [, length = "", data = ""] = /00000001 (\w{4}) (.*)$/.exec(whole) ?? [];
    const resized = (by: number, rest: string) =>
      whole.replace(
        `${length} ${data}`,
        `${(Number.parseInt(length, 16) + by).toString(16).padStart(4, "0")} ${rest}`,
      );
    expect(reasonOf(answer(resized(1, `${data} 07`)))).toBe("bad-data");
    // In other sections data are opaque.
    const additional = message("0001 0000 0000 0001", `${QUESTION} ${resized(1, `${data} 07`)}`);
    expect(reasonOf(additional)).toBe("well-formed");
  });

  const MALFORMED = {
    length: [octets("1a2b 8180 0001 0000 0000 00"), new Uint8Array(65_536)],
    "question-count": [message("0002 0000 0000 0000", `${QUESTION} ${QUESTION}`)],
    "bad-question": [
      // A pointer to itself (DN-3).
      octets("00 01 01 00 00 01 00 00 00 00 00 00 c0 0c 00 01 00 01"),
      message("0001 0000 0000 0000", `${EXAMPLE} 0001 00`),
      message("0001 0000 0000 0000", "40 0001 0001"),
    ],
    counts: [
      message("0001 ffff ffff ffff", QUESTION),
      message("0001 0001 0000 0000", `${QUESTION} ${"00".repeat(10)}`),
    ],
    "bad-name": [answer(`c0ff 0001 0001 00000001 0004 c0000201`)],
    "bad-record": [
      answer("c00c 0001 0001 00000001 0005 c0000201"),
      message("0001 0001 0000 0000", `${QUESTION} 01 61 00 0001 0001 00000001 00`),
    ],
    "bad-data": [
      answer(record("c00c", "0001", "c00002")),
      answer(record("c00c", "001c", "00".repeat(17))),
      answer(record("c00c", "0010", "")),
    ],
    "bad-edns": [
      message("0001 0000 0000 0002", QUESTION + opt() + opt()),
      message("0001 0001 0000 0000", QUESTION + opt()),
      message("0001 0000 0000 0001", QUESTION + opt({ owner: "01 61 00" })),
      message("0001 0000 0000 0001", QUESTION + opt({ options: "000a 0004 0102" })),
      message("0001 0000 0000 0001", QUESTION + opt({ options: "000a 00" })),
    ],
  } satisfies Record<MalformedDns, readonly Uint8Array[]>;

  it.each(Object.entries(MALFORMED))("DN-2 to DN-7: a message is malformed by its %s", (reason, messages) => {
    for (const bytes of messages) expect(reasonOf(bytes)).toBe(reason);
  });

  it("DN-4: a message cut off at any octet is malformed", () => {
    const whole = message(
      "0001 0001 0001 0001",
      `${QUESTION} ${record("c00c", "0001", "c0000201")} ${record("c00c", "0002", "c00c")} ${opt()}`,
    );
    expect(reasonOf(whole)).toBe("well-formed");
    for (let length = 0; length < whole.length; length++) {
      expect(reasonOf(whole.subarray(0, length))).not.toBe("well-formed");
    }
  });

  it("DN-4: any octets are read or refused, whatever their counts promise", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
        const read = parseMessage(bytes);
        if (read.ok) expect(read.value.bytes.length).toBeLessThanOrEqual(bytes.length);
      }),
    );
  });
});
