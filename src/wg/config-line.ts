/**
 * The lines of a wg-quick file (WG-63), cut as wg-quick and wg cut them.
 *
 * Two programs read such a file one after the other: wg-quick takes its own keys out of [Interface] and
 * hands the rest to wg. wg takes all blanks out of a line, also from within; wg-quick only those at the
 * ends. So `[Inter face]` begins a section for wg alone, in which `Address` is unknown.
 */

/** A mistake in the file, or something to know about it: what people read behind `FILE:line:`. */
export interface ConfigRemark {
  readonly line: number;
  readonly message: string;
}

export type ConfigLine =
  | { readonly kind: "section"; readonly section: Section; readonly line: number }
  | ConfigPair
  | ({ readonly kind: "mistake" } & ConfigRemark);

export interface ConfigPair {
  readonly kind: "pair";
  /** Who reads it; `quick`: wg-quick, within [Interface]. */
  readonly reader: "quick" | Section;
  /** As it stands in the file, for messages. */
  readonly key: string;
  readonly value: string;
  readonly line: number;
}

export type Section = "interface" | "peer";

const QUICK_KEYS = new Set([
  "address",
  "dns",
  "mtu",
  "table",
  "preup",
  "postup",
  "predown",
  "postdown",
  "saveconfig",
]);

/** What C calls white space. JavaScript's `trim` takes more: a no-break space, a byte order mark. */
const BLANK = "[ \\t\\v\\f\\r]";
const BLANKS = new RegExp(`${BLANK}+`, "g");
const BLANKS_AT_ENDS = new RegExp(`^${BLANK}+|${BLANK}+$`, "g");

export function* cutConfig(text: string): Generator<ConfigLine> {
  let isQuick = false;
  let section: Section | undefined;
  // The shell that runs wg-quick drops zero bytes.
  for (const [i, raw] of text.replaceAll("\0", "").split("\n").entries()) {
    const line = i + 1;
    const content = trim(raw.replace(/#.*$/, ""));
    if (content === "") continue;
    const at = content.indexOf("=");
    const key = trim(at < 0 ? content : content.slice(0, at));
    const name = key.toLowerCase();
    if (name.startsWith("[")) isQuick = name === "[interface]";
    if (isQuick && at >= 0 && QUICK_KEYS.has(name)) {
      yield { kind: "pair", reader: "quick", key, value: trim(content.slice(at + 1)), line };
      continue;
    }
    const cut = cutForWg(content, section, line);
    if (cut.kind === "section") section = cut.section;
    yield cut;
  }
}

/** The same line as wg reads it. */
function cutForWg(content: string, section: Section | undefined, line: number): ConfigLine {
  const bare = content.replace(BLANKS, "");
  const name = bare.toLowerCase();
  if (name === "[interface]") return { kind: "section", section: "interface", line };
  if (name === "[peer]") return { kind: "section", section: "peer", line };
  if (name.startsWith("[")) return { kind: "mistake", line, message: `unknown section '${content}'` };
  const at = bare.indexOf("=");
  if (at <= 0) return { kind: "mistake", line, message: `'${content}' is not of the form 'key = value'` };
  const key = bare.slice(0, at);
  if (section === undefined) {
    return { kind: "mistake", line, message: `'${key}' stands before the first section` };
  }
  return { kind: "pair", reader: section, key, value: bare.slice(at + 1), line };
}

function trim(text: string): string {
  return text.replace(BLANKS_AT_ENDS, "");
}
