import { describe, expect, it, vi } from "vitest";
import { concatBytes, ip } from "../../../../src/base/index.ts";
import { type Asked, createQuestionStream } from "../../../../src/program/dns/index.ts";

const QUESTION = concatBytes(Uint8Array.of(0, 12), new Uint8Array(12).fill(7));
const ANSWER = new Uint8Array(20);

function open({ hasRoom = true, answersAtOnce = false } = {}) {
  const asked: Asked[] = [];
  const done: string[] = [];
  const way = { hasRoom, written: 0 };
  const stream = createQuestionStream(
    ip("100.64.0.9"),
    (one) => {
      asked.push(one);
      if (answersAtOnce) one.reply(ANSWER);
    },
    {
      write() {
        way.written++;
        return way.hasRoom;
      },
      ...{ pause: () => done.push("pause"), resume: () => done.push("resume"), end: () => done.push("end") },
      ...{ close: () => done.push("close"), abort: () => done.push("abort") },
    },
  );
  return { stream, asked, done, way };
}

const many = (count: number): Uint8Array => concatBytes(...Array.from({ length: count }, () => QUESTION));

describe("a connection that asks", () => {
  it("DN-90: 32 questions wait for answers, then reading stops until one is there", () => {
    const { stream, asked, done } = open();
    stream.data(many(31));
    expect(done.at(-1)).toBe("resume");
    stream.data(many(3));
    expect([asked.length, done.at(-1)]).toEqual([32, "pause"]);
    asked[0]?.reply(ANSWER);
    expect([asked.length, done.at(-1)]).toEqual([33, "pause"]);
    for (const one of asked.splice(1, 2)) one.reply(ANSWER);
    expect([asked.length + 2, done.at(-1)]).toEqual([34, "resume"]);
  });

  it("DN-90: who does not read answers is not read either, until there is room", () => {
    const { stream, asked, done, way } = open({ hasRoom: false, answersAtOnce: true });
    stream.data(many(3));
    expect([asked.length, done.at(-1)]).toEqual([1, "pause"]);
    way.hasRoom = true;
    stream.drained();
    expect([asked.length, way.written, done.at(-1)]).toEqual([3, 3, "resume"]);
  });

  it("DN-90: answers at once are no recursion", () => {
    const { stream, way } = open({ answersAtOnce: true });
    stream.data(many(50_000));
    expect(way.written).toBe(50_000);
  });

  it("DN-90: ends when all is answered, aborts what is no question, closes what is idle", () => {
    vi.useFakeTimers();
    try {
      const ended = open();
      ended.stream.data(QUESTION);
      ended.stream.ended();
      expect(ended.done).not.toContain("end");
      ended.asked[0]?.reply(ANSWER);
      expect(ended.done.at(-1)).toBe("end");
      const short = open();
      short.stream.data(Uint8Array.of(0, 11, 1));
      expect(short.done).toEqual(["abort"]);
      const idle = open();
      idle.stream.data(QUESTION.subarray(0, 5));
      vi.advanceTimersByTime(9_999);
      expect(idle.done).not.toContain("close");
      vi.advanceTimersByTime(1);
      expect(idle.done.at(-1)).toBe("close");
    } finally {
      vi.useRealTimers();
    }
  });
});
