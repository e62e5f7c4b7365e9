/** The rules of PG-127 with many connections at a time. */
import { describe, expect, it } from "vitest";
import { createSeededRandom, type Instant, instant } from "../../../src/base/index.ts";
import { encodeSegment } from "../../../src/tcp/encode.ts";
import { createTcpHost, type TcpEvent, type TcpHost } from "../../../src/tcp/index.ts";
import { OURS, PEER } from "./script.ts";

/** More than there is room for answers to strangers. */
const MANY = 400;
const NOW = instant(1_000);

function createHost(seed: number): TcpHost {
  return createTcpHost({ random: createSeededRandom(seed), admit: () => "accept" });
}

/** Hands over what both have to say, at one moment. */
function exchange(one: TcpHost, other: TcpHost, now: Instant): void {
  for (let moved = true; moved; ) {
    moved = false;
    for (const [from, to] of [[one, other] as const, [other, one] as const]) {
      for (let packet = from.pollPacket(); packet !== undefined; packet = from.pollPacket()) {
        to.handlePacket(now, packet);
        moved = true;
      }
    }
  }
}

function eventsOf(host: TcpHost): readonly TcpEvent[] {
  const events: TcpEvent[] = [];
  for (let event = host.pollEvent(); event !== undefined; event = host.pollEvent()) events.push(event);
  return events;
}

function openMany(client: TcpHost, server: TcpHost): { ours: readonly number[]; theirs: readonly number[] } {
  const ours: number[] = [];
  for (let i = 0; i < MANY; i++) {
    const id = client.connect(NOW, { ...OURS, port: 0 }, PEER);
    if (id !== undefined) ours.push(id);
    // No listener has that many half open.
    exchange(client, server, NOW);
  }
  eventsOf(client);
  const theirs = eventsOf(server).flatMap((event) => (event.kind === "opened" ? [event.id] : []));
  expect([ours.length, theirs.length]).toEqual([MANY, MANY]);
  return { ours, theirs };
}

describe("many connections", () => {
  it("PG-127: whoever ends them all at once resets each of them", () => {
    const [client, server] = [createHost(1), createHost(2)];
    const { ours } = openMany(client, server);
    for (const id of ours) client.abort(NOW, id);
    exchange(client, server, NOW);
    const ends = eventsOf(server).filter(({ kind }) => kind === "closed");
    expect(ends).toHaveLength(MANY);
    expect(ends.every((event) => event.kind === "closed" && event.reason === "reset")).toBe(true);
    expect([client.count(), server.count()]).toEqual([0, 0]);
    expect(client.counters().reply_limit).toBe(0);
  });

  it("PG-127: those that both sides end at once are acknowledged to the last one", () => {
    const [client, server] = [createHost(1), createHost(2)];
    const { ours, theirs } = openMany(client, server);
    for (const id of ours) client.end(NOW, id);
    exchange(client, server, NOW);
    for (const id of theirs) server.end(NOW, id);
    exchange(client, server, NOW);
    expect(eventsOf(server).filter(({ kind }) => kind === "closed")).toHaveLength(MANY);
    expect([client.counters().reply_limit, server.counters().retransmitted]).toEqual([0, 0]);
  });

  it("PG-127: of segments that belong to nothing, 256 at a time are answered, and the rest is counted", () => {
    const host = createHost(1);
    const segment = {
      ...{ seq: 5, ack: 70, isSyn: false, isAck: true, isFin: false, isRst: false, window: 1 },
      payload: new Uint8Array(0),
    };
    for (let port = 1; port <= MANY; port++) {
      host.handlePacket(NOW, encodeSegment({ ...PEER, port }, OURS, segment));
    }
    let answers = 0;
    while (host.pollPacket() !== undefined) answers++;
    expect([answers, host.counters().reply_limit]).toEqual([256, MANY - 256]);
  });
});
