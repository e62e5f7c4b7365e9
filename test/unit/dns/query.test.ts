import { describe, expect, it } from "vitest";
import { ip, toHex } from "../../../src/base/index.ts";
import {
  checkQuery,
  checkResponse,
  encodeForwarded,
  encodeLocal,
  encodeReturned,
  fitAnswer,
  type Query,
  type QueryFault,
  RCODE,
  TYPE,
  udpLimitOf,
} from "../../../src/dns/index.ts";
import { EXAMPLE, message, octets, opt, record } from "./octets.ts";

const MIXED = "07 4578616d706c65 03 636f6d 00 0001 0001";
const QUERY = message("0001 0000 0000 0001", MIXED + opt(), "0100");

function queryOf(bytes: Uint8Array): Query {
  const check = checkQuery(bytes);
  if (check.kind !== "query") throw new Error(`a query, not ${check.counter}`);
  return check.query;
}

describe("queries", () => {
  it("DN-9 to DN-11: the worked example, octet by octet", () => {
    const addresses = ["100.96.0.1", "100.96.0.2", "100.96.0.3", "100.96.0.4"];
    const records = addresses.map((address) => ({ type: TYPE.A, data: ip(address) }));
    const answer = encodeLocal(queryOf(QUERY), { rcode: RCODE.noError, records });
    expect(QUERY).toHaveLength(40);
    expect(answer).toHaveLength(104);
    const lines = ["01", "02", "03", "04"].map((last) => `c00c 0001 0001 00000001 0004 646000${last}`);
    expect(toHex(answer)).toBe(
      toHex(octets(`1a2b 8180 0001 0004 0000 0001 ${MIXED} ${lines.join("")} 000029 04d0 00000000 0000`)),
    );
  });

  it("DN-9: no data, for a query without OPT", () => {
    const https = octets(`0042 0100 0001 0000 0000 0000 ${EXAMPLE} 0041 0001`);
    expect(toHex(encodeLocal(queryOf(https), { rcode: RCODE.noError }))).toBe(
      toHex(octets("00428180000100000000000007 6578616d706c65 03 636f6d 00 0041 0001")),
    );
  });

  it("DN-10, DN-11: RD, CD and DO are the query's; a failure says why to those who take EDNS", () => {
    const asked = message(
      "0001 0000 0000 0001",
      MIXED + opt({ flags: "00008000", options: "000a 0002 0102" }),
      "0030",
    );
    const answer = encodeLocal(queryOf(asked), { rcode: RCODE.servFail, extendedError: "deadline" });
    expect(toHex(answer)).toBe(
      toHex(octets(`1a2b 8092 0001 0000 0000 0001 ${MIXED} 00 0029 04d0 00008000 0006 000f 0002 0016`)),
    );
    const plain = message("0001 0000 0000 0000", MIXED, "0100");
    const short = encodeLocal(queryOf(plain), { rcode: RCODE.servFail, extendedError: "deadline" });
    expect(toHex(short)).toBe(toHex(octets(`1a2b 8182 0001 0000 0000 0000 ${MIXED}`)));
  });

  const FAULTS: Readonly<Record<QueryFault, ReadonlyArray<readonly [Uint8Array, string | undefined]>>> = {
    dns_drop_not_query: [
      [octets("1a2b 0100 0001 0000 0000 00"), undefined],
      [message("0001 0000 0000 0000", MIXED, "8100"), undefined],
    ],
    dns_notimp: [[message("0001 0000 0000 0000", MIXED, "2800"), "1a2b a884 0000 0000 0000 0000"]],
    dns_formerr: [
      [message("0000 0000 0000 0000", "", "0100"), "1a2b 8181 0000 0000 0000 0000"],
      [message("0002 0000 0000 0000", MIXED + MIXED, "0100"), "1a2b 8181 0000 0000 0000 0000"],
      [message("0001 0000 0000 0000", "c00c 0001 0001", "0100"), "1a2b 8181 0000 0000 0000 0000"],
      [
        message("0001 0000 0000 0002", MIXED + opt() + opt(), "0100"),
        `1a2b 8181 0001 0000 0000 0000 ${MIXED}`,
      ],
      [message("0001 ffff 0000 0000", MIXED, "0100"), `1a2b 8181 0001 0000 0000 0000 ${MIXED}`],
    ],
    dns_badvers: [
      [
        message("0001 0000 0000 0001", MIXED + opt({ flags: "00010000" }), "0100"),
        `1a2b 8180 0001 0000 0000 0001 ${MIXED} 00 0029 04d0 01000000 0000`,
      ],
    ],
    dns_refused: [251, 252, 253, 254].map((type) => {
      const question = `${EXAMPLE} 00${type.toString(16)} 0001`;
      return [
        message("0001 0000 0000 0000", question, "0100"),
        `1a2b 8185 0001 0000 0000 0000 ${question}`,
      ] as const;
    }),
  };

  it.each(Object.entries(FAULTS))("DN-15: what is no query for us, as %s", (counter, examples) => {
    for (const [bytes, answer] of examples) {
      const check = checkQuery(bytes);
      if (check.kind === "query") throw new Error("no query");
      expect(check.counter).toBe(counter);
      expect(check.kind === "answer" ? toHex(check.answer) : undefined).toBe(answer && toHex(octets(answer)));
    }
  });
});

