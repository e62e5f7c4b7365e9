/**
 * The sockets of our relays, as the ingress worker looks for them (SN-128): channel data from anywhere else goes
 * to control.
 */
import type { SocketAddress } from "../../src/base/index.ts";
import { CONSTANTS, OFFSETS, type SharedMemory } from "../memory/index.ts";
import type { Quiescence } from "./quiescence.ts";

const HEAD_BYTES = 16;

export function setRelays(
  shared: SharedMemory,
  quiescence: Quiescence,
  relays: readonly SocketAddress[],
): void {
  const list = shared.allocate(HEAD_BYTES + relays.length * CONSTANTS.RELAY_ROW_BYTES);
  const { words, bytes } = shared;
  words[list >> 2] = relays.length;
  let row = list + HEAD_BYTES;
  for (const { address, port } of relays) {
    words[row >> 2] = address.length;
    words[(row >> 2) + 1] = port;
    bytes.set(address, row + HEAD_BYTES);
    row += CONSTANTS.RELAY_ROW_BYTES;
  }
  const place = (CONSTANTS.PLANE_ADDRESS + OFFSETS.plane.relays) >> 2;
  const old = Atomics.exchange(words, place, list);
  if (old !== 0) quiescence.after(() => shared.free(old));
}
