import { describe, expect, it } from "vitest";
import { createLineReader, LINE_BYTES_MAX, readRequest } from "../../../../src/program/control/index.ts";
import fc from "../../../lib/property.ts";

const utf8 = new TextEncoder();

function readAll(...chunks: readonly (string | Uint8Array)[]) {
  const reader = createLineReader();
  return chunks.flatMap((chunk) => reader.push(typeof chunk === "string" ? utf8.encode(chunk) : chunk));
}

const BAD = {
  "no JSON": "hello",
  "no object": "[1]",
  "no method": '{"id":1}',
  "a method that is no text": '{"id":1,"method":7}',
  "no id": '{"method":"status"}',
  "an id that is no number": '{"id":"1","method":"status"}',
  "an id beyond what a number holds": '{"id":1e300,"method":"status"}',
  "parameters that are no object": '{"id":1,"method":"status","params":[]}',
  "nesting beyond all need": `{"id":1,"method":"status","params":{"a":${"[".repeat(100)}${"]".repeat(100)}}}`,
  "a method longer than any": `{"id":1,"method":"${"x".repeat(65)}"}`,
};

describe("requests of the control socket", () => {
  it("PG-108: a request has a number, a method and parameters, or none", () => {
    expect(readRequest('{"id":7,"method":"status"}')).toEqual({
      kind: "request",
      request: { id: 7, method: "status", params: {} },
    });
    expect(readRequest('{"id":8,"method":"reset","params":{"reason":"x"}}')).toEqual({
      kind: "request",
      request: { id: 8, method: "reset", params: { reason: "x" } },
    });
  });

  it.each(Object.entries(BAD))("PG-108: %s is a bad request, and never an exception", (_, line) => {
    expect(readRequest(line).kind).toBe("bad");
  });

  it("PG-108: a bad request keeps its number where that can be read", () => {
    expect(readRequest('{"id":3}')).toMatchObject({ kind: "bad", id: 3 });
    expect(readRequest("hello")).toMatchObject({ kind: "bad", id: null });
  });

  it("PG-107: lines come whole, however the bytes are cut", () => {
    const text = '{"id":1,"method":"ä"}\n\n{"id":2,"method":"b"}\n{"id":3';
    const bytes = utf8.encode(text);
    const whole = readAll(bytes);
    expect(whole.map((line) => (line.kind === "request" ? line.request.method : line.kind))).toEqual([
      "ä",
      "b",
    ]);
    for (let size = 1; size < bytes.length; size++) {
      const chunks: Uint8Array[] = [];
      for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.subarray(at, at + size));
      expect(readAll(...chunks)).toEqual(whole);
    }
  });

  it("PG-107: a line of 64 KiB is read, one byte more ends the connection, in one piece or many", () => {
    const line = (bytes: number): string => `{"id":1,"method":"m"}${" ".repeat(bytes - 21)}`;
    expect(readAll(`${line(LINE_BYTES_MAX)}\n`)[0]?.kind).toBe("request");
    expect(readAll(`${line(LINE_BYTES_MAX + 1)}\n{"id":2,"method":"m"}\n`)).toEqual([{ kind: "too-long" }]);
    const pieces = Array.from({ length: 65 }, () => new Uint8Array(1024).fill(0x20));
    expect(readAll(...pieces)).toEqual([{ kind: "too-long" }]);
  });

  it("PG-107: bytes that are no UTF-8 are a bad request, and what follows is read", () => {
    const lines = readAll(new Uint8Array([0xff, 0xfe, 0x0a]), '{"id":2,"method":"b"}\n');
    expect(lines.map(({ kind }) => kind)).toEqual(["bad", "request"]);
  });

  it("PG-108: whatever comes in, every line is a request, a bad one or the end", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 20 }), (chunks) => {
        for (const line of readAll(...chunks)) expect(["request", "bad"]).toContain(line.kind);
      }),
    );
  });
});
