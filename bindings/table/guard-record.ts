/** Publishing what handshake messages are checked with, by one pointer swap (PG-160). */
import type { HandshakeGuard } from "../../src/plane/index.ts";
import { BYTES, CONSTANTS, OFFSETS, type SharedMemory } from "../memory/index.ts";
import type { Quiescence } from "./quiescence.ts";

const { guard: GUARD, plane: PLANE } = OFFSETS;
const PLACE = (CONSTANTS.PLANE_ADDRESS + PLANE.guard) >> 2;

/** The old record is wiped and given back when no worker can see it any more. */
export function setGuard(
  shared: SharedMemory,
  quiescence: Quiescence,
  guard: HandshakeGuard | undefined,
): void {
  const old = Atomics.exchange(shared.words, PLACE, guard === undefined ? 0 : writeGuard(shared, guard));
  if (old === 0) return;
  quiescence.after(() => {
    shared.bytes.fill(0, old, old + BYTES.guard);
    shared.free(old);
  });
}

function writeGuard(shared: SharedMemory, guard: HandshakeGuard): number {
  const at = shared.allocate(BYTES.guard);
  const { bytes } = shared;
  bytes.set(guard.mac1Key, at + GUARD.mac1Key);
  bytes.set(guard.cookieKey, at + GUARD.cookieKey);
  bytes.set(guard.secret, at + GUARD.secret);
  bytes.set(guard.nonce, at + GUARD.nonce);
  return at;
}
