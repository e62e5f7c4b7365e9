/**
 * A storm: some thousand hostile inputs to one plane and to its twin, which must agree about every packet,
 * every counter and every entry of the rings. In the end the law holds, the memory's guards are whole, and
 * honest packets pass.
 */
import { isDeepStrictEqual } from "node:util";
import type { CipherName } from "../../bindings/cipher/index.ts";
import type { Reason } from "../../bindings/memory/index.ts";
import type { Plane, PlaneMode, PlaneSend } from "../../bindings/plane/index.ts";
import { equalBytes, equalSocketAddress, type Instant, instant, toHex } from "../../src/base/index.ts";
import { parsePacket } from "../../src/packet/index.ts";
import type { PlaneCommand, SessionKeys } from "../../src/plane/index.ts";
import { createDrivenPlane, type DrivenPlane, packetsOf, type SealedDatagram } from "../twin/driven-plane.ts";
import { openMessage } from "../twin/plane/message.ts";
import { datagramsOf } from "../unit/plane/pair.ts";
import type { Chance } from "./chance.ts";
import { createDatagramSource, type DatagramSource } from "./datagrams.ts";
import { createFlowControl, type FlowControl } from "./flows.ts";
import { createFrameSource, type FrameSource } from "./frames.ts";
import { createMemoryGuard, type MemoryGuard } from "./memory-guard.ts";
import { createPlaneWorld, ENDPOINT, LIMITS, OWN, type PlaneWorld, START, setUp } from "./plane-world.ts";

export interface StormReport {
  /** How often each reason occurred, over both workers. */
  readonly drops: ReadonlyMap<Reason, number>;
  readonly passed: number;
  readonly inputs: number;
}

interface Storm {
  readonly chance: Chance;
  readonly world: PlaneWorld;
  readonly twin: DrivenPlane;
  readonly datagrams: DatagramSource;
  readonly frames: FrameSource;
  readonly guard: MemoryGuard;
  /** By remote index: the highest counter that the plane has sealed with. */
  readonly sealed: Map<number, bigint>;
  /** By slot: punts of its peer that control has handled (WG-46). */
  readonly handled: Map<number, number>;
  readonly flows: FlowControl;
  now: Instant;
  /** What left the frame under construction open. */
  expectedPackets: Uint8Array[];
  receivedFrames: Uint8Array[];
}

/**
 * @param variant of the cipher: *wide* opens and seals runs by ways of its own (PF-65, PF-81)
 * @throws Error that names the input's number and what differed
 */
export function runStorm(chance: Chance, mode: PlaneMode, inputs: number, variant?: CipherName): StormReport {
  const storm = createStorm(chance, mode, variant);
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
  storm.flows.check();
  storm.guard.checkAll();
  checkCounters(storm);
  return reportOf(storm, inputs);
}

function createStorm(chance: Chance, mode: PlaneMode, variant?: CipherName): Storm {
  const world = createPlaneWorld(mode, variant);
  const twin = createDrivenPlane("twin", { mode, mtu: world.mtu, limits: LIMITS });
  setUp(twin, world);
  return {
    chance,
    world,
    twin,
    datagrams: createDatagramSource(chance, world),
    frames: createFrameSource(chance, world),
    guard: createMemoryGuard(world.plane.memory),
    sealed: new Map(),
    handled: new Map(),
    flows: createFlowControl(chance, world, twin),
    now: START,
    expectedPackets: [],
    receivedFrames: [],
  };
}

function step(storm: Storm): void {
  const { chance } = storm;
  storm.now = instant(storm.now + chance.pick([0, 0, 1, 3, 40, chance.isOneIn(10) ? 700 : 0]));
  if (chance.isOneIn(200)) storm.now = instant(storm.now + chance.pick([5000, 11_000, 130_000]));
  const what = chance.below(18);
  if (what < 9) receiveBatch(storm);
  else if (what < 14) readFrame(storm);
  else if (chance.isOneIn(2)) storm.flows.act(storm.now);
  else act(storm);
  checkRecords(storm);
  if (chance.isOneIn(6)) drainRings(storm, chance.pick([1, 7, 100, 3000]));
}

function receiveBatch(storm: Storm): void {
  const { chance, world, twin, guard } = storm;
  const batch = storm.datagrams.batch();
  guard.refresh();
  const before = acceptedBySession(storm);
  storm.expectedPackets.push(...twin.ingress(storm.now, batch));
  storm.receivedFrames.push(...world.plane.drive.ingress(storm.now, batch));
  const after = acceptedBySession(storm);
  guard.checkBatch(new Set([...after.keys()].filter((local) => after.get(local) !== before.get(local))));
  if (chance.isOneIn(2)) flushIngress(storm);
}

function acceptedBySession({ world, twin }: Storm): ReadonlyMap<number, number | undefined> {
  const all = world.peers.flatMap(({ slot, sessions }) => sessions.map(({ local }) => ({ slot, local })));
  return new Map(all.map(({ slot, local }) => [local, twin.records.received(slot, local)?.packets]));
}

