import { describe, expect, it } from "vitest";
import { createSeededRandom, formatIp, type Instant, instant, ip } from "../../../src/base/index.ts";
import {
  createNameServer,
  type DirectQuery,
  type DirectResult,
  domainOf,
  encodeQuery,
  type NameServerEvent,
  parseMessage,
  RCODE,
  TYPE,
} from "../../../src/dns/index.ts";
import { nameOf } from "./octets.ts";
import { responseTo } from "./resolver-world.ts";

const CLIENT = ip("100.64.0.2");
const OTHER = ip("100.64.0.3");
const [FIRST, SECOND] = [ip("192.0.2.53"), ip("192.0.2.54")];
const TEXT = "c00c 0010 0001 00000064 0003 026869";

function isProbe({ message }: DirectQuery): boolean {
  const read = parseMessage(message);
  return read.ok && read.value.question?.type === TYPE.NS;
}

/** The machine with two servers of the host, and what has come out of it. */
function createWorld(servers = [FIRST, SECOND]) {
  const server = createNameServer({
    random: createSeededRandom(1),
    permit: (client, name) => ({
      cid: formatIp(client),
      isGranted: domainOf(name).endsWith(".corp") && formatIp(client) !== "100.64.0.99",
    }),
  });
  const world = {
    server,
    now: instant(1_000_000),
    sent: [] as DirectQuery[],
    answers: [] as { asker: number; rcode: number; isTruncated: boolean }[],
    aborted: [] as number[],
    done: [] as number[],
  };
  function take(event: NameServerEvent): void {
    if (event.kind === "direct-query") world.sent.push(event.query);
    if (event.kind === "direct-done") world.done.push(event.token);
    if (event.kind === "abort") world.aborted.push(event.asker);
    if (event.kind !== "answer") return;
    const read = parseMessage(event.bytes);
    if (!read.ok) throw new Error(read.reason);
    const { rcode, isTruncated } = read.value.header;
    world.answers.push({ asker: event.asker, rcode, isTruncated });
  }
  function drain(): void {
    for (let event = server.pollEvent(); event !== undefined; event = server.pollEvent()) take(event);
  }
  function result(query: DirectQuery, of: DirectResult): void {
    server.handleDirectResult(world.now, query.token, of);
    drain();
  }
  function pass(ms: number): void {
    const end = instant(world.now + ms);
    for (let due = server.pollTimeout(); due !== undefined && due <= end; due = server.pollTimeout()) {
      world.now = instant(Math.max(world.now, due));
      server.handleTimeout(world.now);
      drain();
      const next: Instant | undefined = server.pollTimeout();
      if (next !== undefined && next <= world.now) throw new Error("the poll law");
    }
    world.now = end;
  }
  server.handleServers(
    world.now,
    servers.map((address) => ({ address })),
  );
  return {
    ...world,
    world,
    pass,
    ask(
      asker: number,
      name: string,
      of: { type?: number; client?: Uint8Array; tcp?: boolean; bytes?: Uint8Array } = {},
    ) {
      const bytes = of.bytes ?? encodeQuery({ id: asker, name: nameOf(name), type: of.type ?? TYPE.TXT });
      const transport = of.tcp === true ? "tcp" : "udp";
      server.handleQuestion(world.now, { asker, transport, client: of.client ?? CLIENT, bytes });
      drain();
    },
    reply: (query: DirectQuery, message: Uint8Array) => result(query, { kind: "message", message }),
    break: (query: DirectQuery) => result(query, { kind: "failed", reason: "ECONNREFUSED" }),
    /** Questions of clients that went on since the last call. */
    forwarded: (): DirectQuery[] => world.sent.splice(0).filter((query) => !isProbe(query)),
    probes: (): DirectQuery[] => world.sent.splice(0).filter(isProbe),
  };
}

const serverOf = ({ upstream }: DirectQuery): string =>
  upstream.kind === "do53" ? formatIp(upstream.server.address) : upstream.kind;

