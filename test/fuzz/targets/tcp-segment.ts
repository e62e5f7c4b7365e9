/**
 * Our TCP under a sequence of segments (PG-126): pieces are segments to one connection, whose numbers are relative to what
 * it expects, whole frames, and time. What it hands up never exceeds what came, and its timers end.
 */
import { createSeededRandom, type Instant, instant, ip } from "../../../src/base/index.ts";
import { encodeUdp } from "../../../src/packet/index.ts";
import {
  createTcpHost,
  DNS_PROFILE,
  FRAME_BYTES_MAX,
  FULL_PROFILE,
  type TcpHost,
} from "../../../src/tcp/index.ts";
import { tcp } from "../../unit/plane/packets.ts";
import { mendPacket } from "../packet-fields.ts";
import { claim, type FuzzTarget, joinPieces, type Piece, piecesOf } from "../target.ts";

const LOCAL = { address: ip("10.0.0.1"), port: 80 };
const REMOTE = { address: ip("10.0.0.2"), port: 4000 };
const START = instant(1_000_000);
const [SYN, ACK, FIN_ACK, RST] = [2, 0x10, 0x11, 4];

interface Talk {
  readonly host: TcpHost;
  now: Instant;
  /** The next number that the host expects of us, and that we expect of it. */
  next: number;
  expected: number;
  received: number;
  readonly open: Set<number>;
}

export function createTarget(): FuzzTarget {
  const into = new Uint8Array(FRAME_BYTES_MAX);
  const data = (flags: number, ...bytes: readonly number[]): Piece => segment(flags, 0, 0, ...bytes);
  return {
    seeds: [
      joinPieces(data(SYN), data(ACK), data(0x18, 1, 2, 3, 4), data(FIN_ACK), data(ACK)),
      joinPieces(data(SYN), data(ACK), segment(0x18, 4, 0, 5, 6), data(0x18, 1, 2, 3, 4), data(RST)),
      joinPieces(data(SYN), { kind: 2, bytes: Uint8Array.of(10) }, data(ACK), {
        kind: 4,
        bytes: Uint8Array.of(9),
      }),
      joinPieces({ kind: 1, bytes: tcp(new Uint8Array(), { family: 4, flags: SYN }) }),
    ],
    words: [SYN, ACK, FIN_ACK, RST, 0x12, 0x14, 0x18, 0x29].map((flags) => segment(flags, 0, 0).bytes),
    bytesMax: 1500,
    run(input) {
      const host = createTcpHost({
        random: createSeededRandom(1),
        admit: () => "accept",
        profile: input.length % 2 === 0 ? FULL_PROFILE : DNS_PROFILE,
      });
      const talk: Talk = { host, now: START, next: 7000, expected: 0, received: 0, open: new Set() };
      for (const piece of piecesOf(input, 48)) {
        take(talk, piece);
        drain(talk, into);
      }
      finish(talk, into);
    },
  };
}

/** `[flags][sequence, relative i8][acknowledgment, relative i8][window u8 << 8][payload]` */
function segment(
  flags: number,
  sequence: number,
  acknowledgment: number,
  ...bytes: readonly number[]
): Piece {
  return { kind: 0, bytes: Uint8Array.of(flags, sequence, acknowledgment, 255, ...bytes) };
}

function take(talk: Talk, { kind, bytes }: Piece): void {
  const { host, now } = talk;
  const [flags = 0, sequence = 0, acknowledgment = 0, window = 0] = bytes;
  switch (kind % 6) {
    case 0: {
      const payload = bytes.subarray(4);
      const packet = tcp(payload, {
        ...{ family: 4, source: REMOTE.address, destination: LOCAL.address, flags, window: window << 8 },
        ports: [REMOTE.port, LOCAL.port],
        sequence: (talk.next + ((sequence << 24) >> 24)) >>> 0,
        acknowledgment: (talk.expected + ((acknowledgment << 24) >> 24)) >>> 0,
      });
      if (sequence === 0) talk.next += payload.length + ((flags & SYN) >> 1) + (flags & 1);
      return host.handlePacket(now, packet);
    }
    case 1:
      return host.handleFrame(now, Uint8Array.from([...new Uint8Array(10), ...mendPacket(bytes)]));
    case 2:
      talk.now = instant(now + 100 * flags);
      return host.handleTimeout(talk.now);
    case 3: {
      const error = encodeUdp(REMOTE, LOCAL, bytes);
      if (error.ok) host.handleIcmp(now, error.value);
      return host.handlePacket(now, mendPacket(bytes));
    }
    case 4:
      for (const id of talk.open) host.send(now, id, bytes.slice());
      return;
    default:
      for (const id of talk.open) {
        if (flags < 128) host.end(now, id);
        else if (flags < 160) host.abort(now, id);
        else host.take(now, id, sequence);
      }
  }
}

function drain(talk: Talk, into: Uint8Array): void {
  const { host } = talk;
  for (let event = host.pollEvent(); event !== undefined; event = host.pollEvent()) {
    if (event.kind === "opened") talk.open.add(event.id);
    if (event.kind === "closed") talk.open.delete(event.id);
    if (event.kind === "data") talk.received += event.bytes.length;
  }
  for (let sent = host.pollPacket(); sent !== undefined; sent = host.pollPacket()) {
    const view = new DataView(sent.buffer, sent.byteOffset, sent.length);
    claim(sent.length <= 1280, "a packet is no longer than the MTU");
    if (sent.length >= 40) talk.expected = (view.getUint32(24) + ((sent[33] ?? 0) & 3 ? 1 : 0)) >>> 0;
  }
  claim(host.pollFrame(into) === 0, "packets that were polled are not there again as frames");
}

function finish(talk: Talk, into: Uint8Array): void {
  const { host } = talk;
  claim(talk.received <= 4096, "no more is handed up than came");
  for (let steps = 0; ; steps++) {
    for (const id of talk.open) host.abort(talk.now, id);
    drain(talk, into);
    const due = host.pollTimeout();
    if (due === undefined) break;
    claim(due > talk.now, "no wake in the past");
    claim(steps < 500, "timers end");
    talk.now = due;
    host.handleTimeout(due);
  }
  claim(host.count() === 0, "nothing stays");
}
