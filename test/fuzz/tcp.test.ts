/**
 * Anything at all comes for a connection, in any order with what its application does and time does (TS-42,
 * `tcp-segment`). Nothing throws, no octet is delivered that the peer did not send there, what is sent can be read, and
 * the books of the connection are right after every step.
 */
import { describe, it } from "vitest";
import { createSeededRandom, instant, ip, type SocketAddress } from "../../src/base/index.ts";
import { checksumAdd, parsePacket, pseudoHeaderSum } from "../../src/packet/index.ts";
import { type Connection, firstReceived, firstSent } from "../../src/tcp/connection.ts";
import { encodeSegment } from "../../src/tcp/encode.ts";
import { faceOf } from "../../src/tcp/host.ts";
import { createHostState, type HostState } from "../../src/tcp/host-state.ts";
import { DNS_PROFILE, FRAME_BYTES_MAX, FULL_PROFILE, type TcpHost } from "../../src/tcp/index.ts";
import { parseSegment, type Segment } from "../../src/tcp/segment.ts";
import { plus } from "../../src/tcp/sequence.ts";
import { splitFrame } from "../twin/plane/split.ts";
import { type Chance, fuzz, fuzzOptions } from "./chance.ts";
import { mutateBytes } from "./mutation.ts";

const OURS: SocketAddress = { address: ip("100.64.0.5"), port: 80 };
const PEER: SocketAddress = { address: ip("100.64.0.6"), port: 40_000 };
const PEER_ISN = 0xffff_f000;
const STEPS = 60;
const FRAMES_MAX = 5_000;
const VNET_BYTES = 10;
const EDGES = [-70_000, -2, -1, 0, 0, 0, 1, 2, 1_228, 2_456, 65_535, 65_536, 1_048_576] as const;

interface Game {
  readonly chance: Chance;
  readonly state: HostState;
  readonly host: TcpHost;
  /** Segments are changed behind their checksums: then nobody knows which octets are right. */
  readonly isMutating: boolean;
  now: number;
  /** Offset of the next octet that is to be delivered. */
  delivered: number;
  id: number;
  into: Uint8Array;
}

/** Octets that the peer has at each offset, whichever segment carries them. */
const PERIOD = 65_521;
const PATTERN = Buffer.from(
  Uint8Array.from({ length: 2 * PERIOD }, (_, i) => ((i % PERIOD) * 7 + ((i % PERIOD) >> 9)) & 0xff),
);
const octetsAt = (offset: number, length: number): Buffer => {
  const at = ((offset % PERIOD) + PERIOD) % PERIOD;
  return PATTERN.subarray(at, at + length);
};

function createGame(chance: Chance): Game {
  const profile = chance.pick([
    FULL_PROFILE,
    FULL_PROFILE,
    DNS_PROFILE,
    { ...FULL_PROFILE, receiveBufferBytes: 70_000, sendBufferBytes: 10_000, outOfOrderMax: 3 },
  ]);
  const random = createSeededRandom(chance.below(1 << 30));
  const state = createHostState({ random, admit: () => "accept", profile, mtu: 1_280 });
  const into = new Uint8Array(FRAME_BYTES_MAX);
  return {
    chance,
    state,
    host: faceOf(state),
    isMutating: chance.isOneIn(3),
    now: 5_000,
    delivered: 0,
    id: 1,
    into,
  };
}

const connectionOf = ({ state }: Game): Connection | undefined => {
  for (const { connection } of state.byId.values()) return connection;
  return undefined;
};

function step(game: Game): void {
  const { chance, host } = game;
  const now = instant(game.now);
  switch (chance.below(12)) {
    case 0:
      host.send(now, game.id, new Uint8Array(chance.pick([1, 100, 1_228, 5_000, 200_000])));
      break;
    case 1:
      host.take(now, game.id, chance.pick([1, 1_000, 70_000]));
      break;
    case 2:
      if (chance.isOneIn(6)) host.end(now, game.id);
      else host.keepAlive(now, game.id, chance.pick([undefined, 1, 5_000]));
      break;
    case 3:
      if (chance.isOneIn(40)) host.abort(now, game.id);
      break;
    case 4:
      game.now += chance.pick([0, 1, 3, 40, 200, 1_000]);
      break;
    case 5:
      passToDeadline(game);
      break;
    default: {
      const frame = frameOf(encodeSegment(PEER, OURS, segmentOf(game)), chance);
      host.handleFrame(now, game.isMutating && chance.isOneIn(3) ? mutateBytes(chance, frame) : frame);
    }
  }
  hear(game);
  if (!chance.isOneIn(4)) drain(game);
  check(game);
}

