/**
 * The packet plane, the stack and the runtime's sockets in the calling thread (PG-122, D-15).
 *
 *     sockets ──▶ plane's ingress ──▶ stack ──▶ events ──▶ whoever has a socket
 *     sockets ◀── plane's egress ◀── stack ◀── sends
 *                      └──▶ events, punts ──▶ control loop
 *
 * One turn takes what has come, hands it through, and lets the control loop have its turn behind it. Nothing of it
 * runs within a call of the control loop: what that delivers or sends is taken by the next turn.
 */
import { type CipherChoice, chooseCipher } from "../../../bindings/cipher/index.ts";
import {
  createPlane,
  createPlaneMemory,
  type Plane,
  type PlaneMode,
  type PlaneSend,
} from "../../../bindings/plane/index.ts";
import { equalSocketAddress, type Instant, type IpAddress, instant, type Log } from "../../base/index.ts";
import type { PlaneEvent } from "../../plane/index.ts";
import { createStack, type Stack, type StackEvent } from "../../stack/index.ts";
import type { Surroundings } from "../endpoint/surroundings.ts";
import { type Alarm, createAlarm, type ShellTransmit, TURN_INPUTS } from "../shell/index.ts";
import { systemRandom } from "../system-random.ts";
import { isTcpFrame, packetsOf } from "./frames.ts";
import { type ArrivedDatagram, openRuntimeSockets, type RuntimeSockets } from "./udp-sockets.ts";

export interface EngineOptions {
  readonly mode: Exclude<PlaneMode, "plain">;
  readonly addresses: readonly IpAddress[];
  readonly port: number;
  readonly cipher: string | undefined;
  /** Hears of every socket's affairs. */
  readonly onStack: (event: StackEvent) => void;
  readonly onDefect: (error: unknown) => void;
  readonly log: Log;
}

export interface Engine extends Pick<Surroundings, "plane" | "now" | "send" | "deliver"> {
  readonly choice: CipherChoice;
  readonly counters: Plane["counters"];
  sockets(): RuntimeSockets;
  /** Binds sockets at other addresses; the port stays if it can. */
  rebind(addresses: readonly IpAddress[]): Promise<void>;
  /** Something of the stack; what it wants to send leaves soon. */
  withStack<T>(use: (stack: Stack, now: Instant) => T): T;
  close(): void;
}

/** MTU of the tunnel (PG, `TUN_MTU`). */
const MTU = 1280;
/** One receive of the plane, as the kernel would join datagrams. */
const BATCH_BYTES_MAX = 60_000;
const BATCH_DATAGRAMS_MAX = 64;

interface State {
  readonly options: EngineOptions;
  readonly plane: Plane;
  readonly stack: Stack;
  readonly alarm: Alarm;
  sockets: RuntimeSockets;
  inbox: ArrivedDatagram[];
  wake: (() => void) | undefined;
  isClosed: boolean;
}

let choice: CipherChoice | undefined;

/** One for the whole process (PG-131). */
function sharedChoice(cipher: string | undefined): CipherChoice {
  if (cipher !== undefined) return chooseCipher({ cipher });
  choice ??= chooseCipher();
  return choice;
}

/** @throws PosternError `host`, `cipher-unusable` */
export async function openEngine(options: EngineOptions): Promise<Engine> {
  const { mode, log } = options;
  const chosen = sharedChoice(options.cipher);
  const inbox: ArrivedDatagram[] = [];
  const state: State = {
    options,
    plane: createPlane({
      memory: createPlaneMemory().memory,
      module: chosen.module,
      mode,
      mtu: MTU,
      flows: { random: systemRandom },
    }),
    stack: createStack({ random: systemRandom, isRouter: mode === "gateway" }),
    alarm: createAlarm(() => guarded(state, turn)),
    sockets: NO_SOCKETS,
    inbox,
    wake: undefined,
    isClosed: false,
  };
  state.sockets = await openSockets(state, options.addresses, options.port);
  log.info?.("packet plane in this thread", { cipher: chosen.name, port: state.sockets.port });
  return {
    choice: chosen,
    counters: () => state.plane.counters(),
    plane: planeFor(state),
    now: wholeNow,
    send: (transmit) => sendControl(state, transmit),
    deliver(packet) {
      state.stack.handlePacket(exactNow(), packet);
      state.alarm.ringSoon();
    },
    sockets: () => state.sockets,
    rebind: (addresses) => rebind(state, addresses),
    withStack(use) {
      const result = use(state.stack, exactNow());
      state.alarm.ringSoon();
      return result;
    },
    close() {
      state.isClosed = true;
      state.alarm.stop();
      state.sockets.close();
    },
  };
}

const NO_SOCKETS: RuntimeSockets = { own: [], port: 0, send: () => "done", close: () => {} };

function exactNow(): Instant {
  return instant(performance.now());
}

/** As machines of control see it. */
function wholeNow(): Instant {
  return instant(Math.floor(performance.now()));
}

function openSockets(state: State, addresses: readonly IpAddress[], port: number): Promise<RuntimeSockets> {
  return openRuntimeSockets({
    ...{ addresses, port, log: state.options.log },
    onDatagram(datagram) {
      // Nothing of ours is empty.
      if (datagram.bytes.length === 0) return;
      state.inbox.push(datagram);
      state.alarm.ringSoon();
    },
  });
}

