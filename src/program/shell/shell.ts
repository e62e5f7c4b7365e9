/**
 * The control thread's loop (D-17): one machine between the plane's rings, the sockets and the clock.
 *
 *     rings ──▶ handlePlaneEvent, handlePunt ─┐
 *     clock ──▶ handleTimeout ────────────────┼─▶ machine ──▶ commands ▶ plane, tables, TUN device
 *     others ─▶ `input` ──────────────────────┘            ──▶ transmits ▶ sockets
 *                                                           ──▶ `drainEvents`
 *
 * Every turn takes a bounded number of inputs, lets time pass for the machine, and empties its outputs:
 * commands before the datagrams that announce them (WG-52), each carried out before the next is asked
 * for. When there is more than one turn's worth, the rest waits behind the runtime's other work (PG-52).
 */
import type { Instant, IpAddress, SocketAddress } from "../../base/index.ts";
import type { DataPunt, PlaneCommand, PlaneEvent, PolicyTables, Publication } from "../../plane/index.ts";
import { type Alarm, createAlarm } from "./alarm.ts";
import { createOutbox, type Outbox } from "./outbox.ts";

/** What a machine wants to have done, in order. */
export type ShellCommand =
  | PlaneCommand
  | Publication
  /** A packet for the host itself, such as an ICMP error (TN-89). */
  | { readonly kind: "write-tun"; readonly packet: Uint8Array };

export interface ShellTransmit {
  /** The fixed source address; absent: the kernel chooses. */
  readonly source?: IpAddress;
  readonly destination: SocketAddress;
  readonly bytes: Uint8Array;
  /** It goes whole or not at all (PG-43). */
  readonly isWhole?: boolean;
}

export interface ShellMachine {
  handlePlaneEvent(now: Instant, event: PlaneEvent): void;
  handlePunt(now: Instant, punt: DataPunt): void;
  handleTimeout(now: Instant): void;
  pollTimeout(): Instant | undefined;
  pollCommand(): ShellCommand | undefined;
  /** A command has been carried out: at once, or, for a publication, when it is complete. */
  handleCarriedOut(now: Instant, command: PlaneCommand | Publication): void;
  pollTransmit(): ShellTransmit | undefined;
}

/** The part of `bindings/plane/plane.ts` that a turn needs. */
export interface ShellPlane {
  execute(command: PlaneCommand): void;
  publish(tables: PolicyTables): void;
  /** How many publications are complete. */
  published(): number;
  /** What was taken has been handled and carried out: lets flows go (TN-87). Returns whether some have to wait. */
  releaseFlows(): boolean;
  /** Whether a turn's limit has left something in a ring: the worker wakes nobody then, since it is not empty. */
  hasInput(): boolean;
  takeEvents(limit: number): readonly PlaneEvent[];
  takePunts(limit: number): readonly DataPunt[];
  onWake(wake: () => void): () => void;
}

export interface ShellOptions {
  readonly machine: ShellMachine;
  readonly plane: ShellPlane;
  readonly now: () => Instant;
  /** Tells the machine the time of day, before anything else of a turn (WG-8). */
  readonly tellWallClock?: (now: Instant) => void;
  /** Sends without blocking; `busy`: the same datagram may be sent again later (PG-46). */
  readonly send: (transmit: ShellTransmit) => "done" | "busy";
  /** How many datagrams were lost since the socket stayed busy. */
  readonly onLost?: (count: number) => void;
  readonly writeTun: (packet: Uint8Array) => void;
  /** Takes the machine's events out; called when its commands and transmits are done. */
  readonly drainEvents: (now: Instant) => void;
  /** How long a turn took, and whether it left input for the next (PG-114). */
  readonly onTurn?: (ms: number, isExhausted: boolean) => void;
  /** Whatever a turn throws: a defect of ours, so the program ends (PG-18). */
  readonly onDefect: (error: unknown) => void;
}

export interface Shell {
  /** Gives the machine any other input, then empties its outputs. */
  input(give: (now: Instant) => void): void;
  /** No turn runs afterwards. */
  stop(): void;
}

