/**
 * Patterns of DNS resources: which names they match, and which of several wins (DN-27 to DN-34). Gateway and
 * client use the same matcher, because matching decides access.
 */
import { LABEL_BYTES_MAX, labelsOf, type Name, toName } from "./name.ts";

/** A pattern that is valid. */
export interface Pattern {
  /** Lower case, without wildcards converted: what patterns are sorted by and people see. */
  readonly text: string;
  readonly labels: readonly PatternLabel[];
  /** `*.example.com` also means `example.com` (DN-29). */
  readonly isAlsoItsRest: boolean;
  /** The labels behind the last one with a wildcard; all of them if there is none (DN-100). */
  readonly suffix: string;
}

type PatternLabel =
  | { readonly kind: "literal"; readonly label: string }
  /** `*` and `?` among other characters. */
  | { readonly kind: "wildcards"; readonly glob: string }
  /** `**`: whole labels. */
  | { readonly kind: "labels" };

const PATTERN_CHARACTERS_MAX = 253;

/** Reads a pattern; `undefined` if it is invalid (DN-27). */
export function parsePattern(text: string): Pattern | undefined {
  if (text.length === 0 || text.length > PATTERN_CHARACTERS_MAX) return undefined;
  const words = text.split(".").map(toAscii);
  const labels: PatternLabel[] = [];
  for (const word of words) {
    const label = word === undefined ? undefined : parseLabel(word);
    if (label === undefined) return undefined;
    labels.push(label);
  }
  const [first, ...rest] = words;
  const isLiteral = ({ kind }: PatternLabel): boolean => kind === "literal";
  const lastWildcard = labels.findLastIndex((label) => !isLiteral(label));
  return {
    text: words.join("."),
    labels,
    isAlsoItsRest: first === "*" && rest.length > 0 && labels.slice(1).every(isLiteral),
    suffix: words.slice(lastWildcard + 1).join("."),
  };
}

export function matches(pattern: Pattern, name: Pick<Name, "key">): boolean {
  const names = labelsOf(name.key);
  if (matchFrom(pattern.labels, names)) return true;
  return pattern.isAlsoItsRest && matchFrom(pattern.labels.slice(1), names);
}

/** Whether a name in presentation form matches a pattern; an invalid pattern matches nothing (DN-32). */
export function matchesPattern(pattern: string, domain: string): boolean {
  const parsed = parsePattern(pattern);
  const name = toName(domain);
  return parsed !== undefined && name !== undefined && matches(parsed, name);
}

/** Something with a pattern: those for which it is the same are told apart by `rid`. */
export interface Ranked {
  readonly rid: string;
  readonly pattern: Pattern;
}

/** Sorts so that the first match wins (DN-31): from the last character to the first, the more exact first. */
export function comparePatterns(a: Ranked, b: Ranked): number {
  const [x, y] = [a.pattern.text, b.pattern.text];
  for (let back = 1; ; back++) {
    const difference = rankOf(x.at(-back)) - rankOf(y.at(-back));
    if (difference !== 0) return difference;
    if (back > x.length) return a.rid < b.rid ? -1 : a.rid > b.rid ? 1 : 0;
  }
}

/** End of pattern, then ordinary characters in descending order, `?`, `*`. */
function rankOf(character: string | undefined): number {
  switch (character) {
    case undefined:
      return -1;
    case "?":
      return 0x1_0000;
    case "*":
      return 0x1_0001;
    default:
      return 0xffff - character.charCodeAt(0);
  }
}

/** A-labels, since queries carry those (DN-30); `undefined` for what cannot be one. */
function toAscii(word: string): string | undefined {
  if (/^[\w*?-]+$/.test(word)) return word.toLowerCase();
  // Letters of other scripts stand in literal labels only: U-labels have no prefix to share.
  if (!/^(?:[\w-]|[^\0-\x7f])+$/.test(word)) return undefined;
  const host = `http://${word}.example/`;
  return URL.canParse(host) ? /^([\w-]+)\.example$/.exec(new URL(host).hostname)?.[1] : undefined;
}

function parseLabel(word: string): PatternLabel | undefined {
  if (word === "**") return { kind: "labels" };
  if (word.includes("**")) return undefined;
  if (!/[*?]/.test(word))
    return word.length <= LABEL_BYTES_MAX ? { kind: "literal", label: word } : undefined;
  return { kind: "wildcards", glob: word };
}

/** Label by label; `**` stands for any number of labels, at the end for one at least. */
function matchFrom(pattern: readonly PatternLabel[], names: readonly string[]): boolean {
  // Row by row of "the first i labels of the pattern match the first j of the name".
  let row = names.map(() => false);
  row.unshift(true);
  for (const [i, label] of pattern.entries()) {
    const isLast = i === pattern.length - 1;
    const next = row.map(() => false);
    for (let j = 0; j <= names.length; j++) {
      const name = names[j - 1];
      if (label.kind === "labels") {
        const takesMore = j > 0 && (next[j - 1] === true || row[j - 1] === true);
        next[j] = takesMore || (!isLast && row[j] === true);
      } else if (name !== undefined) {
        next[j] = row[j - 1] === true && matchLabel(label, name);
      }
    }
    row = next;
  }
  return row[names.length] === true;
}

function matchLabel(label: Exclude<PatternLabel, { kind: "labels" }>, name: string): boolean {
  return label.kind === "literal" ? label.label === name : matchGlob(label.glob, name);
}

/** Goes back to the last `*` only, which is enough and takes no more than length times length. */
function matchGlob(glob: string, name: string): boolean {
  // A dot inside a label matches no wildcard (DN-28).
  if (name.includes(".")) return false;
  let [at, to, star, retry] = [0, 0, -1, 0];
  while (to < name.length) {
    if (glob[at] === "*") {
      star = at++;
      retry = to;
    } else if (glob[at] === "?" || glob[at] === name[to]) {
      at++;
      to++;
    } else if (star >= 0) {
      at = star + 1;
      to = ++retry;
    } else {
      return false;
    }
  }
  while (glob[at] === "*") at++;
  return at === glob.length;
}
