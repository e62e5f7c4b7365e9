/** Access that ended while its client was away, kept for the client's next `init` (PT-92, PT-140). */
import type { UnixMs } from "../../base/index.ts";
import { type Rejection, rejectionKey } from "./stored-state.ts";

const MAX_REJECTION_AGE_MS = 7 * 86_400_000;
/** Past that the oldest goes: its client learns of it when the gateway refuses. */
const MAX_REJECTIONS = 10_000;

export interface RejectionTable {
  get(key: string): Rejection | undefined;
  all(): Iterable<Rejection>;
  note(rejection: Rejection): void;
  /** The rejections of a client; they are forgotten by it. */
  takeOf(cid: string, wallNow: UnixMs): readonly Rejection[];
}

/** @param onChange called with the key of every rejection that comes or goes */
export function createRejectionTable(
  initial: readonly Rejection[],
  onChange: (key: string) => void,
): RejectionTable {
  const byKey = new Map<string, Rejection>();
  const keysOfClient = new Map<string, Set<string>>();

  function add(rejection: Rejection): void {
    const key = rejectionKey(rejection);
    byKey.delete(key);
    byKey.set(key, rejection);
    const keys = keysOfClient.get(rejection.cid);
    if (keys === undefined) keysOfClient.set(rejection.cid, new Set([key]));
    else keys.add(key);
  }

  function remove(key: string): void {
    const known = byKey.get(key);
    if (known === undefined) return;
    byKey.delete(key);
    const keys = keysOfClient.get(known.cid);
    keys?.delete(key);
    if (keys?.size === 0) keysOfClient.delete(known.cid);
    onChange(key);
  }

  for (const rejection of initial) add(rejection);
  return {
    get: (key) => byKey.get(key),
    all: () => byKey.values(),
    note(rejection) {
      add(rejection);
      onChange(rejectionKey(rejection));
      const [oldest] = byKey.keys();
      if (byKey.size > MAX_REJECTIONS && oldest !== undefined) remove(oldest);
    },
    takeOf(cid, wallNow) {
      const own = [...(keysOfClient.get(cid) ?? [])].flatMap((key) => byKey.get(key) ?? []);
      for (const rejection of own) remove(rejectionKey(rejection));
      return own.filter(({ at }) => wallNow - at <= MAX_REJECTION_AGE_MS);
    },
  };
}