/** What came out must be what the twin let pass, in its order. */
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
    if (!equalBytes(canonical(packet), canonical(got))) {
      throw new Error(`packet ${i} came out as ${toHex(got)}, not ${toHex(packet)}`);
    }
  }
}

/** Without what joining may change: IPv4 identification, TCP window, and the sums over them (PF-57). */
export function canonical(packet: Uint8Array): Uint8Array {
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
  const { drive } = storm.world.plane;
  const frame = storm.frames.frame();
  // A burst, so that more packets wait for a session than may.
  for (let times = storm.chance.isOneIn(20) ? 8 : 1; times > 0; times--) {
    const expected = storm.twin.egress(storm.now, frame);
    checkSends(storm, expected, [...drive.egress(storm.now, frame), ...drive.flushEgress(storm.now)]);
  }
}

/** Every datagram of the twin leaves, in order and byte for byte, but for counters that were given up. */
function checkSends(storm: Storm, expected: readonly SealedDatagram[], sends: readonly PlaneSend[]): void {
  const datagrams = sends.flatMap((send) => datagramsOf(send).map((bytes) => ({ send, bytes })));
  if (datagrams.length !== expected.length) {
    throw new Error(`${datagrams.length} datagrams left, not ${expected.length}`);
  }
  for (const [i, datagram] of expected.entries()) {
    const got = datagrams[i];
    if (got === undefined) return;
    checkRoute(datagram, got.send);
    checkSeal(storm, datagram.bytes, got.bytes);
  }
  for (const send of sends) {
    if (send.bytes.length > send.segmentBytes * 64 || send.bytes.length > 65_450) {
      throw new Error(`a send of ${send.bytes.length} bytes in pieces of ${send.segmentBytes}`);
    }
  }
}

function checkRoute({ slot, to, source, ecn }: SealedDatagram, send: PlaneSend): void {
  const isRight = send.slot === slot && equalSocketAddress(send.to, to) && send.ecn === ecn;
  if (isRight && isDeepStrictEqual(send.source, source)) return;
  throw new Error(`a packet for slot ${slot} was sent as ${describe({ ...send, bytes: "…" })}`);
}

function checkSeal(storm: Storm, expected: Uint8Array, got: Uint8Array): void {
  const view = new DataView(got.buffer, got.byteOffset + headRoomOf(got));
  const index = view.getUint32(4, true);
  const counter = view.getBigUint64(8, true);
  const last = storm.sealed.get(index) ?? -1n;
  if (counter <= last) throw new Error(`counter ${counter} came after ${last}`);
  storm.sealed.set(index, counter);
  if (equalBytes(got, expected)) return;
  const sessions = storm.world.peers.flatMap((peer) => peer.sessions);
  const key = sessions.find(({ remote }) => remote === index)?.sendKey;
  if (key === undefined) throw new Error(`sealed for index ${index}`);
  const [a, b] = [expected, got].map((bytes) => openMessage(key, bytes.subarray(headRoomOf(bytes))));
  const isSame = a?.index === b?.index && isDeepStrictEqual(a?.text, b?.text);
  if (!isSame || headRoomOf(got) !== headRoomOf(expected)) {
    throw new Error(`sealed ${describe(b)}, not ${describe(a)}`);
  }
}

/** Channel data begins with 4 in the upper half of its first byte (SN-98), a message with 4. */
function headRoomOf(datagram: Uint8Array): 0 | 4 {
  return (datagram[0] ?? 0) >> 4 === 4 ? 4 : 0;
}

/** Control does something of its own. */
function act(storm: Storm): void {
  const { chance, world, twin } = storm;
  const { slot, path, sessions } = chance.pick(world.peers);
  switch (chance.below(9)) {
    case 0:
      return execute(storm, { kind: "release", slot, handled: storm.handled.get(slot) ?? 0 });
    case 1:
      return execute(storm, { kind: "arm-watch", slot });
    case 2:
    case 3:
    case 4:
      // Bob never gets one: there is nobody at the other end.
      if (path === undefined) return;
      return execute(storm, {
        kind: "set-path",
        slot,
        path: { ...path, isBroken: chance.isOneIn(2), isIdle: chance.isOneIn(2), ...mtuOf(storm) },
      });
    case 5:
      if (sessions.length > 0) replaceSession(storm, slot, chance.pick(sessions));
      return;
    case 6:
      return chance.isOneIn(3) ? replacePeer(storm, slot) : undefined;
    case 7:
      return chance.isOneIn(3) ? execute(storm, { kind: "hold", slot }) : sendAsControl(storm, slot);
    default: {
      const packets = Array.from({ length: chance.below(4) }, () => storm.datagrams.honest().packet);
      execute(storm, { kind: "inject", slot, packets });
      checkSends(storm, twin.egress(storm.now), world.plane.drive.flushEgress(storm.now));
    }
  }
}

