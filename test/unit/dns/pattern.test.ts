import { describe, expect, it } from "vitest";
import { comparePatterns, matchesPattern, parsePattern, type Ranked } from "../../../src/dns/index.ts";
import fc from "../../lib/property.ts";

function ranked(text: string, rid = "r"): Ranked {
  const pattern = parsePattern(text);
  if (pattern === undefined) throw new Error(`${text} is a pattern`);
  return { rid, pattern };
}

const somePattern = fc
  .array(fc.constantFrom("a", "b", "ab", "*", "?", "**", "a*", "*b", "?b*", "a-b"), {
    minLength: 1,
    maxLength: 4,
  })
  .map((labels) => labels.join("."));
const someDomain = fc
  .array(fc.constantFrom("a", "b", "ab", "abb", "a-b", "c"), { minLength: 1, maxLength: 4 })
  .map((labels) => labels.join("."));

/** The same by trying everything: labels first, then characters. */
function slowMatch(pattern: readonly string[], name: readonly string[]): boolean {
  const [first, ...rest] = pattern;
  if (first === undefined) return name.length === 0;
  if (first === "**") {
    const least = rest.length === 0 ? 1 : 0;
    return Array.from({ length: name.length + 1 }, (_, i) => i).some(
      (taken) => taken >= least && slowMatch(rest, name.slice(taken)),
    );
  }
  const [label, ...others] = name;
  return label !== undefined && slowGlob(first, label) && slowMatch(rest, others);
}

function slowGlob(glob: string, text: string): boolean {
  if (glob === "") return text === "";
  if (glob[0] === "*") return slowGlob(glob.slice(1), text) || (text !== "" && slowGlob(glob, text.slice(1)));
  return text !== "" && (glob[0] === "?" || glob[0] === text[0]) && slowGlob(glob.slice(1), text.slice(1));
}

describe("patterns", () => {
  it.each([
    "",
    "a..b",
    ".a",
    "a.",
    "a.**b",
    "[ab].com",
    "a b.com",
    "a/b",
    "ü*.de",
    "a".repeat(64),
    `${"a.".repeat(126)}ab`,
  ])("DN-27: %j is invalid", (text) => {
    expect(parsePattern(text)).toBeUndefined();
  });

  it("DN-27: 253 characters are a pattern", () => {
    expect(parsePattern(`${"a.".repeat(126)}a`)).toBeDefined();
  });

  it.each([
    ["app.**.example.com", "app.bar.foo.example.com"],
    ["app.**.example.com", "app.example.com"],
    ["app.**.web.**.example.com", "app.web.example.com"],
    ["foo.*.example.com", "foo.bar.example.com"],
    ["app.f??.example.com", "app.foo.example.com"],
    ["*?*.example.com", "app.example.com"],
    ["*.example.com", "example.com"],
    ["**.example.com", "example.com"],
    ["**.example.com", "a.b.example.com"],
    ["WIKI.Corp", "wiki.corp"],
    ["wiki.corp", "WIKI.CORP"],
    ["example.**", "example.com"],
    ["srv_1.corp", "srv_1.corp"],
    ["*", "localhost"],
  ])("DN-29, DN-33: %s matches %s", (pattern, domain) => {
    expect(matchesPattern(pattern, domain)).toBe(true);
  });

  it.each([
    ["app.*.example.com", "app.foo.bar.example.com"],
    ["app.*com", "app.foo.com"],
    ["app?com", "app.com"],
    ["?.example.com", "example.com"],
    ["*.*.example.com", "a.example.com"],
    ["*.example.com", "a.b.example.com"],
    ["example.**", "example"],
    ["**.com", "org"],
    ["a**.com", "a.com"],
  ])("DN-29, DN-33: %s does not match %s", (pattern, domain) => {
    expect(matchesPattern(pattern, domain)).toBe(false);
  });

  it("DN-28: a dot inside a label is neither a dot of the pattern nor matched by a wildcard", () => {
    for (const pattern of ["a.b.com", "*.com", "a?b.com", "*b.com"]) {
      expect(matchesPattern(pattern, "a\\.b.com")).toBe(false);
    }
    expect(matchesPattern("**.com", "a\\.b.com")).toBe(true);
  });

  it("DN-30: other scripts are converted, since queries carry A-labels", () => {
    expect(matchesPattern("bücher.example", "xn--bcher-kva.example")).toBe(true);
    expect(matchesPattern("*.BÜCHER.example", "www.xn--bcher-kva.example")).toBe(true);
  });

  it("DN-31: the more exact pattern comes first", () => {
    const sorted = [
      "example.com",
      "bar.example.com",
      "*.bar.example.com",
      "foo.example.com",
      "?.example.com",
      "*.example.com",
      "**.example.com",
      "*ample.com",
      "*.com",
    ];
    const shuffled = [...sorted].reverse().map((text) => ranked(text));
    expect(shuffled.sort(comparePatterns).map(({ pattern }) => pattern.text)).toEqual(sorted);
  });

  it("DN-31: of equal patterns the smallest rid wins", () => {
    const [a, b] = [ranked("Wiki.corp", "1"), ranked("wiki.CORP", "2")];
    expect([b, a].sort(comparePatterns)).toEqual([a, b]);
  });

  it("DN-31: the order is total and transitive", () => {
    const one = fc.tuple(somePattern, fc.constantFrom("1", "2"));
    fc.assert(
      fc.property(one, one, one, (...three) => {
        const [a, b, c] = three.map(([text, rid]) => parsePattern(text) && ranked(text, rid));
        if (!a || !b || !c) return;
        expect(Math.sign(comparePatterns(a, b))).toBe(0 - Math.sign(comparePatterns(b, a)));
        if (comparePatterns(a, b) <= 0 && comparePatterns(b, c) <= 0) {
          expect(comparePatterns(a, c)).toBeLessThanOrEqual(0);
        }
        if (comparePatterns(a, b) === 0) expect(a).toEqual(b);
      }),
    );
  });

  it("DN-27, DN-29: matching equals trying everything", () => {
    fc.assert(
      fc.property(somePattern, someDomain, (pattern, domain) => {
        if (parsePattern(pattern) === undefined) return;
        const [labels, name] = [pattern.split("."), domain.split(".")];
        const rest = labels.slice(1);
        const isAlsoRest = labels[0] === "*" && rest.length > 0 && !/[*?]/.test(rest.join("."));
        const wanted = slowMatch(labels, name) || (isAlsoRest && slowMatch(rest, name));
        expect(matchesPattern(pattern, domain)).toBe(wanted);
      }),
      { numRuns: 2000 },
    );
  });

  it("DN-27: a pattern of stars takes no time that grows with their number to the power of the length", () => {
    const pattern = `${"*a".repeat(31)}.com`;
    expect(matchesPattern(pattern, `${"a".repeat(62)}b.com`)).toBe(false);
  });

  it("DN-100: the suffix is what stands behind the last wildcard", () => {
    const suffix = (text: string) => parsePattern(text)?.suffix;
    expect(["*.example.com", "a.*.b.corp", "wiki.corp", "*"].map(suffix)).toEqual([
      "example.com",
      "b.corp",
      "wiki.corp",
      "",
    ]);
  });
});