function passToDeadline(game: Game): void {
  const due = game.host.pollTimeout();
  if (due === undefined) return;
  game.now = Math.max(game.now, due);
  game.host.handleTimeout(instant(game.now));
  drain(game);
  const next = game.host.pollTimeout();
  if (next !== undefined && next <= game.now) throw new Error(`the poll law: ${next} at ${game.now}`);
}

/** Sometimes with what says that the checksum has been verified. */
function frameOf(packet: Uint8Array, chance: Chance): Uint8Array {
  const frame = new Uint8Array(VNET_BYTES + packet.length);
  frame[0] = chance.pick([0, 0, 1, 2]);
  if (chance.isOneIn(3)) {
    frame[1] = 1;
    new DataView(frame.buffer).setUint16(4, chance.pick([0, 1, 500, 1_228, 65_535]), true);
  }
  frame.set(packet, VNET_BYTES);
  return frame;
}

/** What might come from the peer, from a forger, or from a connection long ago. */
function segmentOf(game: Game): Segment {
  const { chance } = game;
  const connection = connectionOf(game);
  if (connection === undefined || chance.isOneIn(30)) return opening(chance);
  const { sender, receiver } = connection;
  const start = receiver.nxt + chance.pick(EDGES) * (chance.isOneIn(2) ? 1 : 0);
  const length = chance.pick([0, 0, 1, 100, 1_228, 2_456, chance.below(60_000)]);
  const ours = firstSent(connection);
  const ack = chance.pick([
    sender.una,
    sender.nxt,
    sender.nxt,
    sender.una + chance.below(sender.nxt - sender.una + 1),
    sender.una + chance.pick(EDGES),
  ]);
  const block = () => {
    const from = sender.una + chance.below(sender.nxt - sender.una + 2) - (chance.isOneIn(5) ? 3_000 : 0);
    return { start: plus(ours, from), end: plus(ours, from + chance.pick([0, 1, 700, 1_228, 20_000])) };
  };
  return {
    seq: plus(firstReceived(connection), start),
    ack: plus(ours, ack),
    isSyn: chance.isOneIn(40) || (connection.state === "syn-sent" && chance.isOneIn(2)),
    isAck: !chance.isOneIn(30),
    isFin: chance.isOneIn(40),
    isRst: chance.isOneIn(60),
    window: chance.pick([0, 0, 1, 500, 2_000, 65_535]),
    ...(!chance.isOneIn(40) &&
      connection.hasTimestamps && {
        timestamp: {
          value: chance.pick([receiver.timestamp, receiver.timestamp, plus(receiver.timestamp, 5), 1]),
          echo: plus(connection.timestampOffset, game.now - chance.pick([0, 0, 50, 5_000])),
        },
      }),
    ...(chance.isOneIn(2) && { sacks: Array.from({ length: 1 + chance.below(3) }, block) }),
    payload: octetsAt(start, length),
  };
}

function opening(chance: Chance): Segment {
  return {
    ...{ seq: PEER_ISN, ack: 0, isSyn: true, isAck: false, isFin: false, isRst: false },
    window: chance.pick([0, 1_000, 65_535]),
    ...(chance.isOneIn(2) && { mss: chance.pick([0, 88, 536, 1_240, 65_535]) }),
    ...(chance.isOneIn(2) && { windowShift: chance.pick([0, 7, 14, 255]) }),
    ...(!chance.isOneIn(3) && { isSackPermitted: true }),
    ...(!chance.isOneIn(3) && { timestamp: { value: 7, echo: 0 } }),
    payload: new Uint8Array(0),
  };
}

