/**
 * Which sources have proved that they are somebody (PG-160): authentic data came from there, or control made
 * them a peer's path, which ICE has validated. They have shares of their own.
 *
 *     place, by one hash of address and port:  [when, in units of 2^KNOWN_UNIT_BITS ms, u32][another hash u32]
 *
 * Two sources of one place push each other out; whoever is pushed out is a stranger until its next message.
 * A source that has the same hashes as a known one is taken for it: to find one, a stranger must know an
 * address that it could as well forge. Control, which has no clock here, writes KNOWN_UNSTAMPED instead of the
 * time, and the first message of the source stamps it: `bindings/table/known-sources.ts`.
 * The twin is `test/twin/plane/guard.ts`.
 */
import {
  KNOWN_SOURCES,
  KNOWN_UNIT_BITS,
  KNOWN_UNITS,
  KNOWN_UNSTAMPED,
  PLANE_ADDRESS,
  Plane,
  Worker,
} from "../layout";

const PLACE_FACTOR: u32 = 0x9e3779b1;
const CHECK_FACTOR: u32 = 0x85ebca77;

/** Notes the source of the batch at hand, which sent an authentic message. */
export function noteKnownSource(worker: usize): void {
  atomic.store<u64>(placeOf(worker), entryOf(worker));
}

/** Whether the source of the batch at hand is known, and was lately. */
export function isKnownSource(worker: usize): bool {
  const found = atomic.load<u64>(placeOf(worker));
  const wanted = entryOf(worker);
  if (<u32>(found >> 32) != <u32>(wanted >> 32)) return false;
  if (<u32>found == KNOWN_UNSTAMPED) {
    noteKnownSource(worker);
    return true;
  }
  return <u32>wanted - <u32>found <= KNOWN_UNITS;
}

function placeOf(worker: usize): usize {
  const place = hashed(worker, PLACE_FACTOR) & (KNOWN_SOURCES - 1);
  return load<usize>(PLANE_ADDRESS, Plane.KNOWN_SOURCES) + ((<usize>place) << 3);
}

function entryOf(worker: usize): u64 {
  const unit = <u32>(load<u64>(worker, Worker.NOW) >> KNOWN_UNIT_BITS);
  return ((<u64>hashed(worker, CHECK_FACTOR)) << 32) | <u64>unit;
}

function hashed(worker: usize, factor: u32): u32 {
  let hash = load<u32>(worker, Worker.FROM_PORT) ^ (load<u32>(worker, Worker.FROM_BYTES) << 16);
  for (let i: usize = 0; i < 16; i += 4) {
    hash = (hash ^ load<u32>(worker + i, Worker.FROM)) * factor;
    hash ^= hash >> 15;
  }
  return hash;
}
