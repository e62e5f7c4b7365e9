import { expect, it } from "vitest";
import { ip } from "../../../../src/base/index.ts";
import { lookUpEach, retryDelayMs } from "../../../../src/program/wg/resolver.ts";

it("WG-63: names are asked for again after 1, 2, 4 … 30 s", () => {
  expect([1, 2, 3, 4, 5, 6, 7, 100].map(retryDelayMs)).toEqual([
    1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000,
  ]);
});

it("WG-63: the MTU waits for endpoint names, each asked for once, but not longer than it may", async () => {
  const asked: string[] = [];
  const addresses = new Map([
    ["a.example", ip("192.0.2.1")],
    ["b.example", ip("192.0.2.2")],
  ]);
  const lookUp = async (name: string) => {
    asked.push(name);
    return name === "silent.example" ? new Promise<undefined>(() => {}) : addresses.get(name);
  };
  const names = ["a.example", "nobody.example", "b.example", "a.example"];
  expect(await lookUpEach(names, lookUp, 60_000)).toEqual([ip("192.0.2.1"), ip("192.0.2.2")]);
  expect(asked).toEqual(["a.example", "nobody.example", "b.example"]);
  expect(await lookUpEach(["silent.example", "a.example"], lookUp, 20)).toEqual([ip("192.0.2.1")]);
  expect(await lookUpEach([], lookUp, 60_000)).toEqual([]);
});
