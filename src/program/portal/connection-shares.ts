/**
 * Who may hold how many of the portal's connections before it is known (PT-72).
 *
 * A connection counts against its address until its upgrade is accepted; from then on the token and the
 * device that it belongs to bound it. At a limit the oldest that is still unknown makes room: one that
 * means to join is known within milliseconds, and one that only holds its place loses it.
 */

export interface ShareLimits {
  /** Connections of one address, or of one /64, that are not known yet. */
  readonly perNetwork: number;
  /** All that are not known yet. */
  readonly unknown: number;
  /** All. */
  readonly total: number;
}

export interface ConnectionShares<C> {
  /** @returns the connection that must go for this one; the new one itself where no other can */
  open(connection: C, network: string): C | undefined;
  /** It belongs to a device now. */
  admit(connection: C): void;
  close(connection: C): void;
  readonly total: number;
}

export function createConnectionShares<C>(limits: ShareLimits): ConnectionShares<C> {
  /** Oldest first, with its network. */
  const unknown = new Map<C, string>();
  const byNetwork = new Map<string, Set<C>>();
  const all = new Set<C>();

  function forget(connection: C): void {
    const network = unknown.get(connection);
    if (network === undefined) return;
    unknown.delete(connection);
    const own = byNetwork.get(network);
    own?.delete(connection);
    if (own?.size === 0) byNetwork.delete(network);
  }

  function victim(own: ReadonlySet<C>): C | undefined {
    if (own.size > limits.perNetwork) return first(own);
    const isFull = unknown.size > limits.unknown || all.size > limits.total;
    return isFull ? first(unknown.keys()) : undefined;
  }

  return {
    open(connection, network) {
      all.add(connection);
      unknown.set(connection, network);
      const own = byNetwork.get(network) ?? new Set();
      own.add(connection);
      byNetwork.set(network, own);
      const goes = victim(own);
      if (goes === undefined) return undefined;
      forget(goes);
      all.delete(goes);
      return goes;
    },
    admit: forget,
    close(connection) {
      forget(connection);
      all.delete(connection);
    },
    get total() {
      return all.size;
    },
  };
}

function first<T>(of: Iterable<T>): T | undefined {
  for (const item of of) return item;
  return undefined;
}
