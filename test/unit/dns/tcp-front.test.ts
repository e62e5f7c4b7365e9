import { describe, expect, it } from "vitest";
import { concatBytes, createSeededRandom, ip, type SocketAddress, toHex } from "../../../src/base/index.ts";
import { encodeQuery, parseMessage, RCODE, TYPE } from "../../../src/dns/index.ts";
import { createTcpHost, type TcpEvent } from "../../../src/tcp/index.ts";
import { nextTurn } from "../../lib/bounds.ts";
import { message, nameOf, octets, record } from "./octets.ts";
import { createWorld, OWN, responseTo, SENTINEL } from "./resolver-world.ts";

type World = ReturnType<typeof createWorld>;
const framed = (bytes: Uint8Array) =>
  concatBytes(Uint8Array.of(bytes.length >> 8, bytes.length & 0xff), bytes);
const query = (name: string, type: number = TYPE.A, id = 1) =>
  framed(encodeQuery({ id, name: nameOf(name), type }));

/** Programs of the host that speak TCP with sentinels; packets go at once. */
function createAsker(world: World) {
  const host = createTcpHost({ random: createSeededRandom(5), admit: () => "refuse" });
  const received = new Map<number, Uint8Array>();
  const ends = new Map<number, string>();

  function note(event: TcpEvent): void {
    if (event.kind === "data") {
      received.set(event.id, concatBytes(received.get(event.id) ?? new Uint8Array(0), event.bytes));
      host.take(world.now(), event.id, event.bytes.length);
    }
    if (event.kind === "ended" || event.kind === "closed") {
      ends.set(event.id, event.kind === "ended" ? "ended" : event.reason);
    }
  }

  function pump(): void {
    for (let turns = 0; ; turns = nextTurn(turns, "packets of a program")) {
      const out = host.pollPacket();
      const back = out === undefined ? world.give(new Uint8Array(0)) : world.give(out);
      for (const packet of back) host.handlePacket(world.now(), packet);
      for (let event = host.pollEvent(); event !== undefined; event = host.pollEvent()) note(event);
      if (out === undefined && back.length === 0) return;
    }
  }

  return {
    host,
    ends,
    pump,
    connect(to: SocketAddress = { address: SENTINEL, port: 53 }, port = 40_000): number {
      const id = host.connect(world.now(), { address: OWN.v4, port }, to);
      if (id === undefined) throw new Error("no room for a connection");
      pump();
      return id;
    },
    send(id: number, bytes: Uint8Array): void {
      host.send(world.now(), id, bytes);
      pump();
    },
    /** The messages that came, as `ID code records`. */
    answers(id: number): string[] {
      let rest = received.get(id) ?? new Uint8Array(0);
      const told: string[] = [];
      while (rest.length >= 2) {
        const length = ((rest[0] ?? 0) << 8) | (rest[1] ?? 0);
        const read = parseMessage(rest.subarray(2, 2 + length));
        if (read.ok)
          told.push(`${read.value.header.id} ${read.value.header.rcode} ${read.value.answers.length}`);
        rest = rest.subarray(2 + length);
      }
      return told;
    },
  };
}

