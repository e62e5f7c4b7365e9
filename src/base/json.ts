/** JSON from outside: nesting is limited before anything is built from it (PT-7). */
import { malformed, type Parsed, parsed } from "./result.ts";

/** What any of our formats needs is a tenth of this. */
export const MAX_NESTING = 64;

export type MalformedJson = "not-json" | "too-deep";

/**
 * Parses JSON that others wrote. The depth is counted in the text: whoever walks the value may recurse,
 * and 64 KiB of opening brackets would otherwise become as many objects.
 */
export function parseJson(text: string): Parsed<unknown, MalformedJson> {
  if (nestsDeeperThan(text, MAX_NESTING)) return malformed("too-deep");
  try {
    return parsed(JSON.parse(text));
  } catch {
    // Text from outside that is no JSON is an answer, not a failure of ours.
    return malformed("not-json");
  }
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** Counts brackets outside strings. Of text that is no JSON it may say anything. */
function nestsDeeperThan(text: string, limit: number): boolean {
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    switch (text.charCodeAt(i)) {
      case 0x5b: // [
      case 0x7b: // {
        if (++depth > limit) return true;
        break;
      case 0x5d: // ]
      case 0x7d: // }
        depth--;
        break;
      case QUOTE:
        i = endOfString(text, i + 1);
        break;
      default:
    }
  }
  return false;
}

/** The index of the quote that ends the string which began before `from`. */
function endOfString(text: string, from: number): number {
  for (let at = text.indexOf('"', from); at >= 0; at = text.indexOf('"', at + 1)) {
    let backslashes = 0;
    while (text.charCodeAt(at - 1 - backslashes) === BACKSLASH) backslashes++;
    if (backslashes % 2 === 0) return at;
  }
  return text.length;
}
