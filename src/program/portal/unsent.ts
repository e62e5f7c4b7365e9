/**
 * What was sent to peers and has not left yet (PT-132). A peer that does not read costs memory; its next
 * `init` is complete anyway, so it is closed rather than waited for.
 */

export interface UnsentLimits {
  /** More than this unsent, and nothing more is sent to the peer. */
  readonly perSocketBytes: number;
  /** Unsent for so long, and the peer does not read. */
  readonly withinMs: number;
  /** Of all together; beyond it whoever holds most goes. */
  readonly totalBytes: number;
}

export const UNSENT_LIMITS: UnsentLimits = {
  perSocketBytes: 1024 * 1024,
  withinMs: 10_000,
  totalBytes: 64 * 1024 * 1024,
};

/** A socket that can be written to. */
export interface Outlet {
  readonly bufferedAmount: number;
}

export interface Unsent<S extends Outlet> {
  /** Whether one more frame may be sent to this socket. */
  mayAdd(socket: S): boolean;
  /** A frame was given to the socket. @returns the sockets that hold too much of all */
  added(socket: S, bytes: number): readonly S[];
  left(bytes: number): void;
  remove(socket: S): void;
  /** @returns the sockets whose data has not left for too long */
  check(nowMs: number): readonly S[];
}

/** What a socket had been given when it was looked at; all of it must have left in time. */
interface Mark {
  readonly atMs: number;
  readonly given: number;
}

interface Account {
  given: number;
  mark: Mark | undefined;
}

export function createUnsent<S extends Outlet>(limits: UnsentLimits = UNSENT_LIMITS): Unsent<S> {
  const accounts = new Map<S, Account>();
  let total = 0;

  function largest(): S | undefined {
    let found: S | undefined;
    for (const socket of accounts.keys()) {
      if (found === undefined || socket.bufferedAmount > found.bufferedAmount) found = socket;
    }
    return found;
  }

  return {
    mayAdd: (socket) => socket.bufferedAmount <= limits.perSocketBytes,
    added(socket, bytes) {
      const account = accounts.get(socket) ?? { given: 0, mark: undefined };
      account.given += bytes;
      accounts.set(socket, account);
      total += bytes;
      if (total <= limits.totalBytes) return [];
      const goes = largest();
      return goes === undefined ? [] : [goes];
    },
    left(bytes) {
      total -= bytes;
    },
    remove: (socket) => accounts.delete(socket),
    check(nowMs) {
      const late: S[] = [];
      for (const [socket, account] of accounts) {
        if (socket.bufferedAmount === 0) {
          accounts.delete(socket);
          continue;
        }
        const hasLeft = account.given - socket.bufferedAmount;
        if (account.mark === undefined || hasLeft >= account.mark.given) {
          account.mark = { atMs: nowMs, given: account.given };
        } else if (nowMs - account.mark.atMs >= limits.withinMs) late.push(socket);
      }
      return late;
    },
  };
}
