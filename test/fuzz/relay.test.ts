/**
 * Storms on the relay's workers: anything at all comes from clients and peers, while bindings come and go, and
 * each datagram must have the fate that the twin writes down for it (RL-42 to RL-47, D-4).
 */

import { describe, expect, it } from "vitest";
import { REASONS, type Reason } from "../../bindings/memory/index.ts";
import type { WorkerCounters } from "../../bindings/worker/index.ts";
import { concatBytes, type IpAddress, ip, type SocketAddress } from "../../src/base/index.ts";
import type { RelayBinding } from "../../src/plane/index.ts";
import fc from "../lib/property.ts";
import { type Fate, fromClient, fromPeer } from "../twin/relay/relay.ts";
import {
  type Arrival,
  createRelayBench,
  FD,
  fdOf,
  type RelayBench,
  type Sent,
} from "../unit/plane/relay-kernel.ts";

const OWN: readonly IpAddress[] = [ip("198.51.100.7"), ip("2001:db8::7")];
const CLIENTS: readonly SocketAddress[] = [
  { address: ip("192.0.2.1"), port: 1000 },
  { address: ip("192.0.2.1"), port: 1001 },
  { address: ip("2001:db8:1::1"), port: 1000 },
  // As IPv4 would lie in memory, with zeros behind.
  { address: ip("c000:201::"), port: 1000 },
];
const PORTS = [50_000, 50_001, 50_002, 50_003];
const PEERS: readonly SocketAddress[] = [
  { address: ip("203.0.113.9"), port: 7 },
  { address: ip("203.0.113.9"), port: 8 },
  { address: ip("2001:db8:9::9"), port: 7 },
  ...OWN.flatMap((address) => PORTS.map((port) => ({ address, port }))),
];

const index = fc.nat({ max: 1_000_000 });
const pick = <T>(list: readonly T[], i: number): T => list[i % list.length] as T;

interface Change {
  readonly isRemoval: boolean;
  readonly client: number;
  readonly channel: number;
  readonly peer: number;
  readonly hasLocal: boolean;
}

const change: fc.Arbitrary<Change> = fc.record({
  isRemoval: fc.boolean(),
  client: fc.nat(3),
  channel: fc.nat(4),
  peer: fc.nat(PEERS.length - 1),
  hasLocal: fc.boolean(),
});

/** A binding; the client's allocation port follows from the client, as it does in the machine. */
function toBinding({ client, channel, peer, hasLocal }: Change): RelayBinding {
  const to = pick(PEERS, peer);
  const from = pick(CLIENTS, client);
  return {
    client: from,
    channel: 0x4000 + channel,
    port: pick(PORTS, client),
    peer: to,
    isHairpin: OWN.some((own) => own === to.address),
    ...(hasLocal && { local: pick(OWN, from.address.length === 4 ? 0 : 1) }),
  };
}

/** Bytes that begin like something, or like nothing. */
const piece: fc.Arbitrary<Uint8Array> = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(fc.nat(5), fc.nat(60), fc.integer({ min: -2, max: 5 })).map(dataPiece) },
  { weight: 1, arbitrary: fc.tuple(fc.nat(5), fc.constantFrom(511, 512, 1200)).map(sizeCheckPiece) },
  { weight: 1, arbitrary: fc.uint8Array({ minLength: 0, maxLength: 40 }) },
  {
    weight: 1,
    arbitrary: fc.uint8Array({ minLength: 20, maxLength: 60 }).map((bytes) => bytes.fill(0, 0, 1)),
  },
);

function dataPiece([channel, length, lie]: readonly [number, number, number]): Uint8Array {
  const claimed = Math.max(0, length + Math.min(0, lie));
  const header = Uint8Array.of(0x40, channel, claimed >> 8, claimed & 0xff);
  return concatBytes(header, new Uint8Array(length).fill(channel + length), new Uint8Array(Math.max(0, lie)));
}

