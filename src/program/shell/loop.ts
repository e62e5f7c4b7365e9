/**
 * The one loop of a program's control thread (D-17, PG-52): it drains the plane's rings into the
 * machine, and the machine's outputs into the plane and the kernel.
 *
 *     post ─────────┐                        ┌─▶ plane.execute, plane.publish
 *     plane's rings ─┼─▶ turn ─▶ machine ────┼─▶ send (UDP), writePacket (TUN)
 *     timer ────────┘                        └─▶ afterwards: what the program makes of its events
 *
 * A turn takes a bounded number of inputs; if there are more, the next turn follows after everything
 * else that waits for the thread (sockets of the portal, status requests).
 */
import type {
  DataPunt,
  Instant,
  IpAddress,
  Log,
  PlaneCommand,
  PlaneEvent,
  PolicyTables,
  SocketAddress,
} from "../../base/index.ts";

/** Ring entries of each kind taken in one turn. */
const ENTRIES_PER_TURN = 512;
/** Rounds of outputs in one turn: each may cause further ones. */
const ROUNDS_PER_TURN = 64;
const TIMER_MS_MAX = 0x7fff_ffff;

export interface OutgoingDatagram {
  readonly destination: SocketAddress;
  /** Sent from exactly this address; absent: the kernel chooses. */
  readonly source?: IpAddress;
  readonly bytes: Uint8Array;
}

/** What the loop drives: all machines of one program behind one face (D-2). */
export interface ShellMachine {
  handleEvent(now: Instant, event: PlaneEvent): void;
  handlePunt(now: Instant, punt: DataPunt): void;
  handleTimeout(now: Instant): void;
  pollTimeout(): Instant | undefined;
  pollCommand(): PlaneCommand | undefined;
  /** The whole policy, once after each change of it. */
  pollTables(): PolicyTables | undefined;
  pollTransmit(): OutgoingDatagram | undefined;
  /** An IP packet for the TUN device. */
  pollPacket(): Uint8Array | undefined;
}

/** What the loop needs of the plane. */
export interface ShellPlane {
  execute(command: PlaneCommand): void;
  publish(tables: PolicyTables): void;
  takeEvents(limit: number): readonly PlaneEvent[];
  takePunts(limit: number): readonly DataPunt[];
  onWake(wake: () => void): () => void;
}

/** The runtime's timers, replaced in tests. */
export interface ShellTimers {
  /** Calls back once after `ms`; the returned function cancels. */
  after(ms: number, call: () => void): () => void;
  /** Calls back once everything that waits for the thread has had its turn. */
  soon(call: () => void): () => void;
}

export interface ControlLoopOptions {
  readonly clock: () => Instant;
  readonly plane: ShellPlane;
  readonly machine: ShellMachine;
  readonly send: (datagram: OutgoingDatagram) => void;
  readonly writePacket: (packet: Uint8Array) => void;
  /** Called in every round after the outputs; returns whether it gave the machine anything new. */
  readonly afterwards?: (now: Instant) => boolean;
  /** A turn threw: a defect of ours, and the end of the loop. */
  readonly failed: (error: unknown) => void;
  readonly log: Log;
  readonly timers?: ShellTimers;
}

export interface ControlLoop {
  /** Runs `input` in the next turn, before everything else (PG-52); inputs keep their order. */
  post(input: (now: Instant) => void): void;
  /** How often a turn had to leave inputs to the next one. */
  exhausted(): number;
  stop(): void;
}

export function startControlLoop(options: ControlLoopOptions): ControlLoop {
  const { clock, plane, machine } = options;
  const timers = options.timers ?? RUNTIME_TIMERS;
  const posted: ((now: Instant) => void)[] = [];
  let isStopped = false;
  let exhausted = 0;
  let cancelTurn: (() => void) | undefined;
  let cancelTimer: (() => void) | undefined;

  function requestTurn(): void {
    if (isStopped || cancelTurn !== undefined) return;
    cancelTurn = timers.soon(() => {
      cancelTurn = undefined;
      try {
        turn();
      } catch (error) {
        stop();
        options.failed(error);
      }
    });
  }

  function turn(): void {
    if (isStopped) return;
    const now = clock();
    for (const input of posted.splice(0)) input(now);
    const events = plane.takeEvents(ENTRIES_PER_TURN);
    for (const event of events) machine.handleEvent(now, event);
    // What was due is done even if packets never pause (PG-53), and after the datagrams that were
    // already here, so that waiting answers are not taken for missing ones (SN-123).
    machine.handleTimeout(now);
    const punts = plane.takePunts(ENTRIES_PER_TURN);
    for (const punt of punts) machine.handlePunt(now, punt);
    const isDry = drain(now);
    const isFull = events.length >= ENTRIES_PER_TURN || punts.length >= ENTRIES_PER_TURN;
    if (isFull || !isDry) {
      exhausted++;
      requestTurn();
    }
    setTimer();
  }

  /** SN-124. Returns whether all outputs are out. */
  function drain(now: Instant): boolean {
    for (let round = 0; round < ROUNDS_PER_TURN; round++) {
      let count = 0;
      for (let one = machine.pollCommand(); one !== undefined; one = machine.pollCommand(), count++) {
        plane.execute(one);
      }
      for (let one = machine.pollTables(); one !== undefined; one = machine.pollTables(), count++) {
        plane.publish(one);
      }
      for (let one = machine.pollTransmit(); one !== undefined; one = machine.pollTransmit(), count++) {
        options.send(one);
      }
      for (let one = machine.pollPacket(); one !== undefined; one = machine.pollPacket(), count++) {
        options.writePacket(one);
      }
      const isNew = options.afterwards?.(now) ?? false;
      if (count === 0 && !isNew) return true;
    }
    return false;
  }

  function setTimer(): void {
    cancelTimer?.();
    cancelTimer = undefined;
    const due = machine.pollTimeout();
    if (due === undefined || isStopped) return;
    // The runtime's timers may fire a fraction of a millisecond early; a turn then finds nothing due
    // and sets the rest.
    const ms = Math.min(Math.max(0, due - clock()), TIMER_MS_MAX);
    cancelTimer = timers.after(ms, () => {
      cancelTimer = undefined;
      requestTurn();
    });
  }

  const cancelWake = plane.onWake(requestTurn);

  function stop(): void {
    isStopped = true;
    cancelWake();
    cancelTurn?.();
    cancelTimer?.();
  }

  requestTurn();
  return {
    post(input) {
      posted.push(input);
      requestTurn();
    },
    exhausted: () => exhausted,
    stop,
  };
}

const RUNTIME_TIMERS: ShellTimers = {
  after(ms, call) {
    const timer = setTimeout(call, ms);
    return () => clearTimeout(timer);
  },
  soon(call) {
    const immediate = setImmediate(call);
    return () => clearImmediate(immediate);
  },
};
