/** A Duplex straight on a connection of the stack, on an engine that is none. */
import { describe, expect, it } from "vitest";
import { ip } from "../../../src/base/index.ts";
import { type TunnelSocket, toDuplex } from "../../../src/library/node/tunnel-socket.ts";
import type { TcpSocket } from "../../../src/program/userspace/index.ts";
import type { TcpHandle } from "../../../src/program/userspace/raw-tcp.ts";
import { createTcpSocket } from "../../../src/program/userspace/tcp-socket.ts";

interface World {
  readonly handle: TcpHandle;
  readonly socket: TcpSocket;
  /** What was taken out of the receive buffer. */
  readonly taken: number[];
  readonly sent: string[];
  readonly did: string[];
  /** So much more is accepted for sending. */
  room: number;
}

function openWorld(room = 1_000_000): World {
  const [taken, sent, did]: [number[], string[], string[]] = [[], [], []];
  const stack = {
    take: (_now: number, _id: number, octets: number) => taken.push(octets),
    send(_now: number, _id: number, bytes: Uint8Array) {
      const octets = Math.min(bytes.length, world.room);
      world.room -= octets;
      if (octets > 0) sent.push(Buffer.from(bytes.subarray(0, octets)).toString());
      return octets;
    },
    end: () => did.push("end"),
    abort: () => did.push("abort"),
    keepAlive: (_now: number, _id: number, ms: number | undefined) => did.push(`keep-alive ${ms}`),
  };
  const withStack = (use: (...given: never[]) => unknown): unknown => use(stack as never, 0 as never);
  const at = { address: ip("10.0.0.1"), port: 80 };
  const engine = { withStack: withStack as never };
  const world: World = {
    ...createTcpSocket({ engine, id: 1, local: at, remote: at }),
    taken,
    sent,
    did,
    room,
  };
  return world;
}

async function openDuplex(world: World): Promise<TunnelSocket> {
  const duplex = toDuplex(world.socket);
  await new Promise((resolve) => duplex.once("connect", resolve));
  return duplex;
}

const behind = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("a Duplex over a connection of the stack", () => {
  it("PG-125: hands over what has come in one turn at once, behind the turn", async () => {
    const world = openWorld();
    const duplex = await openDuplex(world);
    const heard: number[] = [];
    duplex.on("data", (bytes: Buffer) => heard.push(bytes.length));
    await behind();
    for (let i = 0; i < 3; i++) world.handle.data(new Uint8Array(20_000));
    expect(heard).toEqual([]);
    await behind();
    expect([heard, world.taken]).toEqual([[60_000], [60_000]]);
  });

  it("PG-125: takes no more than its reader wants, which closes the receive window", async () => {
    const world = openWorld();
    const duplex = await openDuplex(world);
    duplex.read(0);
    for (let i = 0; i < 100; i++) {
      world.handle.data(new Uint8Array(60_000));
      await behind();
    }
    const taken = world.taken.reduce((sum, octets) => sum + octets, 0);
    expect(taken).toBeLessThanOrEqual(duplex.readableHighWaterMark + 0x10000);
    let read = 0;
    for (let bytes = duplex.read(); bytes !== null; bytes = duplex.read()) {
      read += bytes.length;
      await behind();
    }
    expect(read).toBe(6_000_000);
  });

  it("PG-125: a write is done when all of it is in the send buffer, and never within a turn", async () => {
    const world = openWorld(3);
    const duplex = await openDuplex(world);
    const chunk = Buffer.from("request");
    let isDone = false;
    duplex.write(chunk, () => {
      isDone = true;
    });
    await behind();
    chunk.fill(0);
    expect([world.sent, isDone]).toEqual([["req"], false]);
    world.room = 100;
    world.handle.writable();
    expect(isDone).toBe(false);
    await behind();
    expect([world.sent, isDone]).toEqual([["req", "uest"], true]);
    duplex.end();
    await behind();
    expect(world.did).toEqual(["end"]);
  });

  it("PG-121: both ends close it, and nothing is reset", async () => {
    const world = openWorld();
    const duplex = await openDuplex(world);
    const closed = new Promise((resolve) => duplex.once("close", resolve));
    duplex.resume();
    world.handle.ended();
    await behind();
    world.handle.closed("done");
    await closed;
    expect([world.did, duplex.errored]).toEqual([["end"], null]);
  });

  it("PG-121: a reset is an error for who reads, behind what has come before it", async () => {
    const world = openWorld();
    const duplex = await openDuplex(world);
    let heard = "";
    duplex.on("data", (bytes) => {
      heard += bytes;
    });
    await behind();
    const failed = new Promise((resolve) => duplex.once("error", resolve));
    world.handle.data(Buffer.from("last words"));
    world.handle.closed("reset");
    expect(await failed).toMatchObject({ code: "reset" });
    expect(heard).toBe("last words");
  });

  it("PG-121: whoever neither reads nor writes is not told of a reset before it does", async () => {
    const world = openWorld();
    const duplex = await openDuplex(world);
    world.handle.closed("reset");
    await behind();
    expect(duplex.destroyed).toBe(false);
    const failed = new Promise((resolve) => duplex.once("error", resolve));
    duplex.read(0);
    expect(await failed).toMatchObject({ code: "reset" });
  });

  it("PG-121: a write that waits for room fails with the connection", async () => {
    const world = openWorld(0);
    const duplex = await openDuplex(world);
    const failed = new Promise((resolve) => duplex.once("error", resolve));
    duplex.write("request");
    world.handle.closed("timeout");
    expect(await failed).toMatchObject({ code: "timeout" });
  });

  it("PG-121: the streams of its socket are locked; where they were in use before, it goes on with them", async () => {
    const world = openWorld();
    await openDuplex(world);
    expect([world.socket.readable.locked, world.socket.writable.locked]).toEqual([true, true]);
    const used = openWorld();
    const reader = used.socket.readable.getReader();
    used.handle.data(Buffer.from("first"));
    expect((await reader.read()).value).toHaveLength(5);
    reader.releaseLock();
    const duplex = await openDuplex(used);
    const next = new Promise((resolve) => duplex.once("data", resolve));
    used.handle.data(Buffer.from("second"));
    expect(String(await next)).toBe("second");
    duplex.end("answer");
    await behind();
    expect([used.sent, used.did]).toEqual([["answer"], ["end"]]);
  });

  it("PG-121: agents may say again and again for how long it is kept", async () => {
    const world = openWorld();
    const duplex = await openDuplex(world);
    for (const ms of [1_000, 1_000, 2_000]) duplex.setKeepAlive(true, ms);
    duplex.setKeepAlive(false);
    expect(world.did).toEqual(["keep-alive 1000", "keep-alive 2000", "keep-alive undefined"]);
  });
});