function hear(game: Game): void {
  for (let event = game.host.pollEvent(); event !== undefined; event = game.host.pollEvent()) {
    if (event.kind === "opened") Object.assign(game, { id: event.id, delivered: 0 });
    if (event.kind !== "data") continue;
    const { bytes } = event;
    if (game.isMutating) continue;
    if (octetsAt(game.delivered, bytes.length).compare(bytes) !== 0) {
      throw new Error(`wrong octets behind ${game.delivered}`);
    }
    game.delivered += bytes.length;
  }
}

/** Everything that is sent can be split, and has a right checksum. */
function drain(game: Game): void {
  const { host, chance, into } = game;
  const isSuper = chance.isOneIn(2);
  for (let count = 0; ; count++) {
    if (count > FRAMES_MAX) throw new Error("it sends without end");
    if (!isSuper) {
      const packet = host.pollPacket();
      if (packet === undefined) return;
      read(packet);
      continue;
    }
    const length = host.pollFrame(into);
    if (length === 0) return;
    const split = splitFrame(into.slice(0, length), { limitBytes: 1_280, mode: "strict" });
    if (!split.ok) throw new Error(split.reason);
    for (const packet of split.value) read(packet);
  }
}

function read(packet: Uint8Array): void {
  const found = parsePacket(packet, { limitBytes: 1_280, mode: "strict" });
  if (!found.ok) throw new Error(found.reason);
  const transport = packet.subarray(found.value.transportOffset);
  const pseudo = { source: packet.subarray(12, 16), destination: packet.subarray(16, 20), protocol: 6 };
  const sum = checksumAdd(transport, pseudoHeaderSum({ ...pseudo, lengthBytes: transport.length }));
  if (sum !== 0xffff) throw new Error("a wrong checksum");
  const segment = parseSegment({ transport });
  if (!segment.ok) throw new Error(segment.reason);
}

/** The books: what is under way lies between una and nxt without gaps, what waits is in order and bounded. */
function check(game: Game): void {
  for (const { connection } of game.state.byId.values()) {
    const { sender, receiver, profile } = connection;
    const { sent, una, nxt, queue } = sender;
    const sums = { flying: 0, lost: 0, sacked: 0 };
    let at = una;
    for (const { start, end, state } of sent.list) {
      if (start !== at || end <= start) throw new Error(`ranges: ${start} to ${end} at ${at}`);
      sums[state] += end - start;
      at = end;
    }
    const { flying, lost, sacked } = sent;
    wants(at === nxt && sums.flying === flying && sums.lost === lost && sums.sacked === sacked, "sums");
    wants(queue.end - queue.start <= sender.bufferBytes && nxt <= queue.end + 1, "the send queue");
    wants(isBetween(sender.bufferBytes, profile.sendBufferBytes, profile.sendBufferMostBytes), "its room");
    wants(receiver.edge >= receiver.nxt, "the edge of the window");
    wants(receiver.unread <= receiver.bufferBytes + 256, "what waits to be read");
    wants(
      isBetween(receiver.bufferBytes, profile.receiveBufferBytes, profile.receiveBufferMostBytes),
      "room for it",
    );
    const { runs, pieces } = receiver.reassembly;
    let last = receiver.nxt;
    for (const run of runs) {
      wants(run.start > last && run.end > run.start, `the run from ${run.start}, behind ${last}`);
      last = run.end;
    }
    wants(
      last <= receiver.edge && runs.reduce((sum, run) => sum + run.pieces.length, 0) === pieces,
      "pieces",
    );
    wants(sender.congestion.windowBytes > 0 && Number.isFinite(sender.rtt.rtoMs), "window and time-out");
  }
}

function isBetween(value: number, least: number, most: number = least): boolean {
  return value >= least && value <= Math.max(least, most);
}

function wants(isRight: boolean, what: string): void {
  if (!isRight) throw new Error(`not right: ${what}`);
}

describe("segments of any kind for one connection", () => {
  it("TS-42, PG-127: nothing throws, no wrong octet is delivered, and the books are right", () => {
    fuzz(fuzzOptions({ seed: 1, rounds: 150 }), (chance) => {
      const game = createGame(chance);
      if (chance.isOneIn(3)) game.id = game.host.connect(instant(game.now), OURS, PEER) ?? 0;
      for (let i = 0; i < STEPS; i++) step(game);
      // Left alone it comes to rest, or goes on at its pace.
      for (let i = 0; i < 50; i++) passToDeadline(game);
      check(game);
    });
  });
});