/** A limit of the path now and then, so that packets may wait as well; a plain peer has none (TN-109). */
function mtuOf({ chance, world: { mode, mtu } }: Storm): { readonly mtu?: number } {
  if (mode === "plain" || !chance.isOneIn(3)) return {};
  return { mtu: chance.pick([mtu, mtu - 40, 516, 576 + chance.below(800)]) };
}

function execute({ world, twin }: Storm, command: PlaneCommand): void {
  twin.execute(command);
  world.plane.execute(command);
}

/** A new session in the place of an old one, which may have been retired before. */
function replaceSession(storm: Storm, slot: number, session: SessionKeys): void {
  const { local, remote } = session;
  if (storm.chance.isOneIn(2)) execute(storm, { kind: "retire", slot, local });
  execute(storm, { kind: "install", slot, peerId: local >>> 8, session });
  storm.sealed.delete(remote);
  if (session.isInitiator) execute(storm, { kind: "set-current", slot, local });
}

/** Control sends and receives a message of its own (WG-41, WG-45). */
function sendAsControl({ chance, world, twin, now }: Storm, slot: number): void {
  const bytes = chance.below(200);
  const locals = world.peers.flatMap(({ sessions }) => sessions.map(({ local }) => local));
  const local = chance.pick(locals);
  const counters = [world.plane.records, twin.records].map((records) => {
    records.noteSent(slot, now, bytes);
    records.noteReceived(slot, now, bytes + 1);
    return records.takeCounter(slot, local);
  });
  if (typeof counters[0] !== typeof counters[1])
    throw new Error(`counters ${counters[0]}, not ${counters[1]}`);
}

/** The slot gets a new peer with the same keys, while packets of the old one may still be in the rings. */
function replacePeer(storm: Storm, slot: number): void {
  const peer = storm.world.peers.find((candidate) => candidate.slot === slot);
  if (peer === undefined || peer.name === "bob") return;
  execute(storm, { kind: "remove-peer", slot });
  storm.handled.delete(slot);
  for (const { remote } of peer.sessions) storm.sealed.delete(remote);
  const { policy } = storm.world;
  setUp(
    { execute: (command) => execute(storm, command), publish: () => undefined },
    { peers: [peer], policy },
  );
}

/** Control takes what is in the rings: exactly what the twin put there, in its order. */
function drainRings({ world: { plane }, twin, handled, flows, now }: Storm, limit: number): void {
  compare("events", plane.takeEvents(limit), twin.takeEvents(limit));
  const punts = twin.takePunts(limit);
  compare("punts", plane.takePunts(limit), punts);
  compare("publications", [plane.published()], [twin.published()]);
  for (const punt of punts) {
    if (punt.reason === "no-session") handled.set(punt.slot, (handled.get(punt.slot) ?? 0) + 1);
    if (punt.reason === "flow") flows.decide(now, punt);
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

/** What machines read: activity of every peer, accepted messages of every session (WG-41, WG-48). */
function checkRecords({ world, twin }: Storm): void {
  for (const { slot, sessions } of world.peers) {
    compare("activity", [world.plane.records.activity(slot)], [twin.records.activity(slot)]);
    for (const { local } of sessions) {
      const [got, expected] = [world.plane.records, twin.records].map(({ received }) =>
        received(slot, local),
      );
      compare(`received of ${local}`, [got], [expected]);
    }
  }
}

/** After the storm honest packets pass in both directions. */
function proveAlive(storm: Storm): void {
  const { world, twin } = storm;
  flushIngress(storm);
  const { message } = storm.datagrams.honest();
  const batch = { from: ENDPOINT, local: OWN.address, bytes: message };
  const expected = twin.ingress(storm.now, batch);
  if (expected.length !== 1) throw new Error("the twin lets an honest message pass");
  storm.expectedPackets.push(...expected);
  storm.receivedFrames.push(...world.plane.drive.ingress(storm.now, batch));
  flushIngress(storm);
  drainRings(storm, Number.POSITIVE_INFINITY);
}

/** Every counter is what the twin counted, and what came in is accounted for (D-8, style §8). */
function checkCounters({ world, twin }: Storm): void {
  const all = world.plane.counters();
  const tallies = twin.tallies();
  for (const name of ["egress", "ingress"] as const) {
    const { counters, drops } = tallies[name];
    const got = Object.entries(all[name].counters).filter(([counter]) => counter in counters);
    compare(`${name}: counters`, [Object.fromEntries(got)], [{ ...counters }]);
    compare(`${name}: drops`, [all[name].drops], [drops]);
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

function reportOf({ world }: Storm, inputs: number): StormReport {
  const { egress, ingress } = world.plane.counters();
  const drops = new Map<Reason, number>();
  for (const worker of [egress, ingress]) {
    for (const [reason, packets] of Object.entries(worker.drops)) {
      // The keys of a table of reasons.
      drops.set(reason as Reason, (drops.get(reason as Reason) ?? 0) + packets);
    }
  }
  return { drops, passed: egress.counters.packets_passed + ingress.counters.packets_passed, inputs };
}