describe("limits", () => {
  it("DN-12: over UDP 512 octets without EDNS, else what the asker takes, up to 1,232", () => {
    const limit = (size?: string) =>
      udpLimitOf(
        queryOf(message(`0001 0000 0000 000${size ? 1 : 0}`, MIXED + (size ? opt({ size }) : ""), "0100")),
      );
    expect([limit(), limit("0100"), limit("0201"), limit("04d0"), limit("04d1"), limit("ffff")]).toEqual([
      512, 512, 513, 1232, 1232, 1232,
    ]);
  });

  it("DN-12: an answer that is too long becomes TC, question and OPT", () => {
    const query = queryOf(QUERY);
    const long = encodeLocal(query, { rcode: 0, records: [{ type: TYPE.TXT, data: new Uint8Array(600) }] });
    expect(fitAnswer(query, long, long.length)).toBe(long);
    expect(toHex(fitAnswer(query, long, long.length - 1))).toBe(
      toHex(octets(`1a2b 8380 0001 0000 0000 0001 ${MIXED} 000029 04d0 00000000 0000`)),
    );
  });

  it("DN-12: the longest local answer has 458 octets", () => {
    const name = `3f${"61".repeat(63)}`.repeat(3);
    const query = queryOf(
      message("0001 0000 0000 0001", `${name}3d${"61".repeat(61)}00 00ff 0001 ${opt()}`, "0100"),
    );
    const four = (type: number, bytes: number) =>
      Array.from({ length: 4 }, () => ({ type, data: new Uint8Array(bytes) }));
    const answer = encodeLocal(query, { rcode: 0, records: [...four(TYPE.A, 4), ...four(TYPE.AAAA, 16)] });
    expect(answer).toHaveLength(458);
  });
});

describe("forwarding", () => {
  it("DN-13: only the ID changes, and a size that we cannot carry", () => {
    const same = encodeForwarded(queryOf(QUERY), 0xbeef);
    expect(toHex(same)).toBe(`beef${toHex(QUERY).slice(4)}`);
    const big = message("0001 0000 0000 0001", MIXED + opt({ size: "1000" }), "0100");
    expect(toHex(encodeForwarded(queryOf(big), 0xbeef))).toBe(toHex(same));
  });

  it.each([
    ["TSIG", `00 00fa 00ff 00000000 0000`, "1000"],
    ["SIG(0)", `00 0018 00ff 00000000 0002 0000`, "1000"],
    ["a SIG that covers a type", `00 0018 00ff 00000000 0002 0001`, "04d0"],
  ])("DN-13: behind %s the size is that of the query or ours", (_, signature, size) => {
    const query = message("0001 0000 0000 0002", MIXED + opt({ size: "1000" }) + signature, "0100");
    const sizeAt = 12 + 17 + 3;
    expect(toHex(encodeForwarded(queryOf(query), 1).subarray(sizeAt, sizeAt + 2))).toBe(size);
  });

  it("DN-8: what follows the query is not forwarded", () => {
    const query = queryOf(octets(`${toHex(QUERY)} dead`));
    expect(encodeForwarded(query, 0x1a2b)).toEqual(QUERY);
  });

  const query = queryOf(QUERY);
  const check = (bytes: Uint8Array) => {
    const response = checkResponse(bytes, query, 0x1a2b);
    return response.ok ? "accepted" : response.reason;
  };

  it.each([
    ["accepted", message("0001 0001 0000 0000", `${MIXED} ${record("c00c", "0001", "c0000201")}`)],
    ["accepted", message("0001 0000 0000 0000", `${EXAMPLE} 0001 0001`)],
    ["accepted", message("0000 0000 0000 0000", "", "8182")],
    ["other-question", message("0000 0000 0000 0000", "", "8180")],
    ["other-question", message("0000 0000 0000 0000", "", "8183")],
    ["other-question", message("0001 0000 0000 0000", `${EXAMPLE} 001c 0001`)],
    ["other-question", message("0001 0000 0000 0000", `${EXAMPLE} 0001 0003`)],
    ["other-question", message("0001 0000 0000 0000", "00 0001 0001")],
    ["other-id", message("0001 0000 0000 0000", MIXED, "8180", "1a2c")],
    ["not-a-response", message("0001 0000 0000 0000", MIXED, "0100")],
    ["not-a-response", message("0001 0000 0000 0000", MIXED, "a180")],
    ["question-count", message("0002 0000 0000 0000", MIXED + MIXED)],
  ])("DN-14: a response is %s", (verdict, bytes) => {
    expect(check(bytes)).toBe(verdict);
  });

  it("DN-13, DN-14: the asker gets its ID back, and its question where the server left it out", () => {
    const asked = queryOf(message("0001 0000 0000 0001", MIXED + opt(), "0100", "4242"));
    const give = (bytes: Uint8Array) => {
      const response = checkResponse(bytes, asked, 0x1a2b);
      return response.ok ? toHex(encodeReturned(response.value, asked)) : response.reason;
    };
    const whole = message("0001 0001 0000 0000", `${MIXED} ${record("c00c", "0001", "c0000201")}`);
    expect(give(whole)).toBe(`4242${toHex(whole).slice(4)}`);
    const bare = message("0000 0000 0000 0001", opt({ options: "000f 0002 0016" }), "8185");
    expect(give(bare)).toBe(
      toHex(octets(`4242 8185 0001 0000 0000 0001 ${MIXED} ${opt({ options: "000f 0002 0016" })}`)),
    );
  });
});
