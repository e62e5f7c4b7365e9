import { describe, expect, it } from "vitest";
import {
  createSeededRandom,
  type Instant,
  instant,
  ip,
  randomBelow,
  type SocketAddress,
} from "../../../src/base/index.ts";
import { encodeIp, viewPacket } from "../../../src/packet/index.ts";
import { encodeSegment } from "../../../src/tcp/encode.ts";
import {
  type Admission,
  createTcpHost,
  DNS_PROFILE,
  type TcpEvent,
  type TcpHost,
} from "../../../src/tcp/index.ts";
import { parseSegment, type Segment } from "../../../src/tcp/segment.ts";
import fc from "../../lib/property.ts";

const CLIENT: SocketAddress = { address: ip("100.64.0.5"), port: 40_000 };
const SERVER: SocketAddress = { address: ip("100.100.111.1"), port: 53 };
const START = instant(1_000);
const at = (ms: number): Instant => instant(START + ms);
const NOTHING = new Uint8Array(0);

function server(admit: () => Admission = () => "accept"): TcpHost {
  return createTcpHost({ random: createSeededRandom(1), admit, profile: DNS_PROFILE });
}

/** A peer that says what the test wants it to say. */
function peer(host: TcpHost, from = CLIENT) {
  const segment = (given: Partial<Segment>): Segment => ({
    ...{
      seq: 0,
      ack: 0,
      isSyn: false,
      isAck: true,
      isFin: false,
      isRst: false,
      window: 65_535,
      payload: NOTHING,
    },
    ...given,
  });
  return {
    say(now: Instant, given: Partial<Segment>): Segment[] {
      host.handlePacket(now, encodeSegment(from, SERVER, segment(given)));
      return sent(host);
    },
    /** Up to established; returns where both ends' sequences stand. */
    open(now = START, mss?: number) {
      const [synAck] = this.say(now, {
        seq: 100,
        isSyn: true,
        isAck: false,
        ...(mss !== undefined && { mss }),
      });
      if (synAck === undefined) throw new Error("no answer");
      this.say(now, { seq: 101, ack: synAck.seq + 1 });
      return { own: 101, theirs: (synAck.seq + 1) >>> 0, synAck };
    },
  };
}

function sent(host: TcpHost): Segment[] {
  const segments: Segment[] = [];
  for (let packet = host.pollPacket(); packet !== undefined; packet = host.pollPacket()) {
    const segment = parseSegment(viewPacket(packet));
    if (!segment.ok) throw new Error(segment.reason);
    segments.push(segment.value);
  }
  return segments;
}

function events(host: TcpHost): TcpEvent[] {
  const all: TcpEvent[] = [];
  for (let event = host.pollEvent(); event !== undefined; event = host.pollEvent()) all.push(event);
  return all;
}

const kindsOf = (host: TcpHost) => events(host).map(({ kind }) => kind);

/** Lets timers run until `end`; what was sent. */
function run(host: TcpHost, end: Instant): { at: number; segment: Segment }[] {
  const all: { at: number; segment: Segment }[] = [];
  for (let due = host.pollTimeout(); due !== undefined && due <= end; due = host.pollTimeout()) {
    host.handleTimeout(due);
    all.push(...sent(host).map((segment) => ({ at: due - START, segment })));
    const next = host.pollTimeout();
    if (next !== undefined && next <= due) throw new Error("the poll law: a deadline that is past");
  }
  return all;
}

