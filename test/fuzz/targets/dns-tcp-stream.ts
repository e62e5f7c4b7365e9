/**
 * Queries over TCP at a sentinel (DN-90 to DN-94): a connection is there, pieces are what comes on it, answers of servers,
 * and time.
 */
import { createSeededRandom, type Instant, instant, ip } from "../../../src/base/index.ts";
import { createResolver, encodeQuery, type Resolver, TYPE, toName } from "../../../src/dns/index.ts";
import { viewPacket } from "../../../src/packet/index.ts";
import { CONFIG, OWN, SENTINEL } from "../../unit/dns/resolver-world.ts";
import { tcp } from "../../unit/plane/packets.ts";
import { claim, type FuzzTarget, joinPieces, type Piece, piecesOf } from "../target.ts";

const START = instant(1_000_000);
const [SYN, ACK, PSH_ACK, FIN_ACK, RST] = [2, 0x10, 0x18, 0x11, 4];

interface Talk {
  readonly resolver: Resolver;
  now: Instant;
  next: number;
  acknowledged: number;
  answered: number;
  asked: number;
}

export function createTarget(): FuzzTarget {
  const [wiki, other] = [queryOf("wiki.corp", TYPE.A), queryOf("www.example.com", TYPE.TXT)];
  const stream = (...messages: readonly Uint8Array[]): Piece => ({
    kind: 0,
    bytes: Uint8Array.from(
      messages.flatMap((message) => [message.length >> 8, message.length & 255, ...message]),
    ),
  });
  const piece = (kind: number, ...bytes: readonly number[]): Piece => ({
    kind,
    bytes: Uint8Array.from(bytes),
  });
  return {
    seeds: [
      joinPieces(stream(wiki), piece(2, 20)),
      joinPieces(stream(wiki, other, wiki), { kind: 3, bytes: other }, piece(1)),
      joinPieces(piece(0, 0), piece(0, wiki.length), { kind: 0, bytes: wiki }, piece(4)),
    ],
    words: [Uint8Array.of(0, wiki.length), Uint8Array.of(0, 12), Uint8Array.of(0xff, 0xff), wiki, other],
    bytesMax: 2500,
    run(input) {
      const resolver = createResolver({ random: createSeededRandom(1) });
      resolver.configure(START, { ...CONFIG, upstreamDo53: [ip("192.0.2.53")] });
      const talk: Talk = { resolver, now: START, next: 1, acknowledged: 0, answered: 0, asked: 0 };
      say(talk, SYN);
      say(talk, ACK);
      for (const one of piecesOf(input, 40)) take(talk, one);
      let steps = 0;
      for (let due = resolver.pollTimeout(); due !== undefined; due = resolver.pollTimeout()) {
        claim(++steps < 5000, "timers end");
        talk.now = due > talk.now ? due : talk.now;
        resolver.handleTimeout(talk.now);
        drain(talk);
      }
    },
  };
}

function queryOf(name: string, type: number): Uint8Array {
  const parsed = toName(name);
  if (parsed === undefined) throw new Error("a name that is right is read");
  return encodeQuery({ id: 7, name: parsed, type });
}

function take(talk: Talk, { kind, bytes }: Piece): void {
  const { resolver } = talk;
  switch (kind % 5) {
    case 0:
      return say(talk, PSH_ACK, bytes.subarray(0, 1200));
    case 1:
      return say(talk, (bytes[0] ?? 0) > 200 ? RST : FIN_ACK);
    case 2:
      talk.now = instant(talk.now + 100 * (bytes[0] ?? 1));
      resolver.handleTimeout(talk.now);
      return drain(talk);
    case 3:
      resolver.handleDirectResult(talk.now, (bytes[0] ?? 0) & 7, {
        kind: "message",
        message: bytes.slice(1),
      });
      return drain(talk);
    default:
      return say(talk, ACK);
  }
}

function say(talk: Talk, flags: number, payload: Uint8Array = new Uint8Array()): void {
  const packet = tcp(payload, {
    ...{ family: 4, source: OWN.v4, destination: SENTINEL, ports: [40_000, 53], flags },
    ...{ sequence: talk.next >>> 0, acknowledgment: talk.acknowledged >>> 0, window: 0xffff },
  });
  talk.next += payload.length + (flags === SYN || flags === FIN_ACK ? 1 : 0);
  talk.resolver.handlePacket(talk.now, packet);
  drain(talk);
}

function drain(talk: Talk): void {
  const { resolver } = talk;
  while (resolver.pollEvent() !== undefined) claim(++talk.asked < 4000, "questions end");
  for (let packet = resolver.pollPacket(); packet !== undefined; packet = resolver.pollPacket()) {
    claim(++talk.answered < 4000, "answers end");
    const { protocol, transport } = viewPacket(packet);
    if (protocol !== 6) continue;
    const view = new DataView(transport.buffer, transport.byteOffset, transport.length);
    const header = (view.getUint8(12) >> 4) * 4;
    const flags = view.getUint8(13) & 3;
    talk.acknowledged = view.getUint32(4) + transport.length - header + (flags === 0 ? 0 : 1);
  }
}
