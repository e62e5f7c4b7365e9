import { describe, expect, it } from "vitest";
import { append, copyTo, createSendQueue, release, type SendQueue } from "../../../src/tcp/send-queue.ts";

const octets = (length: number, value: number): Uint8Array => new Uint8Array(length).fill(value);

function read(queue: SendQueue, from: number, length: number): number[] {
  const into = new Uint8Array(length);
  copyTo(queue, from, length, into, 0);
  return [...into];
}

describe("what the application has given and the peer has not acknowledged (PG-126)", () => {
  it("PG-126: a small write that nothing waits before is a piece as it is, without a copy", () => {
    const queue = createSendQueue();
    const request = octets(100, 1);
    append(queue, request);
    expect(queue.pieces[0]?.bytes).toBe(request);
    release(queue, 100);
    const next = octets(100, 2);
    append(queue, next);
    expect(queue.pieces.map(({ bytes }) => bytes)).toEqual([next]);
    expect(queue.pieces[0]?.bytes).toBe(next);
    expect(read(queue, 100, 100)).toEqual([...next]);
  });

  it("PG-126: single octets behind others lie together, and the first one's memory stays its owner's", () => {
    const queue = createSendQueue();
    const first = octets(1, 1);
    append(queue, first);
    for (let i = 2; i <= 200; i++) append(queue, octets(1, i));
    expect(queue.pieces).toHaveLength(2);
    expect(first).toEqual(octets(1, 1));
    expect(read(queue, 0, 200)).toEqual(Array.from({ length: 200 }, (_, i) => i + 1));
    expect(read(queue, 150, 20)).toEqual(Array.from({ length: 20 }, (_, i) => i + 151));
  });
});
