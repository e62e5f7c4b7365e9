/** Addresses that lead to peers, each by itself (TN-110). */

import { describe, expect, it, vi } from "vitest";
import { CONSTANTS, createSharedMemory } from "../../../../bindings/memory/index.ts";
import { createPlaneMemory } from "../../../../bindings/plane/index.ts";
import { createHostTable } from "../../../../bindings/table/host-table.ts";
import { type IpAddress, ip } from "../../../../src/base/index.ts";
import fc from "../../../lib/property.ts";
import { udp } from "../../plane/packets.ts";
import { createPair, NET_A, NOW, plainFrame } from "../../plane/pair.ts";

/** A plane of which the slots 4 to 9 have peers without a path: what leads to them comes back and names its slot. */
function createAsked() {
  const { a } = createPair();
  a.publish({ routes: [], permits: [] });
  for (let slot = 4; slot < 10; slot++) a.execute({ kind: "add-peer", slot, peerId: slot });
  let clock = NOW;
  return {
    set(slot: number, addresses: readonly IpAddress[] | undefined) {
      const permits = { sources: [], refuseDestination: false };
      a.execute({ kind: "set-policy", slot, ...(addresses && { policy: { addresses, permits } }) });
    },
    /** Whoever has the slot next is another. */
    replace(slot: number) {
      a.execute({ kind: "remove-peer", slot });
      a.execute({ kind: "add-peer", slot, peerId: slot + 100 });
    },
    slotOf(destination: IpAddress): number | undefined {
      // A second apart, so that no refusal is too many.
      clock = (clock + 1000) as typeof NOW;
      const [family, source] = destination.length === 4 ? ([4, NET_A.v4] as const) : ([6, NET_A.v6] as const);
      a.drive.egress(clock, plainFrame(udp(new Uint8Array(8), { family, source, destination })));
      const [punt] = a.takePunts(10);
      return punt?.reason === "refused" ? punt.slot : undefined;
    },
  };
}

const addresses = [
  ...["100.64.0.1", "100.64.0.2", "100.64.1.1", "0.0.0.1", "255.255.255.254"].map(ip),
  // The same words as addresses of the other family.
  ...[
    "::6440:1",
    "::1",
    "::ffff:100.64.0.1",
    "fd00:2021:1111::1",
    "fd00:2021:1111::2",
    "fd00:2021:1111:1::",
  ].map(ip),
];

describe("the host table", () => {
  it("TN-110: an address that stays leads to its peer while the rest of the policy changes", () => {
    const asked = createAsked();
    const [stays = ip("0.0.0.0"), goes = ip("0.0.0.0")] = addresses;
    asked.set(4, [stays, goes]);
    const store = vi.spyOn(Atomics, "store");
    asked.set(4, [stays]);
    // A worker reads at any time: of what it may see only one address is gone.
    const gone = store.mock.calls.filter(([, , value]) => Number(value) === CONSTANTS.TARGET_GONE);
    store.mockRestore();
    expect(gone).toHaveLength(1);
    expect([asked.slotOf(stays), asked.slotOf(goes)]).toEqual([4, undefined]);
  });

  it("TN-110: is searched by the plane as it was written, whatever came, moved and went", () => {
    const change = fc.record({
      slot: fc.integer({ min: 4, max: 9 }),
      addresses: fc.option(fc.uniqueArray(fc.nat(addresses.length - 1), { maxLength: 4 }), {
        nil: undefined,
      }),
    });
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 12 }), (changes) => {
        const asked = createAsked();
        const expected = new Map<number, number>();
        for (const { slot, addresses: chosen } of changes) {
          for (const [address, holder] of [...expected]) if (holder === slot) expected.delete(address);
          for (const address of chosen ?? []) expected.set(address, slot);
          asked.set(
            slot,
            chosen?.map((i) => addresses[i] ?? ip("::")),
          );
        }
        for (const [i, address] of addresses.entries()) expect(asked.slotOf(address)).toBe(expected.get(i));
      }),
      { numRuns: 60 },
    );
  });

  it("TN-110: what a peer had goes with the peer", () => {
    const asked = createAsked();
    const address = ip("100.64.0.7");
    asked.set(5, [address]);
    expect(asked.slotOf(address)).toBe(5);
    asked.replace(5);
    expect(asked.slotOf(address)).toBeUndefined();
  });

  it("TN-110: ten thousand come and go by a fixed share of memory each, and the last is found like the first", () => {
    const shared = createSharedMemory(createPlaneMemory().memory);
    const waiting: (() => void)[] = [];
    let allocated = 0;
    const counting = {
      ...{ memory: shared.memory, free: shared.free },
      get bytes() {
        return shared.bytes;
      },
      get words() {
        return shared.words;
      },
      get longs() {
        return shared.longs;
      },
      allocate(bytes: number) {
        allocated += bytes;
        return shared.allocate(bytes);
      },
    };
    const quiescence = {
      after: (release: () => void) => void waiting.push(release),
      reclaim() {},
      drain() {},
      settle() {},
    };
    const table = createHostTable(counting, quiescence);
    const addressOf = (n: number) => new Uint8Array([100, 64, n >> 8, n & 255]);
    const most = 10_000;
    for (let n = 0; n < most; n++) table.set(addressOf(n), 1);
    // Each is written anew at most twice on average, in entries of 64 bytes.
    expect(allocated / most).toBeLessThan(1_000);
    const grown = allocated;
    for (let n = 0; n < most; n++) {
      table.remove(addressOf(n), 1);
      table.set(addressOf(most + n), 1);
    }
    expect((allocated - grown) / most).toBeLessThan(1_000);
    expect(waiting.length).toBeLessThan(24);
  });
});
