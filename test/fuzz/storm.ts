/**
 * A storm: some thousand hostile inputs to one plane, each compared with what the models say must become
 * of it. In the end the law holds, the memory's guards are whole, and honest packets pass.
 */
import { isDeepStrictEqual } from "node:util";
import type { Reason } from "../../bindings/memory/index.ts";
import type { Plane, PlaneMode, PlaneSend } from "../../bindings/plane/index.ts";
import { type Instant, instant, toHex } from "../../src/base/index.ts";
import { parsePacket } from "../../src/packet/index.ts";
import { openMessage } from "../twin/plane/message.ts";
import { splitFrame } from "../twin/plane/split.ts";
import { datagramsOf } from "../unit/plane/pair.ts";
import type { Chance } from "./chance.ts";
import { createDatagramSource, type DatagramSource } from "./datagrams.ts";
import { createEgressModel, type EgressModel, type ExpectedSeal } from "./egress-model.ts";
import { createFrameSource, type FrameSource } from "./frames.ts";
import { createIngressModel, type IngressModel } from "./ingress-model.ts";
import { createMemoryGuard, type MemoryGuard } from "./memory-guard.ts";
import { createPeerModel, type PeerModel } from "./peer-model.ts";
import { createPlaneWorld, ENDPOINT, OWN, type PlaneWorld, START } from "./plane-world.ts";
import { createWorkerModel, type WorkerModel } from "./worker-model.ts";

export interface StormReport {
  /** How often each reason occurred, over both workers. */
  readonly drops: ReadonlyMap<Reason, number>;
  readonly passed: number;
  readonly inputs: number;
}

interface Storm {
  readonly chance: Chance;
  readonly world: PlaneWorld;
  readonly peers: readonly PeerModel[];
  readonly workers: { readonly egress: WorkerModel; readonly ingress: WorkerModel };
  readonly ingress: IngressModel;
  readonly egress: EgressModel;
  readonly datagrams: DatagramSource;
  readonly frames: FrameSource;
  readonly guard: MemoryGuard;
  now: Instant;
  /** What left the frame under construction open. */
  expectedPackets: Uint8Array[];
  receivedFrames: Uint8Array[];
}

/** @throws Error that names the input's number and what differed */
export function runStorm(chance: Chance, mode: PlaneMode, inputs: number): StormReport {
  const storm = createStorm(chance, mode);
  for (let i = 0; i < inputs; i++) {
    try {
      step(storm);
    } catch (cause) {
      const what = cause instanceof Error ? cause.message : String(cause);
      throw new Error(`mode ${mode}, input ${i}: ${what}`, { cause });
    }
  }
  drainRings(storm, Number.POSITIVE_INFINITY);
  proveAlive(storm);
  storm.guard.checkAll();
  checkCounters(storm);
  return reportOf(storm, inputs);
}

function createStorm(chance: Chance, mode: PlaneMode): Storm {
  const world = createPlaneWorld(mode);
  const peers = world.peers.map(createPeerModel);
  const workers = { egress: createWorkerModel(), ingress: createWorkerModel() };
  return {
    chance,
    world,
    peers,
    workers,
    ingress: createIngressModel({ world, peers, worker: workers.ingress }),
    egress: createEgressModel({ world, peers, worker: workers.egress }),
    datagrams: createDatagramSource(chance, world),
    frames: createFrameSource(chance, world),
    guard: createMemoryGuard(world.plane.memory),
    now: START,
    expectedPackets: [],
    receivedFrames: [],
  };
}

function step(storm: Storm): void {
  const { chance } = storm;
  storm.now = instant(storm.now + chance.pick([0, 0, 1, 3, 40, chance.isOneIn(10) ? 700 : 0]));
  const what = chance.below(16);
  if (what < 9) receiveBatch(storm);
  else if (what < 14) readFrame(storm);
  else act(storm);
  if (chance.isOneIn(8)) drainRings(storm, chance.pick([1, 7, 500, 3000]));
}

function receiveBatch(storm: Storm): void {
  const { chance, world, ingress, guard } = storm;
  const batch = storm.datagrams.batch();
  guard.refresh();
  storm.expectedPackets.push(...ingress.receive(storm.now, batch));
  storm.receivedFrames.push(...world.plane.drive.ingress(storm.now, batch));
  guard.checkBatch(ingress.accepted);
  if (chance.isOneIn(2)) flushIngress(storm);
  checkActivity(storm);
}

/** What came out must be what the model let pass, in its order. */
function flushIngress(storm: Storm): void {
  storm.receivedFrames.push(...storm.world.plane.drive.flushIngress(storm.now));
  const received = storm.receivedFrames.flatMap(packetsOf);
  const expected = storm.expectedPackets;
  storm.receivedFrames = [];
  storm.expectedPackets = [];
  if (received.length !== expected.length) {
    throw new Error(`${received.length} packets came out, not ${expected.length}`);
  }
  for (const [i, packet] of expected.entries()) {
    const got = received[i] ?? new Uint8Array();
    if (!isSame(canonical(packet), canonical(got))) {
      throw new Error(`packet ${i} came out as ${toHex(got)}, not ${toHex(packet)}`);
    }
  }
}