describe("the gateway's name server", () => {
  it("DN-86: a question of a granted name goes on with another ID, and its answer comes back", () => {
    const world = createWorld();
    world.ask(7, "wiki.corp");
    const [query] = world.forwarded();
    if (query === undefined) throw new Error("a query");
    expect([serverOf(query), query.transport]).toEqual(["192.0.2.53", "udp"]);
    expect(query.message.slice(0, 2)).not.toEqual(Uint8Array.of(0, 7));
    world.reply(query, responseTo(query, TEXT));
    expect(world.answers).toEqual([{ asker: 7, rcode: 0, isTruncated: false }]);
    expect(world.done).toContain(query.token);
  });

  it("DN-85: refused if the name is not granted, or the address is no client's; nothing is asked", () => {
    const world = createWorld();
    world.ask(1, "example.com");
    world.ask(2, "wiki.corp", { client: ip("100.64.0.99") });
    expect(world.answers.map(({ rcode }) => rcode)).toEqual([RCODE.refused, RCODE.refused]);
    expect(world.forwarded()).toEqual([]);
    expect(world.server.figures().counters).toMatchObject({ dns_site_refused: 2 });
  });

  it("DN-15: what is no query is dropped, a malformed one answered", () => {
    const world = createWorld();
    world.ask(1, "", { bytes: new Uint8Array(11) });
    const response = encodeQuery({ id: 2, name: nameOf("wiki.corp"), type: TYPE.TXT });
    response[2] = 0x80;
    world.ask(2, "", { bytes: response, tcp: true });
    world.ask(3, "wiki.corp", { type: TYPE.AXFR });
    expect(world.aborted).toEqual([1, 2]);
    expect(world.answers).toMatchObject([{ asker: 3, rcode: RCODE.refused }]);
  });

  it("DN-86: over UDP once more after 2 s, to the next server; at 5 s SERVFAIL", () => {
    const world = createWorld();
    world.ask(1, "wiki.corp");
    const [first] = world.forwarded();
    world.pass(1_999);
    expect(world.forwarded()).toEqual([]);
    world.pass(1);
    const [second] = world.forwarded();
    if (first === undefined || second === undefined) throw new Error("two queries");
    expect([serverOf(first), serverOf(second)]).toEqual(["192.0.2.53", "192.0.2.54"]);
    expect(second.message.slice(0, 2)).not.toEqual(first.message.slice(0, 2));
    world.pass(2_999);
    expect(world.answers).toEqual([]);
    world.pass(1);
    expect(world.answers).toMatchObject([{ rcode: RCODE.servFail }]);
    world.reply(first, responseTo(first, TEXT));
    expect(world.answers).toHaveLength(1);
  });

  it("DN-86: over TCP as it was asked, once; a refusal tries the other server at once", () => {
    const world = createWorld();
    world.ask(1, "wiki.corp", { tcp: true });
    const [first] = world.forwarded();
    if (first === undefined) throw new Error("a query");
    expect(first.transport).toBe("tcp");
    world.pass(2_500);
    expect(world.forwarded()).toEqual([]);
    world.break(first);
    const [second] = world.forwarded();
    if (second === undefined) throw new Error("a second query");
    expect(serverOf(second)).toBe("192.0.2.54");
    world.break(second);
    expect(world.answers).toMatchObject([{ rcode: RCODE.servFail }]);
  });

  it("DN-14, DN-12: strays are passed over; what is too long for UDP is truncated, not over TCP", () => {
    const world = createWorld();
    world.ask(1, "wiki.corp");
    world.ask(2, "wiki.corp", { tcp: true });
    const [udp, tcp] = world.forwarded();
    if (udp === undefined || tcp === undefined) throw new Error("two queries");
    const wrong = Uint8Array.from(responseTo(udp, TEXT));
    wrong[0] = (wrong[0] ?? 0) ^ 1;
    world.reply(udp, wrong);
    expect(world.answers).toEqual([]);
    const long = Array.from({ length: 60 }, () => TEXT).join(";");
    world.reply(udp, responseTo(udp, long));
    world.reply(tcp, responseTo(tcp, long));
    expect(world.answers.map(({ asker, isTruncated }) => [asker, isTruncated])).toEqual([
      [1, true],
      [2, false],
    ]);
  });

  it("DN-85: at most 100 of a client and 1,000 in all are under way", () => {
    const world = createWorld();
    for (let i = 0; i < 101; i++) world.ask(i, `a${i}.corp`);
    expect(world.answers).toMatchObject([{ asker: 100, rcode: RCODE.servFail }]);
    for (let client = 1; client < 10; client++) {
      for (let i = 0; i < 100; i++)
        world.ask(1_000 * client + i, `a${i}.corp`, { client: ip(`100.64.1.${client}`) });
    }
    expect(world.answers).toHaveLength(1);
    world.ask(20_000, "one.corp", { client: OTHER });
    expect(world.answers).toHaveLength(2);
    world.pass(5_000);
    world.answers.length = 0;
    world.forwarded();
    world.ask(20_001, "one.corp", { client: OTHER });
    expect(world.forwarded()).toHaveLength(1);
  });

  it("DN-86: without any server SERVFAIL at once", () => {
    const world = createWorld([]);
    world.ask(1, "wiki.corp");
    expect(world.answers).toMatchObject([{ rcode: RCODE.servFail }]);
    expect(world.server.pollTimeout()).toBeUndefined();
  });
});

