/**
 * The relay's control loop (D-17): the machine between its data path and the clock.
 *
 *     messages of clients ─▶ machine ─▶ commands ─▶ sockets and tables of the data path
 *     clock ───────────────┘        └─▶ datagrams ▶ the listening sockets
 *
 * Commands are carried out before anything is sent: data that follows an answer finds its binding (RL-30).
 */
import type { RelayDataPath } from "../../../bindings/relay/index.ts";
import { type Instant, type UnixMs, unreachable } from "../../base/index.ts";
import type { RelayCommand, RelayPlane } from "../../plane/index.ts";
import type { RelayTransmit, TurnServer } from "../../relay/index.ts";
import { type Alarm, createAlarm, createOutbox, type Outbox, TURN_INPUTS } from "../shell/index.ts";

export interface RelayLoopOptions {
  readonly server: TurnServer;
  readonly plane: RelayDataPath;
  readonly now: () => Instant;
  readonly wallNow: () => UnixMs;
  /** How many datagrams were lost since a socket stayed busy. */
  readonly onLost?: (count: number) => void;
  /** After each turn. */
  readonly onTurn: () => void;
  /** Whatever a turn throws: a defect of ours, so the program ends (PG-18). */
  readonly onDefect: (error: unknown) => void;
}

export interface RelayLoop {
  /** Gives the machine any other input, then empties its outputs. */
  input(give: (now: Instant) => void): void;
  /** No turn runs afterwards. */
  stop(): void;
}

interface LoopState {
  readonly options: RelayLoopOptions;
  readonly outbox: Outbox<RelayTransmit>;
  readonly alarm: Alarm;
}

export function startRelayLoop(options: RelayLoopOptions): RelayLoop {
  const { plane, server } = options;
  let isStopped = false;
  const state: LoopState = {
    options,
    outbox: createOutbox(({ to, datagram, from }) => plane.send(to, datagram, from), options.onLost),
    alarm: createAlarm(() => guarded(turn)),
  };
  const unlisten = plane.onWake(() => guarded(turn));

  function guarded(action: (state: LoopState, now: Instant) => void): void {
    if (isStopped) return;
    try {
      const now = options.now();
      server.handleWallClock(now, options.wallNow());
      action(state, now);
    } catch (error) {
      stop();
      options.onDefect(error);
    }
  }

  function stop(): void {
    isStopped = true;
    state.alarm.stop();
    unlisten();
  }

  return {
    input(give) {
      guarded((_, now) => {
        give(now);
        finish(state, now);
      });
    },
    stop,
  };
}

function turn(state: LoopState, now: Instant): void {
  const { server, plane } = state.options;
  const messages = plane.takeMessages(TURN_INPUTS);
  for (const message of messages) {
    server.handleClient(now, message);
    drain(state, now);
  }
  const due = server.pollTimeout();
  if (due !== undefined && due <= now) server.handleTimeout(now);
  finish(state, now);
  if (messages.length === TURN_INPUTS) state.alarm.ringSoon();
}

function finish(state: LoopState, now: Instant): void {
  drain(state, now);
  const due = state.options.server.pollTimeout();
  const waits = [due === undefined ? undefined : Math.max(0, due - now), state.outbox.retryInMs()].filter(
    (wait) => wait !== undefined,
  );
  state.alarm.ringIn(waits.length === 0 ? undefined : Math.min(...waits));
  state.options.onTurn();
}

function drain({ options, outbox }: LoopState, now: Instant): void {
  const { server, plane } = options;
  for (let command = server.pollCommand(); command !== undefined; command = server.pollCommand()) {
    carryOut(server, plane, now, command);
  }
  for (let sent = server.pollTransmit(); sent !== undefined; sent = server.pollTransmit())
    outbox.add(now, sent);
  outbox.flush(now);
}

/** Does what the machine wants; how binding a port ended is told at once. */
export function carryOut(server: TurnServer, plane: RelayPlane, now: Instant, command: RelayCommand): void {
  switch (command.kind) {
    case "bind-port": {
      const { token, port, families } = command;
      return server.handlePortBound(now, { token, result: plane.openPort(port, families) });
    }
    case "free-port":
      return plane.closePort(command.port, command.families);
    case "add-binding":
      return plane.publishBinding(command.binding);
    case "remove-binding":
      return plane.removeBinding(command.binding);
    default:
      return unreachable(command);
  }
}
