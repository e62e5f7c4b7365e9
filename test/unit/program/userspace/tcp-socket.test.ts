/** A connection of the stack as web streams, on an engine that is none. */
import { describe, expect, it } from "vitest";
import { ip } from "../../../../src/base/index.ts";
import type { Engine } from "../../../../src/program/userspace/engine.ts";
import type { TcpHandle } from "../../../../src/program/userspace/raw-tcp.ts";
import { createTcpSocket } from "../../../../src/program/userspace/tcp-socket.ts";

interface World extends TcpHandle {
  readonly reader: ReadableStreamDefaultReader<Uint8Array>;
  /** What was taken out of the receive buffer. */
  readonly taken: number[];
}

function openSocket(): World {
  const taken: number[] = [];
  const stack = { take: (_now: unknown, _id: number, octets: number) => taken.push(octets) };
  const withStack = ((use: (stack: unknown, now: number) => unknown) => use(stack, 0)) as Engine["withStack"];
  const at = { address: ip("10.0.0.1"), port: 80 };
  const { socket, handle } = createTcpSocket({ engine: { withStack }, id: 1, local: at, remote: at });
  return { ...handle, taken, reader: socket.readable.getReader() };
}

const octets = (length: number): Uint8Array => new Uint8Array(length).fill(length % 251);

describe("octets of a connection", () => {
  it("PG-125: who waits gets what has come in one turn at once", async () => {
    const { reader, data, taken } = openSocket();
    const read = reader.read();
    await Promise.resolve();
    for (let i = 0; i < 3; i++) data(octets(20_000));
    const { value } = await read;
    expect(value).toHaveLength(60_000);
    expect(value?.buffer.byteLength).toBe(0x10000);
    expect(taken).toEqual([60_000]);
  });

  it("PG-125: the end in the turn of the last octets is behind them", async () => {
    const { reader, data, ended } = openSocket();
    const read = reader.read();
    await Promise.resolve();
    data(octets(100));
    ended();
    expect(await read).toMatchObject({ done: false, value: octets(100) });
    expect((await reader.read()).done).toBe(true);
  });

  it("PG-125: so is a reset, where somebody waits for them; what nobody waits for is gone with it", async () => {
    const waiting = openSocket();
    const read = waiting.reader.read();
    await Promise.resolve();
    waiting.data(octets(100));
    waiting.closed("reset");
    expect(await read).toMatchObject({ done: false, value: octets(100) });
    await expect(waiting.reader.read()).rejects.toMatchObject({ code: "reset" });
    const idle = openSocket();
    idle.data(octets(100));
    idle.closed("reset");
    await expect(idle.reader.read()).rejects.toMatchObject({ code: "reset" });
  });
});
