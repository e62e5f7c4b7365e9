/**
 * The names that a gateway is looking up for its clients (TN-63): a pure machine. Each lookup has a token, by which
 * its result comes back; who asks for the same again while it runs joins it with a new list.
 */
import { after, type Instant, type IpAddress } from "../../base/index.ts";
import { MAX_RESOLVES, RESOLVE_TIMEOUT_MS } from "../constants.ts";
import type { NamedResource } from "./entries.ts";

export interface Setup extends NamedResource {
  readonly cid: string;
  readonly proxies: readonly IpAddress[];
}

export interface Setups {
  /** `full`: too many run; the client asks again. */
  begin(now: Instant, setup: Setup): "begun" | "joined" | "full";
  /** `undefined`: nobody waits for it any more. */
  finish(token: number): Setup | undefined;
  /** What took too long: it counts as an error. */
  handleTimeout(now: Instant): readonly Setup[];
  pollTimeout(): Instant | undefined;
  /** What is to be looked up now. */
  pollQuery(): { readonly token: number; readonly domain: string } | undefined;
}

interface Running {
  readonly key: string;
  readonly dueAt: Instant;
  setup: Setup;
}

export function createSetups(): Setups {
  /** By token, so in the order of their ends. */
  const running = new Map<number, Running>();
  const tokens = new Map<string, number>();
  const queries: { readonly token: number; readonly domain: string }[] = [];
  let last = 0;

  function finish(token: number): Setup | undefined {
    const one = running.get(token);
    if (one === undefined) return undefined;
    running.delete(token);
    tokens.delete(one.key);
    return one.setup;
  }

  return {
    begin(now, setup) {
      const key = `${setup.cid} ${setup.rid} ${setup.domain}`;
      const known = running.get(tokens.get(key) ?? 0);
      if (known !== undefined) {
        known.setup = setup;
        return "joined";
      }
      if (running.size >= MAX_RESOLVES) return "full";
      const token = ++last;
      running.set(token, { key, dueAt: after(now, RESOLVE_TIMEOUT_MS), setup });
      tokens.set(key, token);
      queries.push({ token, domain: setup.domain });
      return "begun";
    },
    finish,
    handleTimeout(now) {
      const late = [...running].filter(([, { dueAt }]) => now >= dueAt);
      return late.flatMap(([token]) => finish(token) ?? []);
    },
    pollTimeout() {
      for (const { dueAt } of running.values()) return dueAt;
      return undefined;
    },
    pollQuery: () => queries.shift(),
  };
}