/** Inputs per turn and source (PG-52). */
export const TURN_INPUTS = 1024;
/** How soon it is looked again whether tables are published and flows may go. */
const SETTLE_MS = 1;

/** The state of a loop. */
interface Loop {
  readonly options: ShellOptions;
  readonly outbox: Outbox<ShellTransmit>;
  readonly alarm: Alarm;
  /** Publications that are not complete yet, oldest first. */
  readonly publishing: Publication[];
  published: number;
}

export function createShell(options: ShellOptions): Shell {
  const { plane } = options;
  let isStopped = false;
  const loop: Loop = {
    options,
    outbox: createOutbox(options.send, options.onLost),
    alarm: createAlarm(() => guarded(turn)),
    publishing: [],
    published: plane.published(),
  };
  const unlisten = plane.onWake(() => guarded(turn));

  function guarded(action: (loop: Loop, now: Instant) => void): void {
    if (isStopped) return;
    try {
      const now = options.now();
      options.tellWallClock?.(now);
      action(loop, now);
    } catch (error) {
      stop();
      options.onDefect(error);
    }
  }

  function stop(): void {
    isStopped = true;
    loop.alarm.stop();
    unlisten();
  }

  return {
    input(give) {
      guarded((_, now) => {
        give(now);
        finish(loop, now);
      });
    },
    stop,
  };
}

function turn(loop: Loop, now: Instant): void {
  const { machine, plane, onTurn } = loop.options;
  const startedAt = onTurn === undefined ? 0 : performance.now();
  const events = plane.takeEvents(TURN_INPUTS);
  for (const event of events) machine.handlePlaneEvent(now, event);
  drain(loop, now);
  const due = machine.pollTimeout();
  if (due !== undefined && due <= now) machine.handleTimeout(now);
  const punts = plane.takePunts(TURN_INPUTS);
  const isExhausted = plane.hasInput();
  for (const punt of punts) machine.handlePunt(now, punt);
  notePublished(loop, now);
  finish(loop, now);
  if (isExhausted) loop.alarm.ringSoon();
  onTurn?.(performance.now() - startedAt, isExhausted);
}

/** Behind the punts, so that what was punted by earlier tables has been handled (WG-46). */
function notePublished(loop: Loop, now: Instant): void {
  const { machine, plane } = loop.options;
  if (loop.publishing.length === 0) return;
  for (const complete = plane.published(); loop.published < complete; loop.published++) {
    const publication = loop.publishing.shift();
    if (publication !== undefined) machine.handleCarriedOut(now, publication);
  }
}

/** Empties all outputs, events last: what they cause comes back as an input. */
function finish(loop: Loop, now: Instant): void {
  drain(loop, now);
  loop.options.drainEvents(now);
  drain(loop, now);
  // Now all that was punted of them before is ahead of what they bring next.
  setAlarm(loop, now, loop.options.plane.releaseFlows());
}

function drain(loop: Loop, now: Instant): void {
  const { machine } = loop.options;
  for (let command = machine.pollCommand(); command !== undefined; command = machine.pollCommand()) {
    carryOut(loop, now, command);
  }
  for (let sent = machine.pollTransmit(); sent !== undefined; sent = machine.pollTransmit()) {
    loop.outbox.add(now, sent);
  }
  loop.outbox.flush(now);
}

function carryOut({ options, publishing }: Loop, now: Instant, command: ShellCommand): void {
  switch (command.kind) {
    case "write-tun":
      return options.writeTun(command.packet);
    case "publish":
      publishing.push(command);
      return options.plane.publish(command.tables);
    default:
      options.plane.execute(command);
      options.machine.handleCarriedOut(now, command);
  }
}

function setAlarm({ options, outbox, publishing, alarm }: Loop, now: Instant, hasHeldFlows: boolean): void {
  const due = options.machine.pollTimeout();
  const isSettling = publishing.length > 0 || hasHeldFlows;
  const waits = [
    due === undefined ? undefined : due - now,
    outbox.retryInMs(),
    isSettling ? SETTLE_MS : undefined,
  ].filter((wait) => wait !== undefined);
  alarm.ringIn(waits.length === 0 ? undefined : Math.max(0, Math.min(...waits)));
}
