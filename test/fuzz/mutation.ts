/** Changing what was right: bytes, lines of text, values of JSON (TS-40, TS-44). */
import { concatBytes } from "../../src/base/index.ts";
import type { Chance } from "./chance.ts";

/** Numbers at which length fields and counters break. */
const EDGES = [0, 1, 2, 3, 4, 7, 8, 15, 16, 19, 20, 31, 32, 63, 64, 127, 128, 254, 255] as const;

/** One to sixteen changes: bits, bytes, edges of 16 bits, blocks cut, doubled or inserted. */
export function mutateBytes(chance: Chance, original: Uint8Array): Uint8Array {
  let bytes = Uint8Array.from(original);
  for (let left = 1 + chance.below(chance.pick([1, 2, 16])); left > 0; left--) {
    const at = chance.below(Math.max(1, bytes.length));
    const length = chance.below(Math.min(64, bytes.length - at) + 1);
    switch (chance.below(7)) {
      case 0:
        bytes[at] = chance.pick(EDGES);
        break;
      case 1:
        bytes.set([chance.below(256), chance.pick(EDGES)].slice(0, bytes.length - at), at);
        break;
      case 2:
        bytes = concatBytes(bytes.subarray(0, at), bytes.subarray(at + length));
        break;
      case 3:
        bytes = concatBytes(bytes.subarray(0, at + length), bytes.subarray(at));
        break;
      case 4:
        bytes = concatBytes(bytes.subarray(0, at), chance.bytes(length), bytes.subarray(at));
        break;
      default:
        bytes[at] = (bytes[at] ?? 0) ^ (1 << chance.below(8));
    }
  }
  return bytes;
}

/** Changes characters, words and lines; `words` are what the format knows. */
export function mutateText(chance: Chance, original: string, words: readonly string[]): string {
  let text = original;
  for (let left = 1 + chance.below(chance.pick([1, 4])); left > 0; left--) {
    const at = chance.below(text.length + 1);
    const length = chance.below(20);
    const lines = text.split("\n");
    switch (chance.below(7)) {
      case 0:
        text = text.slice(0, at) + text.slice(at + length);
        break;
      case 1:
        text = text.slice(0, at) + chance.pick(words) + text.slice(at);
        break;
      case 2:
        text = text.slice(0, at) + chance.pick(ODD_CHARACTERS) + text.slice(at + 1);
        break;
      case 3:
        lines.splice(chance.below(lines.length), 1);
        text = lines.join("\n");
        break;
      case 4:
        lines.splice(chance.below(lines.length), 0, chance.pick(lines));
        text = lines.join("\n");
        break;
      case 5: {
        const line = chance.below(lines.length);
        lines[line] = (lines[line] ?? "").replace(/\S+$/, chance.pick(words));
        text = lines.join("\n");
        break;
      }
      default:
        text = text.slice(0, at) + text.slice(at, at + length).repeat(2) + text.slice(at + length);
    }
  }
  return text;
}

const ODD_CHARACTERS = [
  "",
  "\0",
  "\r",
  "\t",
  '"',
  "'",
  "#",
  "=",
  ":",
  "-",
  "{",
  "[",
  "&a",
  "*a",
  "\u2028",
  "𝕏",
  "\ud800",
];

/** Values that a field of JSON should not have. */
const ODD_VALUES: readonly unknown[] = [
  null,
  true,
  -1,
  0.5,
  1e308,
  2 ** 53,
  "",
  "0",
  "\u0000",
  "x".repeat(5000),
  [],
  [[]],
  {},
  { __proto__: null },
  "10.0.0.0/33",
  "::ffff:1.2.3.4",
  "2001:db8::/129",
];

/** Puts odd values, removes or doubles something at one to three places of a JSON value. */
export function mutateJson(chance: Chance, original: unknown): unknown {
  const copy: unknown = JSON.parse(JSON.stringify({ root: original }));
  for (let left = 1 + chance.below(3); left > 0; left--) mutateOnce(chance, copy);
  return isContainer(copy) ? Reflect.get(copy, "root") : copy;
}

function mutateOnce(chance: Chance, root: unknown): void {
  let holder = root;
  let key = "root";
  for (;;) {
    if (!isContainer(holder)) return;
    const value: unknown = Reflect.get(holder, key);
    if (!isContainer(value) || Object.keys(value).length === 0 || chance.isOneIn(6)) break;
    holder = value;
    key = chance.pick(Object.keys(value));
  }
  switch (chance.below(5)) {
    case 0:
      if (key !== "root") Reflect.deleteProperty(holder, key);
      return;
    case 1: {
      const value: unknown = Reflect.get(holder, key);
      Reflect.set(holder, key, [value, value]);
      return;
    }
    case 2:
      Reflect.set(holder, chance.pick(["constructor", "toString", "kind", "type"]), chance.pick(ODD_VALUES));
      return;
    default:
      Reflect.set(holder, key, chance.pick(ODD_VALUES));
  }
}

function isContainer(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}