describe("the best name server", () => {
  const best = ({ server }: ReturnType<typeof createWorld>): readonly string[] =>
    server.servers().map(({ address }) => formatIp(address));

  /** A round: each server's answers after so many milliseconds, or none. */
  function round(
    world: ReturnType<typeof createWorld>,
    ms: Readonly<Record<string, number>>,
    transport = "udp",
  ) {
    world.pass(0);
    const probes = world.probes();
    const inOrder = probes
      .flatMap((query) => {
        const after = query.transport === transport ? ms[serverOf(query)] : undefined;
        return after === undefined ? [] : [{ query, after }];
      })
      .sort((a, b) => a.after - b.after);
    let at = 0;
    for (const { query, after } of inOrder) {
      world.pass(after - at);
      at = after;
      world.reply(query, responseTo(query));
    }
    world.pass(2_000 - at);
    return probes;
  }

  it("DN-87: the root's servers are asked of each, over UDP and TCP, at the start and each 60 s", () => {
    const world = createWorld();
    expect(best(world)).toEqual(["192.0.2.53", "192.0.2.54"]);
    const probes = round(world, {});
    expect(probes.map((query) => `${serverOf(query)} ${query.transport}`)).toEqual([
      "192.0.2.53 udp",
      "192.0.2.53 tcp",
      "192.0.2.54 udp",
      "192.0.2.54 tcp",
    ]);
    world.pass(57_999);
    expect(world.probes()).toEqual([]);
    world.pass(1);
    expect(world.probes()).toHaveLength(4);
    world.pass(3_000);
    world.server.reset(world.world.now);
    world.pass(0);
    expect(world.probes()).toHaveLength(4);
  });

  it("DN-87: the fastest is the best, smoothed over rounds; one that failed the newest is skipped", () => {
    const world = createWorld();
    round(world, { "192.0.2.53": 40, "192.0.2.54": 10 });
    expect(best(world)).toEqual(["192.0.2.54", "192.0.2.53"]);
    world.pass(58_000);
    // 10 + 90/4 = 32.5 is still less than 40 - 0.
    round(world, { "192.0.2.53": 40, "192.0.2.54": 100 });
    expect(best(world)).toEqual(["192.0.2.54", "192.0.2.53"]);
    world.pass(58_000);
    round(world, { "192.0.2.53": 40 });
    expect(best(world)).toEqual(["192.0.2.53"]);
    world.pass(58_000);
    round(world, {});
    expect(best(world)).toEqual(["192.0.2.53", "192.0.2.54"]);
  });

  it("DN-87: one that only speaks TCP counts, too; at most ten are measured", () => {
    const world = createWorld();
    round(world, { "192.0.2.54": 10 }, "tcp");
    expect(best(world)).toEqual(["192.0.2.54"]);
    const many = createWorld(Array.from({ length: 12 }, (_, i) => ip(`192.0.2.${i + 1}`)));
    many.pass(0);
    expect(many.probes()).toHaveLength(20);
  });
});
