import { describe, expect, it } from "vitest";
import { concatBytes, createSeededRandom, formatIp, ip, prefix } from "../../../src/base/index.ts";
import { encodeQuery, RCODE, TYPE } from "../../../src/dns/index.ts";
import { encodeRefusal, viewPacket } from "../../../src/packet/index.ts";
import { createTcpHost, type TcpHost } from "../../../src/tcp/index.ts";
import { nameOf } from "./octets.ts";
import { createWorld, OWN, responseTo, SENTINEL } from "./resolver-world.ts";

const ROUTED = { upstreamDo53: [ip("10.1.0.53")], tunnelled: [prefix("10.1.0.0/16")] };
const TO = ip("100.100.111.2");
const ANSWER = "c00c 0001 0001 00000064 0004 c0000207";

const framed = (message: Uint8Array) =>
  concatBytes(Uint8Array.of(message.length >> 8, message.length & 0xff), message);

/** Messages out of a stream, and what is left. */
function unframe(stream: Uint8Array): { messages: Uint8Array[]; rest: Uint8Array } {
  const messages: Uint8Array[] = [];
  let at = 0;
  for (;;) {
    const length = ((stream[at] ?? 0) << 8) | (stream[at + 1] ?? 0);
    if (stream.length < at + 2 || stream.length < at + 2 + length)
      return { messages, rest: stream.slice(at) };
    messages.push(stream.slice(at + 2, at + 2 + length));
    at += 2 + length;
  }
}

/** A program's TCP, the resolver, and a name server's TCP in the tunnel, with what reaches both. */
function createWires(config: Parameters<typeof createWorld>[0]) {
  const world = createWorld(config);
  const random = createSeededRandom(3);
  const program = createTcpHost({ random, admit: () => "refuse" });
  const server = createTcpHost({ random, admit: () => "accept" });
  const asked: { readonly id: number; readonly bytes: Uint8Array }[] = [];
  const told: Uint8Array[] = [];
  const opened: string[] = [];
  const received = new Map<TcpHost, Uint8Array>();

  function take(host: TcpHost, into: (id: number, message: Uint8Array) => void, isServer: boolean): boolean {
    const event = host.pollEvent();
    if (event?.kind === "opened" && isServer)
      opened.push(`${formatIp(event.local.address)}:${event.local.port}`);
    if (event?.kind === "data") {
      host.take(world.now(), event.id, event.bytes.length);
      const { messages, rest } = unframe(concatBytes(received.get(host) ?? new Uint8Array(0), event.bytes));
      received.set(host, rest);
      for (const message of messages) into(event.id, message);
    }
    return event !== undefined;
  }

  /** Carries packets to and fro until there are none. */
  function settle(): void {
    for (let isBusy = true; isBusy; ) {
      isBusy = false;
      const out = program.pollPacket();
      const back = server.pollPacket();
      const packets = out === undefined ? world.give(new Uint8Array(0)) : world.give(out);
      if (back !== undefined) world.resolver.handleTunnelPacket(world.now(), back);
      world.drain();
      for (const packet of packets)
        if (viewPacket(packet).protocol === 6) program.handlePacket(world.now(), packet);
      for (let one = world.resolver.pollTunnelPacket(); one; one = world.resolver.pollTunnelPacket()) {
        server.handlePacket(world.now(), one);
        isBusy = true;
      }
      const isHeard = [
        take(program, (_, message) => told.push(message), false),
        take(server, (id, bytes) => asked.push({ id, bytes }), true),
      ];
      isBusy ||= out !== undefined || back !== undefined || packets.length > 0 || isHeard.includes(true);
    }
  }

  return { world, server, program, asked, told, opened, settle };
}

/** A program that asks over TCP, and what is answered. */
function createStreams(config: Parameters<typeof createWorld>[0] = ROUTED, to = TO) {
  const wires = createWires(config);
  const { world, server, program, told, settle } = wires;
  let port = 40_000;
  /** A connection to the sentinel. */
  function connect(): number {
    const local = { address: OWN.v4, port: port++ };
    const id = program.connect(world.now(), local, { address: to, port: 53 });
    settle();
    return id ?? 0;
  }

  function send(connection: number, name: string, id: number, type: number): void {
    program.send(world.now(), connection, framed(encodeQuery({ id, name: nameOf(name), type })));
    settle();
  }

  return {
    ...wires,
    ...{ connect, send },
    ask: (name: string, id = 33_333, type: number = TYPE.A): void => send(connect(), name, id, type),
    /** One late tick. */
    wait(ms: number): void {
      for (const packet of world.passTime(ms)) program.handlePacket(world.now(), packet);
      settle();
    },
    answer({ id, bytes }: { readonly id: number; readonly bytes: Uint8Array }, records = ANSWER): void {
      server.send(world.now(), id, framed(responseTo(bytes, records)));
      settle();
    },
    idOf: (bytes: Uint8Array | undefined) => ((bytes?.[0] ?? 0) << 8) | (bytes?.[1] ?? 0),
    rcodes: () => told.map((bytes) => (bytes[3] ?? 0) & 15),
  };
}