describe("queries over TCP", () => {
  it("DN-90: names of resources are answered, several in one segment and one in several", () => {
    const asker = createAsker(createWorld());
    const id = asker.connect();
    asker.send(id, concatBytes(query("wiki.corp", TYPE.A, 1), query("wiki.corp", TYPE.ANY, 2)));
    expect(asker.answers(id)).toEqual(["1 0 4", "2 0 8"]);
    for (const octet of query("wiki.corp", TYPE.HTTPS, 3)) asker.send(id, Uint8Array.of(octet));
    expect(asker.answers(id)).toEqual(["1 0 4", "2 0 8", "3 0 0"]);
  });

  it("DN-65, DN-90: others go on over TCP, and answers come as they come, told apart by our own token", () => {
    const world = createWorld();
    const asker = createAsker(world);
    const id = asker.connect();
    asker.send(id, concatBytes(query("a.example", TYPE.TXT, 7), query("b.example", TYPE.TXT, 7)));
    const [first, second] = world.sent();
    if (first === undefined || second === undefined) throw new Error("two queries");
    expect([first.transport, second.transport]).toEqual(["tcp", "tcp"]);
    const long = record("c00c", "0010", `${`ff${"61".repeat(255)}`.repeat(200)}`);
    world.replyLater(second, responseTo(second, long));
    asker.pump();
    expect(asker.answers(id)).toEqual(["7 0 1"]);
    world.replyLater(first, octets("00"));
    asker.pump();
    expect(asker.answers(id)).toEqual(["7 0 1", `7 ${RCODE.servFail} 0`]);
  });

  it("DN-64: at the deadline a TCP asker is told", () => {
    const world = createWorld();
    const asker = createAsker(world);
    const id = asker.connect();
    asker.send(id, query("a.example"));
    for (const packet of world.passTime(5_000)) asker.host.handlePacket(world.now(), packet);
    asker.pump();
    expect(asker.answers(id)).toEqual([`1 ${RCODE.servFail} 0`]);
  });

  it.each([
    ["a length below 12", octets("000b 00")],
    ["an answer", framed(message("0001 0000 0000 0000", "00 0001 0001", "8100"))],
  ])("DN-90: %s aborts the connection", (_, bytes) => {
    const asker = createAsker(createWorld());
    const id = asker.connect();
    asker.send(id, bytes);
    expect(asker.ends.get(id)).toBe("reset");
  });

  it("DN-15: what is malformed otherwise is answered", () => {
    const asker = createAsker(createWorld());
    const id = asker.connect();
    asker.send(id, framed(message("0002 0000 0000 0000", "00 0001 0001", "0100")));
    expect(asker.answers(id)).toEqual([`${0x1a2b} ${RCODE.formErr} 0`]);
  });

  it("DN-90: 32 may wait for their answers; the next are read as those are given", () => {
    const world = createWorld();
    const asker = createAsker(world);
    const id = asker.connect();
    asker.send(id, concatBytes(...Array.from({ length: 40 }, (_, i) => query(`n${i}.example`, TYPE.A, i))));
    const sent = world.sent();
    expect(sent).toHaveLength(32);
    for (const one of sent.slice(0, 3)) world.replyLater(one, responseTo(one));
    expect(world.sent()).toHaveLength(3);
    asker.pump();
    expect(asker.answers(id)).toHaveLength(3);
  });

  it("DN-90: idle for 10 s, or a message that is never finished, and it is closed", () => {
    const world = createWorld();
    const asker = createAsker(world);
    const [idle, unfinished] = [asker.connect(undefined, 1), asker.connect(undefined, 2)];
    asker.send(unfinished, octets("0020 00"));
    const closing = (ms: number) => world.passTime(ms).length;
    expect(closing(9_999)).toBe(0);
    expect(closing(1)).toBe(2);
    expect([asker.ends.get(idle), asker.ends.get(unfinished)]).toEqual([undefined, undefined]);
  });

  it("DN-90: who has asked all gets its answers, then the end", () => {
    const world = createWorld();
    const asker = createAsker(world);
    const id = asker.connect();
    asker.host.send(world.now(), id, concatBytes(query("wiki.corp"), query("a.example")));
    asker.host.end(world.now(), id);
    asker.pump();
    expect([asker.answers(id).length, asker.ends.get(id)]).toEqual([1, undefined]);
    const [one] = world.sent();
    if (one === undefined) throw new Error("a query");
    world.replyLater(one, responseTo(one));
    asker.pump();
    expect([asker.answers(id).length, asker.ends.get(id)]).toEqual([2, "done"]);
  });

  it("DN-58: other ports are closed at once", () => {
    const asker = createAsker(createWorld());
    const id = asker.connect({ address: SENTINEL, port: 853 });
    expect(asker.ends.get(id)).toBe("refused");
  });

  it("DN-58: a sentinel that is not mapped says nothing", () => {
    const world = createWorld();
    const asker = createAsker(world);
    const id = asker.connect({ address: ip("100.100.111.9"), port: 53 });
    expect(asker.ends.get(id)).toBeUndefined();
    expect(world.resolver.counters()).toMatchObject({ dns_drop_unmapped: 1 });
  });

  it("DN-91: 256 connections per sentinel; a SYN beyond is not answered, and finds room later", () => {
    const asker = createAsker(createWorld());
    const ids = Array.from({ length: 257 }, (_, i) => asker.connect(undefined, 1_000 + i));
    const isOpen = (id: number | undefined) => {
      if (id !== undefined) asker.send(id, query("wiki.corp"));
      return id !== undefined && asker.answers(id).length === 1;
    };
    expect(ids.slice(0, 256).every(isOpen)).toBe(true);
    expect([isOpen(ids[256]), asker.ends.get(ids[256] ?? 0)]).toEqual([false, undefined]);
  });

  it("§17: 200 names over TCP at once", () => {
    const world = createWorld();
    const asker = createAsker(world);
    const ids = Array.from({ length: 200 }, (_, i) => asker.connect(undefined, 1_000 + i));
    for (const [i, id] of ids.entries()) asker.send(id, query(`n${i}.corp`, TYPE.ANY, i));
    expect(ids.flatMap((id) => asker.answers(id))).toEqual(ids.map((_, i) => `${i} 0 8`));
    expect([...world.resolver.names()]).toHaveLength(200);
    expect(toHex(SENTINEL)).toBe("64646f01");
  });
});
