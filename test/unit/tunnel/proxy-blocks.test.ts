/** Which proxy addresses a gateway may speak for, and what a new name costs (TN-39, DN-43). */

import { describe, expect, it } from "vitest";
import { contains, formatPrefix, type IpAddress, ip } from "../../../src/base/index.ts";
import type { AssignedName } from "../../../src/dns/index.ts";
import { createProxyBlocks } from "../../../src/tunnel/proxy-blocks.ts";
import fc from "../../lib/property.ts";

const V4_FIRST = (100 << 24) | (96 << 16) | 1;

/** Four addresses, upwards as the resolver gives them (DN-42). */
function proxiesAt(n: number): readonly IpAddress[] {
  return [0, 1, 2, 3].map((i) => {
    const value = V4_FIRST + 4 * n + i;
    return Uint8Array.of((value >> 24) & 255, (value >> 16) & 255, (value >> 8) & 255, value & 255);
  });
}

function createNames() {
  const all: AssignedName[] = [];
  const blocks = createProxyBlocks({ names: () => all, nameCount: () => all.length });
  const add = (rid: string): readonly IpAddress[] => {
    const proxies = proxiesAt(all.length);
    all.push({ domain: `n${all.length}.example`, rid, proxies });
    return proxies;
  };
  return { blocks, add, all };
}

const gatewayOf = (rid: string): string | undefined => ({ r1: "g1", r2: "g2", r3: "g1" })[rid];

describe("blocks of proxy addresses", () => {
  it("TN-39: a block whose names one gateway serves is one prefix, and a new name in it needs no other", () => {
    const { blocks, add } = createNames();
    add("r1");
    expect([...(blocks.prefixes(gatewayOf).get("g1") ?? [])].map(formatPrefix)).toEqual(["100.96.0.0/24"]);
    expect(blocks.isCovered(add("r1"), "g1")).toBe(true);
    expect(blocks.isCovered(add("r3"), "g1")).toBe(true);
  });

  it("TN-39: not one of another gateway, or of none: then each name is listed by itself", () => {
    const { blocks, add } = createNames();
    const mine = add("r1");
    blocks.prefixes(gatewayOf);
    const others = add("r2");
    const nobodys = add("r4");
    expect(blocks.isCovered(others, "g2")).toBe(false);
    expect(blocks.isCovered(nobodys, undefined)).toBe(false);
    const prefixes = blocks.prefixes(gatewayOf);
    const speaksFor = (gid: string, address: IpAddress) =>
      prefixes.get(gid)?.some((prefix) => contains(prefix, address)) ?? false;
    for (const address of mine)
      expect([speaksFor("g1", address), speaksFor("g2", address)]).toEqual([true, false]);
    for (const address of others)
      expect([speaksFor("g1", address), speaksFor("g2", address)]).toEqual([false, true]);
    for (const address of nobodys)
      expect([speaksFor("g1", address), speaksFor("g2", address)]).toEqual([false, false]);
    // Nothing more is to be told of the one that nobody serves.
    expect(blocks.isCovered(nobodys, undefined)).toBe(true);
  });

  it("TN-39: whatever comes in whatever order, a gateway speaks for all names of its own and for none of others", () => {
    const rids = fc.array(fc.constantFrom("r1", "r1", "r1", "r1", "r2", "r3", "r4"), { maxLength: 200 });
    fc.assert(
      fc.property(rids, fc.integer({ min: 1, max: 50 }), (order, every) => {
        const { blocks, add, all } = createNames();
        let prefixes = blocks.prefixes(gatewayOf);
        for (const [i, rid] of order.entries()) {
          const proxies = add(rid);
          // As the client does: only where it must, or for another reason.
          if (!blocks.isCovered(proxies, gatewayOf(rid)) || i % every === 0)
            prefixes = blocks.prefixes(gatewayOf);
          for (const name of all.slice(-20)) {
            for (const gid of ["g1", "g2"]) {
              const mine = prefixes.get(gid) ?? [];
              const speaks = name.proxies.map((address) => mine.some((prefix) => contains(prefix, address)));
              expect(speaks).toEqual(name.proxies.map(() => gatewayOf(name.rid) === gid));
            }
          }
        }
      }),
    );
  });

  it("TN-39, DN-43: 65,536 names of one gateway are 1,025 prefixes, and few of them need new ones", () => {
    const { blocks, add } = createNames();
    let published = 0;
    for (let n = 0; n < 65_536; n++) {
      if (blocks.isCovered(add("r1"), "g1")) continue;
      published++;
      expect(blocks.prefixes(gatewayOf).get("g1")?.length).toBeLessThanOrEqual(1_025);
    }
    expect(published).toBe(1_025);
  });

  it("TN-26, TN-34: what a gateway does not serve any more it does not speak for", () => {
    const { blocks, add } = createNames();
    add("r1");
    blocks.prefixes(gatewayOf);
    expect(blocks.prefixes(() => undefined).size).toBe(0);
    expect(blocks.isCovered(add("r1"), undefined)).toBe(true);
    expect(blocks.prefixes(gatewayOf).get("g1")).toHaveLength(1);
  });

  it("TN-39: without names there is nothing", () => {
    expect(createProxyBlocks(undefined).prefixes(gatewayOf).size).toBe(0);
    expect(createProxyBlocks(undefined).isCovered([ip("100.96.0.1")], undefined)).toBe(true);
  });
});