describe("queries over TCP through the tunnel", () => {
  it("DN-69: one connection for many queries, each with an ID of its own there", () => {
    const streams = createStreams();
    for (const name of ["a.example", "b.example", "c.example"]) streams.ask(name);
    expect(streams.opened).toEqual(["10.1.0.53:53"]);
    expect(new Set(streams.asked.map(({ bytes }) => streams.idOf(bytes))).size).toBe(3);
    for (const one of streams.asked.toReversed()) streams.answer(one);
    expect(streams.rcodes()).toEqual([0, 0, 0]);
    expect(streams.told.map(streams.idOf)).toEqual([33_333, 33_333, 33_333]);
  });

  it("DN-66: a site is asked over TCP if the program has asked so", () => {
    const streams = createStreams({ upstreamDo53: [], tunnelled: [] }, SENTINEL);
    streams.ask("wiki.corp", 7, TYPE.TXT);
    const { world } = streams;
    const addresses = { v4: ip("100.64.0.9") };
    world.resolver.handleSite(world.now(), "wiki", { kind: "ready", gid: "g", addresses });
    streams.settle();
    expect(streams.opened).toEqual(["100.64.0.9:53535"]);
    const [query] = streams.asked;
    if (query === undefined) throw new Error("a query");
    streams.answer(query, "c00c 0010 0001 00000064 0003 026869");
    expect(streams.rcodes()).toEqual([0]);
  });

  it("DN-69: at most 64 are asked at once; the others follow as answers come", () => {
    const streams = createStreams();
    for (let connection = 0; connection < 3; connection++) {
      // The front end reads 32 of a connection.
      const id = streams.connect();
      for (let i = 0; i < 32; i++) streams.send(id, `a${connection}-${i}.example`, i, TYPE.A);
    }
    expect(streams.asked).toHaveLength(64);
    for (let i = 0; i < 96; i++) {
      const one = streams.asked[i];
      if (one === undefined) throw new Error(`query ${i} was not asked`);
      streams.answer(one);
    }
    expect(streams.rcodes()).toEqual(Array.from({ length: 96 }, () => 0));
  });

  it("DN-69: a late answer is ignored, one to an ID that was never sent ends the connection", () => {
    const streams = createStreams();
    streams.ask("a.example");
    streams.wait(10_000);
    expect(streams.rcodes()).toEqual([RCODE.servFail]);
    const [late] = streams.asked;
    if (late === undefined) throw new Error("a query");
    streams.answer(late);
    streams.ask("b.example");
    expect(streams.opened).toHaveLength(1);
    const second = streams.asked[1];
    if (second === undefined) throw new Error("a second query");
    const wrong = Uint8Array.from(second.bytes);
    wrong.set([wrong[0] === 0 ? 1 : 0, 0]);
    streams.answer({ id: second.id, bytes: wrong });
    expect(streams.rcodes()).toEqual([RCODE.servFail, RCODE.servFail]);
    streams.ask("c.example");
    expect(streams.opened).toHaveLength(2);
  });

  it("DN-69: the longest answer there can be arrives, too", () => {
    const streams = createStreams();
    streams.ask("a.example");
    const [query] = streams.asked;
    if (query === undefined) throw new Error("a query");
    const answer = responseTo(query.bytes, ANSWER);
    const longest = concatBytes(answer, new Uint8Array(65_535 - answer.length));
    streams.server.send(streams.world.now(), query.id, framed(longest));
    streams.settle();
    expect(streams.rcodes()).toEqual([0]);
  });

  it("DN-69: closed after 10 s without a query, not before", () => {
    const streams = createStreams();
    streams.ask("a.example");
    const [query] = streams.asked;
    if (query === undefined) throw new Error("a query");
    streams.answer(query);
    expect(streams.server.count()).toBe(1);
    streams.wait(9_999);
    streams.ask("b.example");
    expect(streams.opened).toHaveLength(1);
    const second = streams.asked[1];
    if (second === undefined) throw new Error("a second query");
    streams.answer(second);
    streams.wait(10_000);
    streams.ask("c.example");
    expect(streams.opened).toHaveLength(2);
  });

  it("DN-69: if the connection fails, its queries fail with it; so do a reset and an ICMP error", () => {
    const ends: readonly ((streams: ReturnType<typeof createStreams>) => void)[] = [
      ({ server, world, asked }) => server.abort(world.now(), asked[0]?.id ?? 0),
      ({ world }) => world.resolver.reset(world.now()),
    ];
    for (const end of ends) {
      const streams = createStreams();
      streams.ask("a.example");
      streams.ask("b.example");
      end(streams);
      streams.settle();
      expect(streams.rcodes()).toEqual([RCODE.servFail, RCODE.servFail]);
    }
  });

  it("DN-68: an error about the connection's packets ends its queries at once", () => {
    const world = createWorld(ROUTED);
    const program = createTcpHost({ random: createSeededRandom(4), admit: () => "refuse" });
    const id = program.connect(world.now(), { address: OWN.v4, port: 40_000 }, { address: TO, port: 53 });
    const carry = (): void => {
      for (let packet = program.pollPacket(); packet; packet = program.pollPacket()) {
        for (const back of world.give(packet)) program.handlePacket(world.now(), back);
      }
    };
    carry();
    program.send(
      world.now(),
      id ?? 0,
      framed(encodeQuery({ id: 7, name: nameOf("a.example"), type: TYPE.A })),
    );
    carry();
    const syn = world.resolver.pollTunnelPacket();
    const refusal = syn && encodeRefusal(syn, "prohibited");
    if (refusal === undefined) throw new Error("a refusal");
    expect(world.resolver.handleTunnelPacket(world.now(), refusal)).toBe(true);
    expect(world.resolver.counters()["dns_servfail"]).toBe(1);
  });
});
