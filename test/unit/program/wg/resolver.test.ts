import { expect, it } from "vitest";
import type { Rtnetlink } from "../../../../bindings/linux/index.ts";
import { ip } from "../../../../src/base/index.ts";
import { defaultMtu } from "../../../../src/program/wg/default-mtu.ts";
import { retryDelayMs } from "../../../../src/program/wg/resolver.ts";

it("WG-63: names are asked for again after 1, 2, 4 … 30 s", () => {
  expect([1, 2, 3, 4, 5, 6, 7, 100].map(retryDelayMs)).toEqual([
    1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000,
  ]);
});

/** Routes by their text of destination; devices by index. */
function fakeRoutes(
  ways: Readonly<Record<string, number>>,
  mtus: Readonly<Record<number, number>>,
): Rtnetlink {
  return {
    links: () => Object.entries(mtus).map(([index, mtu]) => ({ index: Number(index), mtu })),
    bestRoute: (address: Uint8Array) => {
      const outputIndex = ways[address.join(".")];
      return outputIndex === undefined ? undefined : { outputIndex };
    },
  } as unknown as Rtnetlink;
}

it("WG-63: the MTU is the largest towards the endpoints, less 80", () => {
  const routes = fakeRoutes({ "192.0.2.9": 1, "192.0.2.8": 2 }, { 1: 1500, 2: 9000 });
  const at = (text: string) => ({ address: ip(text), port: 1 });
  expect(defaultMtu(routes, [at("192.0.2.9"), at("192.0.2.8")])).toBe(8920);
  expect(defaultMtu(routes, [at("192.0.2.9")])).toBe(1420);
});

it("WG-63: without endpoint the default route counts, without either it is 1420", () => {
  expect(defaultMtu(fakeRoutes({ "192.0.2.1": 3 }, { 3: 1400 }), [])).toBe(1320);
  expect(defaultMtu(fakeRoutes({}, {}), [])).toBe(1420);
  expect(defaultMtu(fakeRoutes({}, {}), [{ address: ip("198.51.100.1"), port: 1 }])).toBe(1420);
});