describe("opening and closing", () => {
  it("DN-92: offers the MSS of the MTU, and obeys the peer's", () => {
    const host = server();
    const { synAck, theirs, own } = peer(host).open(START, 100);
    expect(synAck).toMatchObject({ isSyn: true, isAck: true, ack: 101, mss: 1_240, window: 65_535 });
    host.send(START, 1, new Uint8Array(250));
    expect(sent(host).map(({ seq, ack, payload }) => [seq - theirs, ack, payload.length])).toEqual([
      [0, own, 100],
      [100, own, 100],
      [200, own, 50],
    ]);
    const other = server();
    peer(other).open(START, 1);
    other.send(START, 1, new Uint8Array(88));
    expect(sent(other).map(({ payload }) => payload.length)).toEqual([88]);
  });

  it("DN-92: IPv6 has 20 octets less", () => {
    const host = server();
    const [from, to] = [
      { address: ip("fd00:2021:1111::5"), port: 1 },
      { address: ip("fd00:2021:1111:8000:100:100:111:1"), port: 53 },
    ];
    const syn = {
      seq: 1,
      ack: 0,
      isSyn: true,
      isAck: false,
      isFin: false,
      isRst: false,
      window: 10,
      payload: NOTHING,
    };
    host.handlePacket(START, encodeSegment(from, to, syn));
    expect(sent(host)).toMatchObject([{ mss: 1_220 }]);
  });

  it.each([
    ["accept", ["syn-ack"]],
    ["refuse", ["rst"]],
    ["ignore", []],
  ] as const)("DN-91: a SYN that the application would %s", (admission, answers) => {
    const host = server(() => admission);
    const said = peer(host).say(START, { seq: 7, isSyn: true, isAck: false });
    expect(said.map(({ isRst }) => (isRst ? "rst" : "syn-ack"))).toEqual(answers);
    if (admission === "refuse") expect(said[0]).toMatchObject({ seq: 0, ack: 8, isAck: true });
  });

  it("RFC 9293 §3.5.2: what belongs to no connection is reset, a reset is not", () => {
    const host = server();
    expect(peer(host).say(START, { seq: 5, ack: 99 })).toMatchObject([
      { isRst: true, seq: 99, isAck: false },
    ]);
    expect(peer(host).say(START, { seq: 5, isRst: true })).toEqual([]);
    expect(host.count()).toBe(0);
  });

  it("DN-91, DN-93: SYN+ACK goes out four times at most, and the half-open connection lasts 5 s", () => {
    const host = server();
    peer(host).say(START, { seq: 100, isSyn: true, isAck: false });
    const said = run(host, at(60_000));
    expect(said.map((one) => [one.at, one.segment.isRst])).toEqual([
      [1_000, false],
      [3_000, false],
      [5_000, true],
    ]);
    expect(events(host)).toEqual([{ kind: "closed", id: 1, reason: "timeout" }]);
    expect(host.pollTimeout()).toBeUndefined();
  });

  it("§14: the peer ends, all is answered, then we end", () => {
    const host = server();
    const client = peer(host);
    const { own, theirs } = client.open();
    expect(kindsOf(host)).toEqual(["opened"]);
    expect(client.say(START, { seq: own, ack: theirs, isFin: true })).toMatchObject([{ ack: own + 1 }]);
    expect(kindsOf(host)).toEqual(["ended"]);
    host.send(START, 1, Uint8Array.of(1, 2));
    host.end(START, 1);
    expect(sent(host)).toMatchObject([{ seq: theirs, payload: { length: 2 }, isFin: true }]);
    client.say(START, { seq: own + 1, ack: theirs + 3 });
    expect(events(host)).toEqual([{ kind: "closed", id: 1, reason: "done" }]);
    expect(host.pollTimeout()).toBeUndefined();
  });

  it("§14: we end first, and wait 1 s for a repetition of the peer's end", () => {
    const host = server();
    const client = peer(host);
    const { own, theirs } = client.open();
    host.end(START, 1);
    sent(host);
    client.say(START, { seq: own, ack: theirs + 1 });
    expect(client.say(START, { seq: own, ack: theirs + 1, isFin: true })).toMatchObject([{ ack: own + 1 }]);
    expect(client.say(at(500), { seq: own, ack: theirs + 1, isFin: true })).toMatchObject([{ ack: own + 1 }]);
    // It begins anew with the repetition (RFC 9293 §3.10.7.4).
    run(host, at(1_499));
    expect(host.count()).toBe(1);
    run(host, at(1_500));
    expect(host.count()).toBe(0);
  });

  it("§14: both end at once", () => {
    const host = server();
    const client = peer(host);
    const { own, theirs } = client.open();
    host.end(START, 1);
    client.say(START, { seq: own, ack: theirs, isFin: true });
    client.say(START, { seq: own + 1, ack: theirs + 1 });
    run(host, at(1_000));
    expect(kindsOf(host)).toEqual(["opened", "ended", "closed"]);
  });
});

