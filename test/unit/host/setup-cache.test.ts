import { describe, expect, it } from "vitest";
import { ip } from "../../../src/base/index.ts";
import type { SetupResult } from "../../../src/dns/index.ts";
import { SETUP_CACHE_NAMES, shareLookups, type TimedResult } from "../../../src/host/setup-cache.ts";

const FOUND: SetupResult = { kind: "addresses", addresses: [ip("172.20.0.100")] };

function createLookups(answer: (name: string) => TimedResult) {
  let nowMs = 0;
  const asked: string[] = [];
  const lookUp = shareLookups(
    (name) => {
      asked.push(name);
      return Promise.resolve().then(() => answer(name));
    },
    () => nowMs,
  );
  const wait = (ms: number): void => {
    nowMs += ms;
  };
  return { lookUp, asked, wait };
}

describe("lookups for clients", () => {
  it("DN-89: equal lookups under way are one", async () => {
    const { lookUp, asked } = createLookups(() => ({ result: FOUND, lifetimeS: 60 }));
    expect(await Promise.all([lookUp("a"), lookUp("a"), lookUp("b")])).toEqual([FOUND, FOUND, FOUND]);
    expect(asked).toEqual(["a", "b"]);
  });

  it.each<[string, TimedResult, number]>([
    ["addresses for their TTL", { result: FOUND, lifetimeS: 60 }, 60_000],
    ["addresses for 1 s at least", { result: FOUND, lifetimeS: 0 }, 1_000],
    ["addresses for an hour at most", { result: FOUND, lifetimeS: 86_400 }, 3_600_000],
    ["that there are none for 5 s", { result: { kind: "none" } }, 5_000],
    ["that there are none as long as the zone says", { result: { kind: "none" }, lifetimeS: 12 }, 12_000],
    ["that there are none for 30 s at most", { result: { kind: "none" }, lifetimeS: 86_400 }, 30_000],
  ])("DN-89: keeps %s", async (_, answer, ms) => {
    const { lookUp, asked, wait } = createLookups(() => answer);
    await lookUp("a");
    wait(ms - 1);
    expect(await lookUp("a")).toEqual(answer.result);
    expect(asked).toHaveLength(1);
    wait(1);
    await lookUp("a");
    expect(asked).toHaveLength(2);
  });

  it("DN-89: keeps no failures, and nothing from the hosts file", async () => {
    for (const answer of [{ result: { kind: "error" } }, { result: FOUND }] satisfies TimedResult[]) {
      const { lookUp, asked } = createLookups(() => answer);
      await lookUp("a");
      await lookUp("a");
      expect(asked).toHaveLength(2);
    }
  });

  it("DN-89: a lookup that throws is asked again by the next", async () => {
    let isBroken = true;
    const { lookUp } = createLookups(() => {
      if (isBroken) throw new Error("broken");
      return { result: FOUND, lifetimeS: 1 };
    });
    await expect(lookUp("a")).rejects.toThrow("broken");
    isBroken = false;
    expect(await lookUp("a")).toEqual(FOUND);
  });

  it("DN-89: 512 names, the least recently used goes first", async () => {
    const { lookUp, asked } = createLookups(() => ({ result: FOUND, lifetimeS: 60 }));
    for (let i = 0; i < SETUP_CACHE_NAMES; i++) await lookUp(`n${i}`);
    await lookUp("n0");
    await lookUp("one more");
    asked.length = 0;
    await lookUp("n0");
    await lookUp("n1");
    expect(asked).toEqual(["n1"]);
  });
});