function packetsOf(frame: Uint8Array): readonly Uint8Array[] {
  const packets = splitFrame(frame, { limitBytes: 65_535, mode: "plain" });
  if (!packets.ok) throw new Error(`an unreadable frame (${packets.reason}): ${toHex(frame)}`);
  return packets.value;
}

/** Without what joining may change: IPv4 identification, TCP window, and the sums over them (PF-57). */
function canonical(packet: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(packet);
  const found = parsePacket(packet, { limitBytes: 65_535, mode: "plain" });
  if (!found.ok) throw new Error(`a packet came out that is none: ${found.reason}`);
  const { family, protocol, transportOffset, isFragment } = found.value;
  if (family === 4) {
    copy.fill(0, 4, 6);
    copy.fill(0, 10, 12);
  }
  if (protocol === 6 && !isFragment) copy.fill(0, transportOffset + 14, transportOffset + 18);
  return copy;
}

function readFrame(storm: Storm): void {
  const { world, egress } = storm;
  const { drive } = world.plane;
  const frame = storm.frames.frame();
  const expected = [...egress.read(storm.now, frame), ...egress.takeInjected(storm.now)];
  checkSends(storm, expected, [...drive.egress(storm.now, frame), ...drive.flushEgress(storm.now)]);
}

/** Every packet that must leave does, in order, sealed for its session with a counter of its own. */
function checkSends(storm: Storm, expected: readonly ExpectedSeal[], sends: readonly PlaneSend[]): void {
  const datagrams = sends.flatMap((send) => datagramsOf(send).map((bytes) => ({ send, bytes })));
  if (datagrams.length !== expected.length) {
    throw new Error(`${datagrams.length} datagrams left, not ${expected.length}`);
  }
  for (const [i, { peer, session, packet }] of expected.entries()) {
    const datagram = datagrams[i];
    if (datagram === undefined) return;
    checkRoute(peer, datagram.send);
    const headRoom = peer.path?.headRoom ?? 0;
    const { index, counter, text } = openMessage(session.keys.sendKey, datagram.bytes.subarray(headRoom));
    if (index !== session.keys.remote) throw new Error(`sealed for index ${index}`);
    if (counter <= session.sent) throw new Error(`counter ${counter} came after ${session.sent}`);
    session.sent = counter;
    checkText(storm.world, packet, text);
  }
  for (const send of sends) {
    if (send.bytes.length > send.segmentBytes * 64 || send.bytes.length > 65_450) {
      throw new Error(`a send of ${send.bytes.length} bytes in pieces of ${send.segmentBytes}`);
    }
  }
}

function checkRoute({ world, path }: PeerModel, send: PlaneSend): void {
  const { destination } = path ?? {};
  const isRight =
    send.slot === world.slot &&
    destination !== undefined &&
    isSame(destination.address, send.to.address) &&
    destination.port === send.to.port;
  if (!isRight) throw new Error(`a packet for ${world.name} was sent elsewhere`);
}

/** The packet, and behind it zeros up to 16 bytes but not beyond the MTU, where packets are padded. */
function checkText({ mode, mtu }: PlaneWorld, packet: Uint8Array, text: Uint8Array): void {
  const padded = Math.max(packet.length, Math.min(Math.ceil(packet.length / 16) * 16, mtu));
  const length = mode === "plain" ? padded : packet.length;
  const isRight = text.length === length && text.subarray(packet.length).every((byte) => byte === 0);
  if (isRight && isSame(text.subarray(0, packet.length), packet)) return;
  throw new Error(`sealed ${toHex(text)} for ${toHex(packet)}`);
}

/** Control does something of its own: releases what waits, watches, loses a path or finds one. */
function act(storm: Storm): void {
  const { chance, world, peers, egress } = storm;
  const { plane } = world;
  const peer = chance.pick(peers);
  const { slot } = peer.world;
  switch (chance.below(5)) {
    case 0:
      // Only when nothing that was punted before is still in the ring: it would be overtaken (WG-46).
      if (peer.punted === peer.taken) peer.isHeld = false;
      plane.execute({ kind: "release", slot, handled: peer.taken });
      return;
    case 1:
      peer.isWatched = true;
      plane.execute({ kind: "arm-watch", slot });
      return;
    case 2:
    case 3: {
      const path = chance.isOneIn(2) ? { ...peer.world.path, isBroken: true } : peer.world.path;
      // Bob never gets one: there is nobody at the other end.
      if (path === undefined || peer.world.path === undefined) return;
      peer.path = { ...peer.world.path, isBroken: path.isBroken };
      plane.execute({ kind: "set-path", slot, path: peer.path });
      return;
    }
    default: {
      const packets = Array.from({ length: chance.below(4) }, () => storm.datagrams.honest().packet);
      egress.inject(peer, packets);
      plane.execute({ kind: "inject", slot, packets });
      checkSends(storm, egress.takeInjected(storm.now), plane.drive.flushEgress(storm.now));
    }
  }
}

