/** Connections by their four numbers. */
import { equalIp, type IpAddress, type Random, randomBytes, type SocketAddress } from "../base/index.ts";

export interface Ends {
  readonly local: SocketAddress;
  readonly remote: SocketAddress;
}

export interface ConnectionTable<T extends Ends> {
  get(local: SocketAddress, remote: SocketAddress): T | undefined;
  add(entry: T): void;
  remove(entry: T): void;
}

/** Strings as keys would cost more than all the rest of a packet; so entries are found by a hash and compared. */
export function createConnectionTable<T extends Ends>(random: Random): ConnectionTable<T> {
  const buckets = new Map<number, T[]>();
  // Keyed, so that nobody can fill one bucket.
  const key = new DataView(randomBytes(random, 16).buffer);
  const secrets = [key.getUint32(0), key.getUint32(4), key.getUint32(8) | 1, key.getUint32(12) | 1] as const;

  function hashOf({ address: from, port: fromPort }: SocketAddress, to: SocketAddress): number {
    const [seed, salt, first, second] = secrets;
    const ends = Math.imul(hashAddress(seed, first, from), second) ^ hashAddress(salt, first, to.address);
    const ports = Math.imul((fromPort << 16) ^ to.port ^ salt, second);
    const mixed = Math.imul(ends ^ ports ^ (ports >>> 15), first);
    return (mixed ^ (mixed >>> 13)) >>> 0;
  }

  return {
    get(local, remote) {
      const bucket = buckets.get(hashOf(local, remote));
      return bucket?.find((entry) => isBetween(entry, local, remote));
    },
    add(entry) {
      const hash = hashOf(entry.local, entry.remote);
      const bucket = buckets.get(hash);
      if (bucket === undefined) buckets.set(hash, [entry]);
      else bucket.push(entry);
    },
    remove(entry) {
      const hash = hashOf(entry.local, entry.remote);
      const left = (buckets.get(hash) ?? []).filter((other) => other !== entry);
      if (left.length === 0) buckets.delete(hash);
      else buckets.set(hash, left);
    },
  };
}

function hashAddress(seed: number, factor: number, address: IpAddress): number {
  let hash = seed;
  for (let i = 0; i < address.length; i++) {
    hash = Math.imul(hash ^ (address[i] ?? 0), factor);
    hash ^= hash >>> 15;
  }
  return hash;
}

function isBetween(entry: Ends, local: SocketAddress, remote: SocketAddress): boolean {
  return (
    entry.local.port === local.port &&
    entry.remote.port === remote.port &&
    equalIp(entry.remote.address, remote.address) &&
    equalIp(entry.local.address, local.address)
  );
}
