/**
 * What a gateway finds for its clients' names, asked once for all of them (DN-88, DN-89): equal lookups under way
 * are shared, and what was found is kept while it holds. Failures are not kept.
 */
import type { SetupResult } from "../dns/index.ts";

/** A result, and how long it may be kept as far as the servers say it. */
export interface TimedResult {
  readonly result: SetupResult;
  readonly lifetimeS?: number;
}

export const SETUP_CACHE_NAMES = 512;
const POSITIVE_S_MIN = 1;
const POSITIVE_S_MAX = 3_600;
/** Where nobody says how long a name stays away; and whatever a zone says, it may be there soon. */
const NEGATIVE_S = 5;
const NEGATIVE_S_MAX = 30;

interface KeptResult {
  readonly result: SetupResult;
  readonly untilMs: number;
}

export function shareLookups(
  lookUp: (name: string) => Promise<TimedResult>,
  nowMs: () => number = () => performance.now(),
): (name: string) => Promise<SetupResult> {
  /** In order of use, the least recent first. */
  const kept = new Map<string, KeptResult>();
  const underWay = new Map<string, Promise<SetupResult>>();

  async function run(name: string): Promise<SetupResult> {
    try {
      const { result, lifetimeS } = await lookUp(name);
      const seconds = secondsToKeep(result, lifetimeS);
      if (seconds > 0) keep(name, { result, untilMs: nowMs() + seconds * 1000 });
      return result;
    } finally {
      underWay.delete(name);
    }
  }

  function keep(name: string, entry: KeptResult): void {
    kept.delete(name);
    kept.set(name, entry);
    const [oldest] = kept.keys();
    if (kept.size > SETUP_CACHE_NAMES && oldest !== undefined) kept.delete(oldest);
  }

  return (name) => {
    const known = kept.get(name);
    if (known !== undefined && nowMs() < known.untilMs) {
      keep(name, known);
      return Promise.resolve(known.result);
    }
    const running = underWay.get(name) ?? run(name);
    if (!underWay.has(name)) underWay.set(name, running);
    return running;
  };
}

function secondsToKeep(result: SetupResult, lifetimeS: number | undefined): number {
  switch (result.kind) {
    case "addresses":
      if (lifetimeS === undefined) return 0;
      return Math.min(POSITIVE_S_MAX, Math.max(POSITIVE_S_MIN, lifetimeS));
    case "none":
      return Math.min(NEGATIVE_S_MAX, lifetimeS ?? NEGATIVE_S);
    case "error":
      return 0;
  }
}
