/**
 * A token that the portal takes no more, and the next one, of whom gives tokens (PG-120). It has either run out while
 * we were joined (PT-93), or is refused on the way back (PT-29).
 */
import { type Instant, PosternError, type Random, type Secret } from "../base/index.ts";
import { type Backoff, nextPause, restarted, type TransientError } from "../portal/protocol/index.ts";

/** Gives a token in place of the one that was refused. */
export type AskToken = (refused: Secret<string>) => Promise<Secret<string>>;

export interface TokenRenewalOptions {
  readonly token: Secret<string>;
  /** Absent: the token is the only one there is. */
  readonly ask: AskToken | undefined;
  /** How long to ask in vain, once the portal has taken a token; absent: for ever. */
  readonly maxPartitionMs?: number | undefined;
  readonly now: () => Instant;
  readonly random: Random;
  /** Another token is there. */
  readonly onToken: () => void;
  /** Nothing is lost yet. */
  readonly onHiccup: (error: TransientError, pauseMs: number) => void;
  /** There is no token that the portal takes: `failure` of whom was asked, if there is one. */
  readonly onEnd: (failure: unknown) => void;
}

export interface TokenRenewal {
  readonly token: Secret<string>;
  readonly isAsking: boolean;
  /** @returns whether another one is asked for; if not, the refusal is final */
  refused(): boolean;
  accepted(): void;
  stop(): void;
}

/** Tokens that are refused one after the other, none of which was ever taken: the next ones will not be, either. */
const REFUSED_TOKENS_MAX = 3;
const ASK_MS_MAX = 60_000;

interface State {
  readonly options: TokenRenewalOptions;
  token: Secret<string>;
  phase: "idle" | "asking" | "stopped";
  wasAccepted: boolean;
  /** Since one was taken. */
  refusals: number;
  backoff: Backoff;
  firstFailureAt: Instant | undefined;
  timer: NodeJS.Timeout | undefined;
}

export function createTokenRenewal(options: TokenRenewalOptions): TokenRenewal {
  const state: State = {
    ...{ options, token: options.token, phase: "idle", wasAccepted: false, refusals: 0 },
    ...{ backoff: FROM_THE_FIRST_PAUSE, firstFailureAt: undefined, timer: undefined },
  };
  return {
    get token() {
      return state.token;
    },
    get isAsking() {
      return state.phase === "asking";
    },
    refused() {
      // A refusal of an attempt that was made while we ask is of the token that we know to be refused.
      if (state.phase === "asking") return true;
      if (options.ask === undefined || state.phase === "stopped") return false;
      if (++state.refusals > REFUSED_TOKENS_MAX) return false;
      state.phase = "asking";
      state.backoff = restarted(state.backoff);
      state.firstFailureAt = undefined;
      options.onHiccup({ kind: "broken", detail: "the token was refused, another one is asked for" }, 0);
      void ask(state, options.ask);
      return true;
    },
    accepted() {
      state.wasAccepted = true;
      state.refusals = 0;
    },
    stop() {
      state.phase = "stopped";
      clearTimeout(state.timer);
    },
  };
}

const FROM_THE_FIRST_PAUSE: Backoff = { kind: "reconnect", attempts: 0 };

async function ask(state: State, giveToken: AskToken): Promise<void> {
  const { options, token: refused } = state;
  try {
    const token = await inTime(giveToken(refused), state);
    if (state.phase !== "asking") return;
    state.phase = "idle";
    if (token.reveal().trim() === refused.reveal().trim()) return options.onEnd(undefined);
    state.token = token;
    options.onToken();
  } catch (error) {
    if (state.phase === "asking") again(state, giveToken, error);
  }
}

/** Before the portal has taken any token, who cannot give one ends the start, as when it was asked first. */
function again(state: State, giveToken: AskToken, error: unknown): void {
  const { options } = state;
  const now = options.now();
  state.firstFailureAt ??= now;
  const limitMs = options.maxPartitionMs ?? Number.POSITIVE_INFINITY;
  if (!state.wasAccepted || now - state.firstFailureAt >= limitMs) {
    state.phase = "idle";
    options.onEnd(error);
    return;
  }
  const { pauseMs, backoff } = nextPause(state.backoff, options.random);
  state.backoff = backoff;
  const detail = `no new token: ${error instanceof Error ? error.message : String(error)}`;
  options.onHiccup({ kind: "broken", detail }, pauseMs);
  state.timer = setTimeout(() => void ask(state, giveToken), pauseMs);
}

/** What else ends the waiting, and where its timer is, for whoever stops it. */
interface Waiting {
  readonly signal?: AbortSignal | undefined;
  timer?: NodeJS.Timeout | undefined;
}

/** Rejects with the signal's reason. @throws PosternError `timeout` after a minute */
export async function inTime<T>(given: T | Promise<T>, waiting: Waiting): Promise<T> {
  const { signal } = waiting;
  let aborted = (): void => {};
  const late = new Promise<never>((_resolve, reject) => {
    const error = new PosternError("timeout", `nobody gave a token within ${ASK_MS_MAX / 1000} s`);
    waiting.timer = setTimeout(() => reject(error), ASK_MS_MAX);
    aborted = () => reject(signal?.reason);
    if (signal?.aborted) aborted();
    else signal?.addEventListener("abort", aborted);
  });
  try {
    return await Promise.race([given, late]);
  } finally {
    clearTimeout(waiting.timer);
    signal?.removeEventListener("abort", aborted);
  }
}