/** In channel data; what peers send begins with the channel's number, and is none. */
function sizeCheckPiece([channel, length]: readonly [number, number]): Uint8Array {
  const check = new Uint8Array(length);
  check.set([0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42]);
  if (channel === 5) return check;
  return concatBytes(Uint8Array.of(0x40, channel, length >> 8, length & 0xff), check);
}

interface Train {
  readonly from: number;
  readonly ecn: number;
  readonly pieces: readonly Uint8Array[];
  /** How often the first piece is repeated: a run as bulk transfers have it. */
  readonly repeat: number;
}

const trainOf: fc.Arbitrary<Train> = fc.record({
  from: index,
  ecn: fc.constantFrom(0, 0, 0, 1, 3),
  pieces: fc.array(piece, { minLength: 1, maxLength: 4 }),
  repeat: fc.constantFrom(1, 1, 2, 70),
});

type Step =
  | { readonly kind: "change"; readonly change: Change }
  | { readonly kind: "clients"; readonly trains: readonly Train[] }
  | { readonly kind: "peers"; readonly port: number; readonly trains: readonly Train[] };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant("change" as const), change }),
  fc.record({ kind: fc.constant("clients" as const), trains: fc.array(trainOf, { maxLength: 5 }) }),
  fc.record({
    kind: fc.constant("peers" as const),
    port: fc.nat(4),
    trains: fc.array(trainOf, { maxLength: 5 }),
  }),
);

/** What the kernel joins at most. */
const TRAIN_BYTES_MAX = 65_535;

/** Pieces of one length are a train, as GRO makes it; others come one by one. */
function toArrivals(train: Train, from: SocketAddress): readonly Arrival[] {
  const [first = new Uint8Array(), ...rest] = train.pieces;
  const common = { from, ...(train.ecn !== 0 && { ecn: train.ecn }) };
  const most = Math.floor(TRAIN_BYTES_MAX / Math.max(1, first.length));
  const run = Array.from({ length: Math.min(train.repeat, most) }, () => first);
  const left = Math.min(first.length - 1, TRAIN_BYTES_MAX - run.length * first.length);
  const tail = rest[0] !== undefined && rest[0].length > 0 && rest[0].length <= left ? [rest[0]] : [];
  const joined = [...run, ...tail];
  const isTrain = joined.length > 1 && first.length > 0;
  return [
    isTrain
      ? { ...common, bytes: concatBytes(...joined), stride: first.length }
      : { ...common, bytes: first },
    ...rest.slice(tail.length).map((bytes) => ({ ...common, bytes })),
  ];
}

function datagramsOf({ from, bytes, stride = bytes.length, ecn = 0 }: Arrival) {
  const count = bytes.length === 0 ? 1 : Math.ceil(bytes.length / stride);
  return Array.from({ length: count }, (_, i) => ({
    from,
    ecn,
    bytes: bytes.subarray(i * stride, (i + 1) * stride),
  }));
}

/** What was sent, datagram by datagram. */
function flat(sends: readonly Sent[]) {
  return sends.flatMap(({ bytes, segment = bytes.length, ...rest }) =>
    Array.from({ length: Math.max(1, Math.ceil(bytes.length / Math.max(1, segment))) }, (_, i) => ({
      ...rest,
      bytes: bytes.subarray(i * segment, (i + 1) * segment),
    })),
  );
}

function expectedOf(fates: readonly Fate[]) {
  return fates.flatMap((fate) => {
    if (fate.kind !== "sent") return [];
    const { to, via, bytes, ecn, source, isWhole } = fate;
    const isV4 = to.address.length === 4;
    const listening = isV4 ? FD.listen4 : FD.listen6;
    return [
      { fd: via === "listening" ? listening : fdOf(via, isV4 ? 4 : 6), to, bytes, ecn, source, isWhole },
    ];
  });
}

