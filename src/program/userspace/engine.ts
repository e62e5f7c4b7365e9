/**
 * The stack on what carries its packets (PG-122, D-15), driven in the calling thread.
 *
 *     carrier ──▶ stack ──▶ events ──▶ whoever has a socket
 *     carrier ◀── stack ◀── sends
 *        └──▶ events, punts ──▶ control loop
 *
 * One turn takes what has come, hands it through, and lets the control loop have its turn behind it where the plane
 * has something for that, which has an alarm of its own for all else. Nothing of it
 * runs within a call of the control loop: what that delivers or sends is taken by the next turn.
 */
import { copyOf, type Instant, type IpAddress, instant, type SocketAddress } from "../../base/index.ts";
import { createStack, type Stack, type StackEvent } from "../../stack/index.ts";
import type { Surroundings } from "../endpoint/surroundings.ts";
import { type Alarm, createAlarm } from "../shell/index.ts";
import { systemRandom } from "../system-random.ts";
import type { Carrier, CarrierOptions, SocketChoice } from "./carrier.ts";
import { isTcpFrame, packetsOf } from "./frames.ts";
import { openCarrier } from "./open-carrier.ts";

export interface EngineOptions extends Omit<CarrierOptions, "wake"> {
  readonly sockets: SocketChoice;
  /** Hears of every socket's affairs. */
  readonly onStack: (event: StackEvent) => void;
}

export interface Engine extends Pick<Surroundings, "plane" | "now" | "send" | "deliver" | "pathMtu"> {
  readonly choice: Carrier["choice"];
  readonly counters: Carrier["counters"];
  readonly grade: Carrier["grade"];
  /** Why it is not the fast one; else undefined. */
  readonly gradeReason: string | undefined;
  /** Our addresses, each with the port of its socket. */
  own(): readonly SocketAddress[];
  /** Binds sockets at other addresses; the port stays if it can. */
  rebind(addresses: readonly IpAddress[]): Promise<void>;
  /** Something of the stack; what it wants to send leaves soon. */
  withStack<T>(use: (stack: Stack, now: Instant) => T): T;
  /** Lets what the stack has to send leave; who is slower than `FLUSH_MS_MAX` loses the rest. */
  flush(): Promise<void>;
  close(): Promise<void>;
}

const FLUSH_MS_MAX = 100;
const FLUSH_LOOK_MS = 1;

interface State {
  readonly options: EngineOptions;
  readonly carrier: Carrier;
  readonly stack: Stack;
  readonly alarm: Alarm;
  wake: (() => void) | undefined;
  isClosed: boolean;
}

/** @throws PosternError `host`, `cipher-unusable` */
export async function openEngine(options: EngineOptions): Promise<Engine> {
  let wake = (): void => {};
  const { carrier, reason } = await openCarrier(options.sockets, { ...options, wake: () => wake() });
  const state: State = {
    ...{ options, carrier, wake: undefined, isClosed: false },
    stack: createStack({ random: systemRandom, isRouter: options.mode === "gateway" }),
    alarm: createAlarm(() => guarded(state, turn)),
  };
  wake = state.alarm.ringSoon;
  // What came before anybody listened.
  wake();
  const { choice, counters, grade, now, own, send, pathMtu } = carrier;
  return {
    ...{ choice, counters, grade, gradeReason: reason, now, own, send },
    ...(pathMtu && { pathMtu }),
    plane: {
      ...carrier.plane,
      onWake(listener) {
        state.wake = listener;
        return () => {
          state.wake = undefined;
        };
      },
    },
    deliver(packet) {
      state.stack.handlePacket(exactNow(), packet);
      state.alarm.ringSoon();
    },
    rebind: carrier.rebind,
    withStack(use) {
      const result = use(state.stack, exactNow());
      state.alarm.ringSoon();
      return result;
    },
    flush: () => flush(state),
    async close() {
      state.isClosed = true;
      state.alarm.stop();
      await carrier.close();
    },
  };
}

async function flush({ carrier, stack }: State): Promise<void> {
  const until = performance.now() + FLUSH_MS_MAX;
  while (carrier.transmit(stack.pollFrame) === "full" || !carrier.isDrained()) {
    if (performance.now() >= until) return;
    await new Promise((resolve) => setTimeout(resolve, FLUSH_LOOK_MS));
  }
}

function exactNow(): Instant {
  return instant(performance.now());
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
  const { carrier, stack, alarm } = state;
  if (carrier.gathers?.()) return alarm.ringSoon();
  const hasMore = carrier.receive((frame) => take(state, frame));
  const due = stack.pollTimeout();
  const now = exactNow();
  if (due !== undefined && due <= now) stack.handleTimeout(now);
  tellEvents(state);
  carrier.transmit(stack.pollFrame);
  if (carrier.plane.hasInput()) {
    state.wake?.();
    // What control has injected meanwhile.
    carrier.transmit(stack.pollFrame);
  }
  if (state.isClosed) return;
  if (hasMore) alarm.ringSoon();
  const next = stack.pollTimeout();
  alarm.ringIn(next === undefined ? undefined : Math.max(1, next - exactNow()));
}

/** The frame is lent: what it brings is told of at once. */
function take(state: State, frame: Uint8Array): void {
  const { stack } = state;
  if (isTcpFrame(frame)) stack.handleTcpFrame(exactNow(), frame);
  else for (const packet of packetsOf(copyOf(frame))) stack.handlePacket(exactNow(), packet);
  tellEvents(state);
}

function tellEvents({ stack, options }: State): void {
  for (let event = stack.pollEvent(); event !== undefined; event = stack.pollEvent()) options.onStack(event);
}