async function rebind(state: State, addresses: readonly IpAddress[]): Promise<void> {
  const { port } = state.sockets;
  state.sockets.close();
  state.sockets = NO_SOCKETS;
  const opened = await openSockets(state, addresses, port);
  if (state.isClosed) opened.close();
  else state.sockets = opened;
}

/** The plane as the control loop has it: in this thread, and with the ports of our sockets. */
function planeFor(state: State): Surroundings["plane"] {
  const { plane } = state;
  return {
    ...plane,
    execute(command) {
      plane.execute(command);
      // The egress worker's part of it.
      if (command.kind === "inject") state.alarm.ringSoon();
    },
    takeEvents: (limit) => plane.takeEvents(limit).map((event) => withPort(state, event)),
    onWake(wake) {
      state.wake = wake;
      return () => {
        state.wake = undefined;
      };
    },
  };
}

function withPort({ sockets }: State, event: PlaneEvent): PlaneEvent {
  if (!("bytes" in event)) return event;
  return { ...event, local: { address: event.local.address, port: sockets.port } };
}

function sendControl({ sockets }: State, { destination, source, bytes }: ShellTransmit): "done" | "busy" {
  return sockets.send(destination, bytes, source);
}

function guarded(state: State, act: (state: State) => void): void {
  if (state.isClosed) return;
  try {
    act(state);
  } catch (error) {
    state.options.onDefect(error);
  }
}

function turn(state: State): void {
  const { stack, alarm } = state;
  receive(state);
  const due = stack.pollTimeout();
  const now = exactNow();
  if (due !== undefined && due <= now) stack.handleTimeout(now);
  tell(state);
  transmit(state);
  state.wake?.();
  // What control has injected meanwhile.
  transmit(state);
  if (state.isClosed) return;
  if (state.inbox.length > 0) alarm.ringSoon();
  const next = stack.pollTimeout();
  alarm.ringIn(next === undefined ? undefined : Math.max(1, next - exactNow()));
}

function tell({ stack, options }: State): void {
  for (let event = stack.pollEvent(); event !== undefined; event = stack.pollEvent()) options.onStack(event);
}

/** Joins what came from one place to one receive, as the kernel does for sockets of the plane's workers. */
function receive(state: State): void {
  const { plane } = state;
  const arrived = state.inbox.slice(0, TURN_INPUTS);
  state.inbox = state.inbox.slice(arrived.length);
  for (let at = 0; at < arrived.length; ) {
    const count = batchLength(arrived, at);
    const batch = arrived.slice(at, at + count);
    at += count;
    const [first] = batch;
    if (first === undefined) return;
    const { from, local } = first;
    const bytes = batch.length === 1 ? first.bytes : joined(batch);
    const frames = plane.drive.ingress(wholeNow(), {
      ...{ from, bytes, local: local.address },
      ...(batch.length > 1 && { segmentBytes: first.bytes.length }),
    });
    take(state, frames);
    for (const reply of plane.drive.takeReplies()) state.sockets.send(from, reply, local.address);
  }
  take(state, plane.drive.flushIngress(wholeNow()));
}

/** How many from `at` on are of one length, but for a shorter last one. */
function batchLength(arrived: readonly ArrivedDatagram[], at: number): number {
  const first = arrived[at];
  if (first === undefined) return 0;
  const segmentBytes = first.bytes.length;
  const most = Math.max(1, Math.min(BATCH_DATAGRAMS_MAX, Math.floor(BATCH_BYTES_MAX / segmentBytes)));
  for (let count = 1; count < most; count++) {
    const next = arrived[at + count];
    if (next === undefined || next.bytes.length > segmentBytes) return count;
    if (next.local !== first.local || !equalSocketAddress(next.from, first.from)) return count;
    if (next.bytes.length < segmentBytes) return count + 1;
  }
  return most;
}

function joined(batch: readonly ArrivedDatagram[]): Uint8Array {
  const bytes = new Uint8Array(batch.reduce((sum, one) => sum + one.bytes.length, 0));
  let at = 0;
  for (const one of batch) {
    bytes.set(one.bytes, at);
    at += one.bytes.length;
  }
  return bytes;
}

function take({ stack }: State, frames: readonly Uint8Array[]): void {
  for (const frame of frames) {
    if (isTcpFrame(frame)) stack.handleTcpFrame(exactNow(), frame);
    else for (const packet of packetsOf(frame)) stack.handlePacket(exactNow(), packet);
  }
}

/** What the stack wants to have sent, and what control has injected. */
function transmit(state: State): void {
  const { plane, stack } = state;
  const now = wholeNow();
  for (let length = -1; length !== 0; ) {
    const sends = plane.drive.egressFrom(now, (into) => {
      length = stack.pollFrame(into);
      return length;
    });
    sendAll(state, sends);
  }
  sendAll(state, plane.drive.flushEgress(now));
}

function sendAll({ sockets }: State, sends: readonly PlaneSend[]): void {
  for (const { to, source, bytes, segmentBytes } of sends) {
    const step = Math.max(1, segmentBytes);
    for (let at = 0; at < bytes.length; at += step) {
      sockets.send(to, bytes.subarray(at, at + step), source);
    }
  }
}
