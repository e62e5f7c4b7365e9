/**
 * The channels of relayed paths, as the ingress worker looks for them (SN-128): channel data of any other
 * relay or channel goes to control.
 */
import type { SocketAddress } from "../../src/base/index.ts";
import type { PathRecord } from "../../src/plane/index.ts";
import { CONSTANTS, OFFSETS, type SharedMemory } from "../memory/index.ts";
import type { Quiescence } from "./quiescence.ts";

const HEAD_BYTES = 16;

export interface RelayList {
  remember(slot: number, path: PathRecord): void;
  forget(slot: number): void;
}

export function createRelayList(shared: SharedMemory, quiescence: Quiescence): RelayList {
  const channels = new Map<number, { readonly relay: SocketAddress; readonly channel: number }>();

  function publish(): void {
    const list = shared.allocate(HEAD_BYTES + channels.size * CONSTANTS.RELAY_ROW_BYTES);
    const { words, bytes } = shared;
    words[list >> 2] = channels.size;
    let row = list + HEAD_BYTES;
    for (const { relay, channel } of channels.values()) {
      words[row >> 2] = relay.address.length;
      words[(row >> 2) + 1] = relay.port;
      words[(row >> 2) + 2] = channel;
      bytes.set(relay.address, row + HEAD_BYTES);
      row += CONSTANTS.RELAY_ROW_BYTES;
    }
    const place = (CONSTANTS.PLANE_ADDRESS + OFFSETS.plane.relays) >> 2;
    const old = Atomics.exchange(words, place, list);
    if (old !== 0) quiescence.after(() => shared.free(old));
  }

  return {
    remember(slot, { destination, channel }) {
      if (destination === undefined || channel === undefined) return;
      channels.set(slot, { relay: destination, channel });
      publish();
    },
    forget(slot) {
      if (channels.delete(slot)) publish();
    },
  };
}
