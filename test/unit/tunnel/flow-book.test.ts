/** What control remembers of its flows where the plane's table is full (TN-80, TN-90). */
import { expect, it } from "vitest";
import { createSeededRandom, ip } from "../../../src/base/index.ts";
import type { FlowRecord } from "../../../src/plane/index.ts";
import { createFlowBook } from "../../../src/tunnel/flow-book.ts";
import { NOW, testPlane } from "../plane/pair.ts";

const CLIENT = ip("100.64.0.2");
const REMOTE = ip("198.51.100.7");

function recordOf(port: number): FlowRecord {
  const ends = { client: { address: CLIENT, port }, remote: { address: REMOTE, port: 443 } };
  return { protocol: 6, ...ends, out: "prohibited", slot: 1 };
}

it("TN-80: a displaced flow is told as what it was, though another has its id by then", () => {
  const plane = testPlane({ mode: "gateway", flows: { random: createSeededRandom(1), capacity: 1 } });
  const book = createFlowBook<string>(plane.flows);
  const [first, second, third] = ["first", "second", "third"].map((note, i) =>
    book.link(NOW, { owner: "c", record: recordOf(i + 1), note }),
  );
  expect(new Set([first?.id, second?.id, third?.id]).size).toBe(1);
  expect(book.size()).toBe(1);
  const find = (port: number) =>
    book.find("out", {
      ...{ protocol: 6, source: CLIENT, destination: REMOTE },
      ports: { source: port, destination: 443 },
    })?.note;
  expect([find(1), find(2), find(3)]).toEqual([undefined, undefined, "third"]);
  expect(first && book.usage(first)).toBeUndefined();
  const at = book.pollTimeout() ?? NOW;
  const ended = book.sweep(at).map(({ note, ending }) => [note, ending]);
  expect(ended).toEqual([
    ["first", "displaced"],
    ["second", "displaced"],
  ]);
  expect(find(3)).toBe("third");
  expect(book.newest(10).map(({ note }) => note)).toEqual(["third"]);
});
