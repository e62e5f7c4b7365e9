/**
 * When a new connection is read (PT-72): soon, while its address asks little; else in its turn. What waits
 * here costs a descriptor and nothing else: no TLS, no parser, no answer.
 *
 * A connection is one request, so this bounds what one address, and what all together, can ask of a turn of
 * the loop. Refusing them instead would cost as much as serving them, and those refused come back at once.
 */
import { after, type Instant } from "../../base/index.ts";
import { createTokenBucket, REQUESTS_PER_ADDRESS } from "../../portal/server/index.ts";

/** So many are let in between two looks at everything else: a few milliseconds of work. */
export const TURN_MAX = 16;
/** How often those are looked at whose addresses have asked too much. */
const PAUSE_MS = 10;

export interface Turnstile<C> {
  /** @param network whose share it counts against */
  arrive(now: Instant, connection: C, network: string): void;
  leave(connection: C): void;
  /** Whose turn it is: at most `TURN_MAX`, one of each network after the other. They have left then. */
  handleTimeout(now: Instant): readonly C[];
  pollTimeout(): Instant | undefined;
}

export function createTurnstile<C>(): Turnstile<C> {
  const shares = createTokenBucket(REQUESTS_PER_ADDRESS);
  /** Oldest first; the network that was served last stands last. */
  const waiting = new Map<string, Set<C>>();
  const networks = new Map<C, string>();
  let nextAt: Instant | undefined;

  function remove(connection: C): void {
    const network = networks.get(connection);
    if (network === undefined) return;
    networks.delete(connection);
    const own = waiting.get(network);
    own?.delete(connection);
    if (own?.size === 0) waiting.delete(network);
  }

  /** The oldest of each network that may ask once more. */
  function round(now: Instant, max: number): readonly C[] {
    const turns: C[] = [];
    for (const [network, own] of [...waiting]) {
      if (turns.length === max) break;
      const [oldest] = own;
      if (oldest === undefined || !shares.take(now, network)) continue;
      turns.push(oldest);
      remove(oldest);
      if (waiting.delete(network)) waiting.set(network, own);
    }
    return turns;
  }

  return {
    arrive(now, connection, network) {
      networks.set(connection, network);
      const own = waiting.get(network);
      if (own === undefined) waiting.set(network, new Set([connection]));
      else own.add(connection);
      // A network that waits for its share wakes nobody earlier by asking for more.
      if (own === undefined) nextAt = now;
    },
    leave(connection) {
      remove(connection);
      if (waiting.size === 0) nextAt = undefined;
    },
    handleTimeout(now) {
      if (nextAt === undefined || now < nextAt) return [];
      const turns: C[] = [];
      for (let more = true; more; ) {
        const served = round(now, TURN_MAX - turns.length);
        turns.push(...served);
        more = served.length > 0 && turns.length < TURN_MAX;
      }
      const isFull = turns.length === TURN_MAX;
      nextAt = waiting.size === 0 ? undefined : isFull ? now : after(now, PAUSE_MS);
      return turns;
    },
    pollTimeout: () => nextAt,
  };
}
