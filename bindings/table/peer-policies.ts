/** What single peers may, each for itself (TN-110): its permit, and the addresses that lead to it. */
import { equalIp, type IpAddress } from "../../src/base/index.ts";
import type { PeerPolicy } from "../../src/plane/index.ts";
import { CONSTANTS, OFFSETS, type SharedMemory } from "../memory/index.ts";
import { createHostTable } from "./host-table.ts";
import { writePermit } from "./policy-tables.ts";
import type { Quiescence } from "./quiescence.ts";

const { plane: PLANE } = OFFSETS;

export interface PeerPolicies {
  /** `undefined`: the peer has nothing of its own any more. The cost does not depend on how many peers there are. */
  set(slot: number, policy: PeerPolicy | undefined): void;
}

export function createPeerPolicies(
  shared: SharedMemory,
  quiescence: Quiescence,
  maxPeers: number,
): PeerPolicies {
  const permits = shared.allocate(maxPeers * 4);
  shared.words[(CONSTANTS.PLANE_ADDRESS + PLANE.permits) >> 2] = permits;
  const hosts = createHostTable(shared, quiescence);
  const addressesOf = new Map<number, readonly IpAddress[]>();

  function exchange(slot: number, permit: number): void {
    const old = Atomics.exchange(shared.words, (permits >> 2) + slot, permit);
    if (old !== 0) quiescence.after(() => shared.free(old));
  }

  return {
    set(slot, policy) {
      const before = addressesOf.get(slot) ?? [];
      // Nothing leads to a peer without a permit.
      if (policy !== undefined) exchange(slot, writePermit(shared, slot, policy.permits));
      // What stays leads to the peer all the while: the egress worker reads meanwhile.
      const stays = policy?.addresses ?? [];
      for (const address of before) {
        if (!stays.some((one) => equalIp(one, address))) hosts.remove(address, slot);
      }
      if (policy === undefined) {
        exchange(slot, 0);
        addressesOf.delete(slot);
        return;
      }
      for (const address of policy.addresses) hosts.set(address, slot);
      addressesOf.set(slot, policy.addresses);
    },
  };
}
