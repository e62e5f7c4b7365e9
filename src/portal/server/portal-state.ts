/**
 * What the machine holds besides the core: limits, flows, and its table of deadlines.
 */
import { after, earliest, type Instant } from "../../base/index.ts";
import { type Admission, createAdmission } from "./admission.ts";
import type { Core } from "./core.ts";
import { createFlows, type Flows } from "./flows.ts";
import { createJoinQueue, type JoinQueue } from "./join-queue.ts";
import { createTokenBucket, type TokenBucket } from "./rate-limit.ts";
import { createRelays, type Relays } from "./relays.ts";
import type { PeerSocket } from "./sockets.ts";
import type { StateChange } from "./stored-state.ts";

export interface PortalState {
  readonly core: Core;
  readonly admission: Admission;
  readonly flows: Flows;
  readonly relays: Relays;
  /** Per token (PT-72). */
  readonly newDevices: TokenBucket;
  /** Per peer (PT-74). */
  readonly replacements: TokenBucket;
  readonly joins: JoinQueue;
  /** Per socket: each join again costs an `init` (PT-72). */
  readonly joinsAgain: TokenBucket;
  readonly deadlines: Deadlines;
  /** The highest revision that was handed out to be written. */
  offeredRevision: number;
  /** Sockets whose `init` waits for the disk (PT-115). */
  readonly waiting: Set<PeerSocket>;
  /** What is being written. */
  offered: readonly StateChange[];
}

/** When the machine acts by itself; sockets and flows keep their own. */
export interface Deadlines {
  /** Expired authorisations go, and times of policies are looked at. */
  sweep: Instant;
  /** Last-seen data is committed. */
  lastSeen: Instant | undefined;
  /** The first token of a socket expires. */
  tokenEnd: Instant | undefined;
  /** The first time of a policy ends. */
  resourceChange: Instant | undefined;
}

const SWEEP_MS = 60_000;
const NEW_DEVICES_PER_SECOND = 20;
/** More replaced sockets of one peer than these are worth a warning. */
const REPLACED_PER_MINUTE = 5;

export function createPortalState(core: Core, now: Instant): PortalState {
  return {
    core,
    admission: createAdmission(),
    flows: createFlows(core),
    relays: createRelays(core),
    newDevices: createTokenBucket({ perSecond: NEW_DEVICES_PER_SECOND, burst: NEW_DEVICES_PER_SECOND }),
    replacements: createTokenBucket({ perSecond: REPLACED_PER_MINUTE / 60, burst: REPLACED_PER_MINUTE }),
    joins: createJoinQueue(now),
    joinsAgain: createTokenBucket({ perSecond: 1, burst: 5 }),
    deadlines: {
      sweep: after(now, SWEEP_MS),
      lastSeen: undefined,
      tokenEnd: undefined,
      resourceChange: undefined,
    },
    offeredRevision: 0,
    waiting: new Set(),
    offered: [],
  };
}

/** The sweep after this one, on the same grid however late this one was. */
export function nextSweep(sweep: Instant, now: Instant): Instant {
  return after(sweep, SWEEP_MS * (Math.floor((now - sweep) / SWEEP_MS) + 1));
}

export function noteTokenEnd({ core, deadlines }: PortalState, { token }: PeerSocket): void {
  if (token.expiresAt === undefined) return;
  deadlines.tokenEnd = earliest(deadlines.tokenEnd, core.clock.instantOf(token.expiresAt));
}

/** All of them anew: sockets have gone, or the clock was set. */
export function noteTokenEnds(state: PortalState): void {
  state.deadlines.tokenEnd = undefined;
  for (const socket of state.core.sockets.all()) noteTokenEnd(state, socket);
}
