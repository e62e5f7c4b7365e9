import { describe, expect, it } from "vitest";
import { equalValues, ip } from "../../../src/base/index.ts";

describe("equal values", () => {
  it.each([
    [1, 1, true],
    [1, 2, false],
    ["a", "a", true],
    [undefined, undefined, true],
    [undefined, {}, false],
    [ip("10.0.0.1"), ip("10.0.0.1"), true],
    [ip("10.0.0.1"), ip("10.0.0.2"), false],
    [ip("10.0.0.1"), [10, 0, 0, 1], false],
    [[], [], true],
    [[1, [2]], [1, [2]], true],
    [[1], [1, 2], false],
    [[1], { 0: 1, length: 1 }, false],
    [{ a: 1, b: 2 }, { b: 2, a: 1 }, true],
    [{ a: 1 }, { a: 1, b: 2 }, false],
    [{ a: undefined }, { b: undefined }, false],
  ])("%j and %j: %s", (a, b, is) => {
    expect(equalValues(a, b)).toBe(is);
    expect(equalValues(b, a)).toBe(is);
  });
});
