/**
 * Control's hand in the table of sources that have proved to be somebody (PG-160): where a peer's path leads
 * is known from then on, because ICE has checked it or the operator wrote it down. The other hand, and the
 * form of the entries, are in `assembly/guard/known-source.ts`.
 */
import type { SocketAddress } from "../../src/base/index.ts";
import { CONSTANTS, type SharedMemory } from "../memory/index.ts";

const { KNOWN_SOURCES, KNOWN_UNSTAMPED } = CONSTANTS;
const PLACE_FACTOR = 0x9e3779b1;
const CHECK_FACTOR = 0x85ebca77;

export interface KnownSources {
  readonly address: number;
  /** The source's first message stamps the entry with the time: control has no clock here. */
  note(source: SocketAddress): void;
}

export function createKnownSources(shared: SharedMemory): KnownSources {
  const address = shared.allocate(KNOWN_SOURCES * 8);
  return {
    address,
    note(source) {
      const place = hashed(source, PLACE_FACTOR) & (KNOWN_SOURCES - 1);
      const entry = (BigInt(hashed(source, CHECK_FACTOR)) << 32n) | BigInt(KNOWN_UNSTAMPED);
      Atomics.store(shared.longs, (address >> 3) + place, entry);
    },
  };
}

function hashed({ address, port }: SocketAddress, factor: number): number {
  const bytes = new Uint8Array(16);
  bytes.set(address);
  const words = new DataView(bytes.buffer);
  let hash = port ^ (address.length << 16);
  for (let i = 0; i < bytes.length; i += 4) {
    hash = Math.imul(hash ^ words.getUint32(i, true), factor);
    hash ^= hash >>> 15;
  }
  return hash >>> 0;
}
