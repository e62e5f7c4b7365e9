import { describe, expect, it } from "vitest";
import { formatIp, fromHex, toHex } from "../../../src/base/index.ts";
import {
  type AddressQuestion,
  encodeQuery,
  type Name,
  parseResponse,
  TYPE,
  toName,
} from "../../../src/dns/index.ts";

const EXAMPLE = nameOf("Example.com");
const QUESTION: AddressQuestion = { id: 0x1a2b, name: EXAMPLE, type: TYPE.A };
/** Header of an answer with `answers` records, and the question. */
const head = (answers: string, flags = "8180", id = "1a2b"): string =>
  `${id} ${flags} 0001 ${answers} 0000 0000 07 6578616d706c65 03 636f6d 00 0001 0001`;
const record = (owner: string, type: string, data: string): string =>
  `${owner} ${type} 0001 00000001 ${(fromHex(data)?.length ?? 0).toString(16).padStart(4, "0")} ${data}`;

function nameOf(text: string): Name {
  const name = toName(text);
  if (name === undefined) throw new Error(`${text} is a name`);
  return name;
}

function bytesOf(text: string): Uint8Array {
  const bytes = fromHex(text);
  if (bytes === undefined) throw new Error(`${text} is hexadecimal`);
  return bytes;
}

const parse = (text: string) => parseResponse(bytesOf(text), QUESTION);

function addresses(text: string): readonly string[] {
  const response = parse(text);
  return response.ok ? response.value.addresses.map(formatIp) : [response.reason];
}

describe("questions and answers", () => {
  it("RFC 1035 §4: a question is a header, a name, type and class", () => {
    expect(toHex(encodeQuery(QUESTION))).toBe(
      "1a2b01000001000000000000" + "074578616d706c6503636f6d00" + "00010001",
    );
  });

  it("DN-1, DN-3: addresses are read whatever the case of the name, also behind pointers", () => {
    const two = [record("c00c", "0001", "64600001"), record("c00c", "0001", "64600004")];
    expect(addresses(`${head("0002")} ${two.join(" ")}`)).toEqual(["100.96.0.1", "100.96.0.4"]);
  });

  it("an alias is followed, in whatever order the records come, and ends even if it goes round", () => {
    // `a.example.com`, with its ending as a pointer to the question's name.
    const alias = "01 61 c00c";
    const records = [record(alias, "0001", "c0000201"), record("c00c", "0005", alias)];
    expect(addresses(`${head("0002")} ${records.join(" ")}`)).toEqual(["192.0.2.1"]);
    expect(addresses(`${head("0001")} ${record("c00c", "0005", "c00c")}`)).toEqual([]);
  });

  it("DN-89, RFC 2308 §5: how long there is nothing says the smaller of the SOA's TTL and its minimum", () => {
    const soa = (ttl: string, minimum: string, owner = "c00c") =>
      `${owner} 0006 0001 ${ttl} 0018 c00c c00c 00000001 00000002 00000003 00000004 ${minimum}`;
    const nothing = (authority: string, counts = "0000 0001 0000") =>
      parse(`1a2b 8183 0001 ${counts} 07 6578616d706c65 03 636f6d 00 0001 0001 ${authority}`);
    const value = (negativeTtlS: number) => ({ ok: true, value: { rcode: 3, negativeTtlS } });
    expect(nothing(soa("00000014", "0000000a"))).toMatchObject(value(10));
    expect(nothing(soa("00000005", "0000000a"))).toMatchObject(value(5));
    expect(nothing(soa("80000000", "0000000a"))).toMatchObject(value(0));
    // Not from another section, nor out of one that is too short.
    expect(nothing(soa("00000014", "0000000a"), "0000 0000 0001")).not.toHaveProperty("value.negativeTtlS");
    expect(nothing("c00c 0006 0001 00000014 0004 00000001")).not.toHaveProperty("value.negativeTtlS");
  });

  it("addresses of other names and other types are not the answer", () => {
    const foreign = [record("03 666f6f 00", "0001", "c0000201"), record("c00c", "0010", "03616263")];
    expect(addresses(`${head("0002")} ${foreign.join(" ")}`)).toEqual([]);
  });

  it("a truncated answer says so, and a refusal needs no question", () => {
    expect(parse(head("0000", "8380"))).toMatchObject({ ok: true, value: { isTruncated: true } });
    expect(parse("1a2b 8185 0000 0000 0000 0000")).toMatchObject({ ok: true, value: { rcode: 5 } });
  });

  it.each([
    ["length", "1a2b 8180 0001"],
    ["not-a-response", head("0000", "0100")],
    ["not-a-response", head("0000", "a080")],
    ["other-id", head("0000", "8180", "1a2c")],
    ["other-question", "1a2b 8180 0000 0000 0000 0000"],
    ["other-question", "1a2b 8180 0001 0000 0000 0000 03 666f6f 00 0001 0001"],
    ["other-question", head("0000").replace(/0001 0001$/, "001c 0001")],
    ["bad-data", `${head("0001")} ${record("c00c", "0001", "646000")}`],
  ])("DN-14: what is no answer is %s", (reason, datagram) => {
    expect(parse(datagram)).toEqual({ ok: false, reason });
  });

  it("DN-2: names have labels of 1 to 63 octets and 255 octets at most", () => {
    expect(toName("a".repeat(63))?.wire).toHaveLength(65);
    expect(toName("a".repeat(64))).toBeUndefined();
    expect(toName("a..b")).toBeUndefined();
    expect(toName("")).toBeUndefined();
    const long = ["a".repeat(63), "a".repeat(63), "a".repeat(63), "a".repeat(61)].join(".");
    expect(toName(long)?.wire).toHaveLength(255);
    expect(toName(`${long}a`)).toBeUndefined();
    expect(toName("example.com.")?.key).toBe(nameOf("EXAMPLE.com").key);
  });
});
