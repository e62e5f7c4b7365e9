/** Numbers of the ICE agent (SN §1). */

/** How a pair's checks are spaced and when it is given up (SN-45, SN-46). */
export interface IceTimings {
  readonly initialRtoMs: number;
  readonly maxRtoMs: number;
  /** Unanswered checks in a row that end a pair. */
  readonly retransmitsMax: number;
}

/** Both roles (SN-60): a pair is given up at most 18 s after its path died. */
export const DEFAULT_TIMINGS: IceTimings = { initialRtoMs: 250, maxRtoMs: 1_500, retransmitsMax: 12 };

/** While somebody says that the peer may be gone (SN-142): answered, or given up after 2.25 s. */
export const PROBE_TIMINGS: IceTimings = { initialRtoMs: 250, maxRtoMs: 250, retransmitsMax: 8 };

/** While no data flows: the checks only keep NAT bindings alive (SN-80). */
export const IDLE_TIMINGS: IceTimings = { initialRtoMs: 25_000, maxRtoMs: 25_000, retransmitsMax: 4 };

/** While a pair has not worked yet, a check by the peer triggers one of ours (SN-140): so early, so far apart. */
export const TRIGGERED_MAX = 4;
export const TRIGGERED_GAP_MS = 100;

/** While nothing has been answered: so many checks more per pair, so far apart (SN-144). */
export const EXTRA_MAX = 4;
export const EXTRA_GAP_MS = 100;

/** Ta, the pacing of RFC 8445 §14.2: the least time between two extra checks of an agent. */
export const PACING_MS = 50;

/** A nomination whose check went unanswered is repeated after that many round trips (SN-140). */
export const NOMINATION_ROUND_TRIPS = 3;
export const NOMINATION_MIN_MS = 100;
export const NOMINATION_REPEATS = 3;

/** While data goes through a relay, direct pairs that were given up are checked anew so often (SN-146). */
export const SEEK_EVERY_MS = 30_000;

/** Checks of addresses from which data came: so far apart, and answered within that time (SN-145). */
export const SIGHTING_GAP_MS = 100;
export const SIGHTING_MS = 2_000;

/** RFC 8445 §6.1.2.5. */
export const MAX_PAIRS = 100;

/** Per agent, those learnt from checks included (SN-32). */
export const MAX_REMOTE_CANDIDATES = 64;

/** Own limit: more interface addresses than this help nobody, and each is signalled. */
export const MAX_LOCAL_CANDIDATES = 64;

/** Per agent, over its whole life (SN-37). */
export const MAX_OPTIMISTIC = 8;

/** Unanswered checks in a row on the selected pair that make the path suspect (SN-92). */
export const SUSPECT_AFTER = 3;

/** Longest candidate text that is read (SN-29). */
export const CANDIDATE_TEXT_MAX = 512;

/** RFC 8445 §5.1.2.2, in the order in which candidates are preferred. */
export const TYPE_PREFERENCE = { host: 126, prflx: 110, srflx: 100, relay: 2 } as const;

/** Where the local preference of each kind starts (SN-18). */
export const LOCAL_PREFERENCE_START = { host: 65_535, prflx: 49_151, srflx: 32_767, relay: 16_383 } as const;

/** Subtracted where a relay's address has another family than the way to the relay (SN-18). */
export const CROSS_FAMILY_PENALTY = 1_000;

/** Subtracted where the way to the relay is a stream (SN-18). */
export const STREAM_PENALTY = 2_000;

/** There is one component, the datagrams (SN-15). */
export const COMPONENT = 1;