describe("data", () => {
  it("DN-92: out of order they wait, 16 segments of them; a super-segment is one", () => {
    const host = server();
    const client = peer(host);
    const { own, theirs } = client.open();
    events(host);
    const part = (i: number) => ({ seq: own + i, ack: theirs, payload: Uint8Array.of(i) });
    for (let i = 1; i <= 17; i++) client.say(START, part(i));
    client.say(START, part(0));
    const got = events(host).flatMap((event) => (event.kind === "data" ? [...event.bytes] : []));
    expect(got).toEqual(Array.from({ length: 17 }, (_, i) => i));
    const big = encodeIp({
      source: CLIENT.address,
      destination: SERVER.address,
      protocol: 6,
      transport: NOTHING,
    });
    expect(big.ok).toBe(true);
  });

  it("DN-94: what lies outside of the window is acknowledged and dropped", () => {
    const host = server();
    const client = peer(host);
    const { own, theirs } = client.open();
    events(host);
    expect(client.say(START, { seq: own + 65_535, ack: theirs, payload: Uint8Array.of(1) })).toMatchObject([
      { ack: own },
    ]);
    expect(client.say(START, { seq: own - 1, ack: theirs, payload: Uint8Array.of(1) })).toMatchObject([
      { ack: own },
    ]);
    expect(events(host)).toEqual([]);
  });

  it("DN-90: an application that does not read closes the window, and opens it again", () => {
    const host = server();
    const client = peer(host);
    const { own, theirs } = client.open();
    const size = 1_240;
    let last: Segment | undefined;
    for (let i = 0; i < 53; i++) {
      [last] = client.say(START, { seq: own + i * size, ack: theirs, payload: new Uint8Array(size) });
    }
    expect(last?.window).toBe(0);
    expect(last?.ack).toBe(own + 65_535);
    host.take(START, 1, 100);
    expect(sent(host)).toEqual([]);
    host.take(START, 1, 5_000);
    expect(sent(host)).toMatchObject([{ window: 5_100 }]);
  });

  it("DN-93: ten segments at first, then what acknowledgements allow", () => {
    const host = server();
    const client = peer(host);
    const { own, theirs } = client.open(START, 1_000);
    host.send(START, 1, new Uint8Array(40_000));
    expect(sent(host)).toHaveLength(10);
    expect(client.say(at(10), { seq: own, ack: theirs + 1_000 })).toHaveLength(2);
    expect(client.say(at(10), { seq: own, ack: theirs + 1_000, window: 500 })).toEqual([]);
  });

  it("DN-93: without an answer six times in all, ever later, then it is over", () => {
    const host = server();
    const { theirs } = peer(host).open();
    host.send(START, 1, Uint8Array.of(1, 2, 3));
    sent(host);
    const said = run(host, at(60_000));
    // The handshake took no time, so that the first time-out is the least one.
    expect(said.map((one) => one.at)).toEqual([250, 750, 1_750, 3_750, 7_750, 11_750]);
    expect(
      said.slice(0, 5).every(({ segment }) => segment.seq === theirs && segment.payload.length === 3),
    ).toBe(true);
    expect(said.at(-1)?.segment.isRst).toBe(true);
  });

  it("DN-93: after three duplicates the missing segment is sent at once", () => {
    const host = server();
    const client = peer(host);
    const { own, theirs } = client.open(START, 100);
    host.send(START, 1, new Uint8Array(500));
    sent(host);
    const duplicate = () => client.say(at(5), { seq: own, ack: theirs });
    expect([duplicate(), duplicate()]).toEqual([[], []]);
    expect(duplicate()).toMatchObject([{ seq: theirs, payload: { length: 100 } }]);
    expect(duplicate()).toEqual([]);
  });

  it("DN-93: a closed window is probed each second, five times", () => {
    const host = server();
    const client = peer(host);
    const { own, theirs } = client.open();
    client.say(START, { seq: own, ack: theirs, window: 0 });
    host.send(START, 1, Uint8Array.of(1, 2, 3));
    expect(sent(host)).toEqual([]);
    const probes = run(host, at(2_000));
    expect(probes.map((one) => [one.at, one.segment.payload.length])).toEqual([
      [1_000, 0],
      [2_000, 0],
    ]);
    expect(probes[0]?.segment.seq).toBe((theirs - 1) >>> 0);
    expect(client.say(at(2_500), { seq: own, ack: theirs, window: 100 })).toMatchObject([
      { seq: theirs, payload: { length: 3 } },
    ]);
    const closed = server();
    const other = peer(closed);
    const ends = other.open();
    other.say(START, { seq: ends.own, ack: ends.theirs, window: 0 });
    closed.send(START, 1, Uint8Array.of(1));
    sent(closed);
    expect(run(closed, at(60_000)).map((one) => one.segment.isRst)).toEqual([
      false,
      false,
      false,
      false,
      false,
      true,
    ]);
  });
});