function checkLaw(worker: WorkerCounters, fates: readonly Fate[]): void {
  const { packets_in, packets_passed, packets_punted } = worker.counters;
  const dropped = Object.entries(worker.drops);
  // The keys of a table of reasons.
  expect(dropped.every(([reason]) => REASONS[reason as Reason].stage === "path")).toBe(true);
  expect(packets_passed + packets_punted + dropped.reduce((sum, [, n]) => sum + n, 0)).toBe(packets_in);
  expect(packets_in).toBe(fates.length);
  const expected = new Map<string, number>();
  for (const fate of fates) {
    if (fate.kind === "dropped") expected.set(fate.reason, (expected.get(fate.reason) ?? 0) + 1);
  }
  expect(new Map(dropped)).toEqual(expected);
}

interface Storm {
  readonly bench: RelayBench;
  readonly bindings: RelayBinding[];
  readonly ofClients: Fate[];
  readonly ofPeers: Fate[];
}

/** The machine lets neither a channel nor a peer of a client be bound twice. */
function apply({ bench, bindings }: Storm, wish: Change): void {
  const next = toBinding(wish);
  const same = bindings.findIndex((one) => one.client === next.client && one.channel === next.channel);
  if (wish.isRemoval) {
    const [gone] = same < 0 ? [] : bindings.splice(same, 1);
    if (gone !== undefined) bench.table.remove(gone);
    return;
  }
  if (same >= 0 || bindings.some((one) => one.client === next.client && one.peer === next.peer)) return;
  bindings.push(next);
  bench.publish(next);
}

function take(storm: Storm, one: Step): void {
  const { bench, bindings } = storm;
  if (one.kind === "change") return apply(storm, one.change);
  if (one.kind === "clients") {
    const arrivals = one.trains.flatMap((train) => toArrivals(train, pick(CLIENTS, train.from)));
    // The worker reads the families in turn, each to its end.
    const v4 = arrivals.filter(({ from }) => from.address.length === 4);
    const v6 = arrivals.filter(({ from }) => from.address.length === 16);
    for (const family of [v4, v6]) {
      const fates = family.flatMap(datagramsOf).map((datagram) => fromClient(bindings, datagram));
      expect(flat(bench.fromClients(...family))).toEqual(expectedOf(fates));
      const punted = bench.punts().map((event) => ("bytes" in event ? event.bytes : undefined));
      expect(punted).toEqual(fates.flatMap((fate) => (fate.kind === "punted" ? [fate.bytes] : [])));
      storm.ofClients.push(...fates);
    }
    return;
  }
  const port = 50_000 + one.port;
  for (const train of one.trains) {
    const arrivals = toArrivals(train, pick(PEERS, train.from));
    const fates = arrivals.flatMap(datagramsOf).map((datagram) => fromPeer(bindings, port, datagram));
    expect(flat(bench.fromPeers(port, ...arrivals))).toEqual(expectedOf(fates));
    storm.ofPeers.push(...fates);
  }
}

describe("storms on the relay's data path", () => {
  it("RL-42, RL-43, RL-45, RL-49: every datagram has the fate that the twin writes down", () => {
    const seen = new Set<string>();
    fc.assert(
      fc.property(fc.array(step, { minLength: 5, maxLength: 60 }), (steps) => {
        const storm: Storm = { bench: createRelayBench(), bindings: [], ofClients: [], ofPeers: [] };
        for (const one of steps) take(storm, one);
        checkLaw(storm.bench.client(), storm.ofClients);
        checkLaw(storm.bench.peer(), storm.ofPeers);
        for (const fate of [...storm.ofClients, ...storm.ofPeers]) {
          seen.add(fate.kind === "dropped" ? fate.reason : fate.kind);
          if (fate.kind === "sent" && fate.via === "listening") seen.add("to a client");
        }
      }),
      { numRuns: 40 },
    );
    // A storm that never comes by proves nothing.
    expect([...seen].sort()).toEqual([
      "punted",
      "relay_channel_length",
      "relay_no_binding",
      "relay_no_channel",
      "relay_unknown",
      "sent",
      "to a client",
    ]);
  }, 60_000);
});