/** Control takes what is in the rings: exactly what the models put there, in its order. */
function drainRings(storm: Storm, limit: number): void {
  const { plane } = storm.world;
  const { egress, ingress } = storm.workers;
  const events = [...egress.control.drain(limit), ...ingress.control.drain(limit)];
  compare("events", plane.takeEvents(limit), events);
  const punts = [...egress.data.drain(limit), ...ingress.data.drain(limit)];
  compare("punts", plane.takePunts(limit), punts);
  for (const peer of storm.peers) {
    const { slot } = peer.world;
    if (events.some((event) => event.kind === "roamed" && event.slot === slot)) peer.isRoaming = false;
    peer.taken += punts.filter((punt) => punt.reason === "no-session" && punt.slot === slot).length;
  }
}

function compare<T>(what: string, got: readonly T[], expected: readonly T[]): void {
  if (got.length !== expected.length) throw new Error(`${got.length} ${what}, not ${expected.length}`);
  for (const [i, item] of expected.entries()) {
    if (isDeepStrictEqual(got[i], item)) continue;
    throw new Error(`${what} ${i}: ${describe(got[i])}, not ${describe(item)}`);
  }
}

/** Fields in a fixed order, bytes as digits. */
function describe(value: unknown): string {
  if (value instanceof Uint8Array) return toHex(value);
  if (typeof value !== "object" || value === null) return String(value);
  const fields = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${fields.map(([name, field]) => `${name}: ${describe(field)}`).join(", ")}}`;
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

function checkActivity({ world, peers }: Storm): void {
  for (const peer of peers) {
    const got = world.plane.records.activity(peer.world.slot);
    for (const name of ["recvAny", "recvData", "rxPackets", "rxBytes"] as const) {
      if (got[name] === peer.activity[name]) continue;
      throw new Error(`${peer.world.name}: ${name} is ${got[name]}, not ${peer.activity[name]}`);
    }
  }
}

/** After the storm honest packets pass in both directions. */
function proveAlive(storm: Storm): void {
  const { world, ingress } = storm;
  flushIngress(storm);
  const { message } = storm.datagrams.honest();
  const batch = { from: ENDPOINT, local: OWN.address, bytes: message };
  const expected = ingress.receive(storm.now, batch);
  if (expected.length !== 1) throw new Error("the model lets an honest message pass");
  storm.expectedPackets.push(...expected);
  storm.receivedFrames.push(...world.plane.drive.ingress(storm.now, batch));
  flushIngress(storm);
  drainRings(storm, Number.POSITIVE_INFINITY);
}

/** Every counter is what the models counted, and what came in is accounted for (D-8, style §8). */
function checkCounters({ world, workers }: Storm): void {
  const all = world.plane.counters();
  for (const name of ["egress", "ingress"] as const) {
    const { counters, drops } = all[name];
    const model = workers[name];
    const expected = {
      packets_in: model.packetsIn,
      packets_passed: model.passed,
      packets_punted: model.punted,
      packets_injected: model.injected,
      keepalives: model.keepalives,
      events_deferred: model.eventsDeferred,
    };
    for (const [counter, value] of Object.entries(expected)) {
      const got = Object.entries(counters).find(([key]) => key === counter)?.[1];
      if (got !== value) throw new Error(`${name}: ${counter} is ${got}, not ${value}`);
    }
    const modelled = Object.fromEntries(model.drops);
    if (!isDeepStrictEqual(drops, modelled)) {
      throw new Error(`${name}: drops ${describe(drops)}, not ${describe(modelled)}`);
    }
  }
  checkLaw(world.plane);
}

function checkLaw(plane: Plane): void {
  const all = plane.counters();
  for (const { counters, drops } of [all.egress, all.ingress]) {
    const dropped = Object.values(drops).reduce((sum, packets) => sum + packets, 0);
    const out = counters.packets_passed + counters.packets_punted + dropped;
    if (out !== counters.packets_in) throw new Error(`${counters.packets_in} packets in, ${out} out`);
  }
}

function reportOf({ workers }: Storm, inputs: number): StormReport {
  const drops = new Map(workers.egress.drops);
  for (const [reason, packets] of workers.ingress.drops)
    drops.set(reason, (drops.get(reason) ?? 0) + packets);
  return { drops, passed: workers.egress.passed + workers.ingress.passed, inputs };
}