describe("forgers", () => {
  it("DN-94: only a reset at exactly the next octet counts; in the window it is challenged", () => {
    const host = server();
    const client = peer(host);
    const { own, theirs } = client.open();
    expect(client.say(START, { seq: own + 1, isRst: true, isAck: false })).toMatchObject([
      { ack: own, isRst: false },
    ]);
    expect(client.say(START, { seq: own + 70_000, isRst: true, isAck: false })).toEqual([]);
    expect(host.count()).toBe(1);
    client.say(START, { seq: own, ack: theirs, isRst: true });
    expect(events(host).at(-1)).toEqual({ kind: "closed", id: 1, reason: "reset" });
  });

  it("DN-94: a SYN is challenged, ten times a second at most", () => {
    const host = server();
    const client = peer(host);
    const { own } = client.open();
    const challenges = (now: Instant) =>
      Array.from(
        { length: 20 },
        () => client.say(now, { seq: own, isSyn: true, isAck: false }).length,
      ).reduce((a, b) => a + b);
    expect(challenges(START)).toBe(10);
    expect(challenges(at(500))).toBe(5);
  });

  it("RFC 6528: first sequence numbers depend on who speaks with whom, and on a secret", () => {
    const first = (seed: number, port: number) => {
      const host = createTcpHost({
        ...{ random: createSeededRandom(seed), admit: () => "accept", profile: DNS_PROFILE },
      });
      return peer(host, { ...CLIENT, port }).open().synAck.seq;
    };
    expect(new Set([first(1, 1), first(1, 2), first(2, 1), first(2, 2)]).size).toBe(4);
    expect(first(1, 1)).toBe(first(1, 1));
  });

  it("any segment ends in no exception and no endless timer", () => {
    const anySegment = fc.record({
      seq: fc.constantFrom(99, 100, 101, 102, 0xffff_ffff, 70_000),
      ack: fc.nat(),
      isSyn: fc.boolean(),
      isAck: fc.boolean(),
      isFin: fc.boolean(),
      isRst: fc.boolean(),
      window: fc.nat(65_535),
      payload: fc.uint8Array({ maxLength: 30 }),
    });
    fc.assert(
      fc.property(fc.array(anySegment, { maxLength: 20 }), fc.boolean(), (segments, isOpen) => {
        const host = server();
        const client = peer(host);
        if (isOpen) client.open();
        for (const segment of segments) client.say(START, segment);
        host.end(START, 1);
        sent(host);
        run(host, at(120_000));
        expect(host.count()).toBe(0);
      }),
    );
  });
});

describe("two of them over a bad network", () => {
  it("§17: whatever is lost, doubled or out of order, all octets arrive once, or the connection fails", () => {
    fc.assert(
      fc.property(
        fc.nat(),
        fc.integer({ min: 1, max: 60_000 }),
        fc.integer({ min: 0, max: 30 }),
        (seed, octets, loss) => {
          const { received, closed } = transfer(seed, octets, loss);
          if (received.length !== octets) expect(closed).toContain("timeout");
          expect(received.every((byte, i) => byte === (i & 0xff))).toBe(true);
          if (loss === 0) expect(received).toHaveLength(octets);
        },
      ),
      { numRuns: 60 },
    );
  });
});

function connected(host: TcpHost, now: Instant): number {
  const id = host.connect(now, CLIENT, SERVER);
  if (id === undefined) throw new Error("no room for a connection");
  return id;
}

/** One end sends `octets`, and ends; each packet may be lost, come twice, or later than others. */
function transfer(seed: number, octets: number, lossPercent: number) {
  const random = createSeededRandom(seed);
  const chance = (percent: number): boolean => randomBelow(random, 100) < percent;
  const a = createTcpHost({ random, admit: () => "refuse", profile: DNS_PROFILE });
  const b = createTcpHost({ random, admit: () => "accept", profile: DNS_PROFILE });
  const wire: { at: number; to: TcpHost; packet: Uint8Array }[] = [];
  const received: number[] = [];
  const closed: string[] = [];
  let now = START;
  const id = connected(a, now);

  function collect(from: TcpHost, to: TcpHost): void {
    for (let packet = from.pollPacket(); packet !== undefined; packet = from.pollPacket()) {
      if (chance(lossPercent)) continue;
      for (let copies = chance(lossPercent / 3) ? 2 : 1; copies > 0; copies--) {
        wire.push({ at: now + 5 + randomBelow(random, lossPercent === 0 ? 1 : 20), to, packet });
      }
    }
  }

  function hear(host: TcpHost): void {
    for (const event of events(host)) {
      if (event.kind === "opened" && host === a) {
        a.send(
          now,
          id,
          Uint8Array.from({ length: octets }, (_, i) => i),
        );
        a.end(now, id);
      }
      if (event.kind === "data") {
        received.push(...event.bytes);
        host.take(now, event.id, event.bytes.length);
      }
      if (event.kind === "ended") host.end(now, event.id);
      if (event.kind === "closed") closed.push(event.reason);
    }
  }

  for (let steps = 0; steps < 100_000; steps++) {
    hear(a);
    hear(b);
    collect(a, b);
    collect(b, a);
    wire.sort((x, y) => x.at - y.at);
    const next = wire[0];
    const due = Math.min(next?.at ?? Infinity, a.pollTimeout() ?? Infinity, b.pollTimeout() ?? Infinity);
    if (due === Infinity) return { received, closed };
    now = instant(Math.max(now, due));
    if (next !== undefined && next.at <= now) {
      wire.shift();
      next.to.handlePacket(now, next.packet);
    } else {
      for (const host of [a, b]) if ((host.pollTimeout() ?? Infinity) <= now) host.handleTimeout(now);
    }
  }
  throw new Error("it goes on for ever");
}
