/** Domain names as they stand on the wire, as they are compared, and as people read them (DN-1 to DN-3). */
import { malformed, type Parsed, parsed } from "../base/index.ts";

export interface Name {
  /** Uncompressed: length octets, labels and the final zero. */
  readonly wire: Uint8Array<ArrayBuffer>;
  /** The same octets with A-Z folded to a-z, as latin1 text: what names are compared by (RFC 4343). */
  readonly key: string;
}

export type MalformedName = "bad-name";

export const LABEL_BYTES_MAX = 63;
const NAME_BYTES_MAX = 255;
const POINTER = 0xc0;
/** A pointer cannot lead into the header (RFC 1035 §4.1.4). */
export const HEADER_BYTES = 12;

/** How long a name is: its own octets in the message end at `end`, expanded it has `bytes`. */
interface NameExtent {
  readonly end: number;
  readonly bytes: number;
}

/**
 * Reads a name that may be compressed.
 * @returns the name and the offset behind its own octets
 */
export function parseName(
  message: Uint8Array,
  at: number,
): Parsed<{ readonly name: Name; readonly end: number }, MalformedName> {
  const extent = measureName(message, at);
  if (extent === undefined) return malformed("bad-name");
  const wire = new Uint8Array(extent.bytes);
  for (let from = at, to = 0; ; ) {
    const length = message[from] ?? 0;
    if (length >= POINTER) {
      from = pointerTarget(message, from);
      continue;
    }
    wire.set(message.subarray(from, from + 1 + length), to);
    if (length === 0) return parsed({ name: toFolded(wire), end: extent.end });
    from += 1 + length;
    to += 1 + length;
  }
}

/** The offset behind a name, which allocates nothing; `undefined` if it is malformed. */
export function skipName(message: Uint8Array, at: number): number | undefined {
  return measureName(message, at)?.end;
}

function measureName(message: Uint8Array, at: number): NameExtent | undefined {
  let bytes = 1;
  let end: number | undefined;
  // Each jump leads to before the part that is being read, so that reading ends.
  let bound = at;
  // What a pointer leads to ends before that part, too: a name that was there before. Otherwise a name could go on
  // behind the message's last record, in octets that are not passed on.
  let limit = message.length;
  for (let next = at; ; ) {
    const length = message[next];
    if (length === undefined || next >= limit) return undefined;
    if (length >= POINTER) {
      if (next + 2 > limit) return undefined;
      const target = pointerTarget(message, next);
      if (target < HEADER_BYTES || target >= bound) return undefined;
      end ??= next + 2;
      limit = bound;
      bound = target;
      next = target;
      continue;
    }
    if (length > LABEL_BYTES_MAX) return undefined;
    if (length === 0) return { end: end ?? next + 1, bytes };
    bytes += 1 + length;
    if (bytes > NAME_BYTES_MAX || next + 1 + length > limit) return undefined;
    next += 1 + length;
  }
}

function pointerTarget(message: Uint8Array, at: number): number {
  return (((message[at] ?? 0) & ~POINTER) << 8) | (message[at + 1] ?? 0);
}

/**
 * Reads presentation text, with or without the dot at its end: printable ASCII, `\.` for a dot inside a label,
 * `\DDD` for any octet. `undefined` when it is no name.
 */
export function toName(text: string): Name | undefined {
  if (text === ".") return toFolded(Uint8Array.of(0));
  const whole = ENDS_WITH_DOT.test(text) ? text : `${text}.`;
  // The last octet is the length of the label that is being read.
  const octets: number[] = [0];
  let labelAt = 0;
  for (let at = 0; at < whole.length; ) {
    if (whole[at] === ".") {
      const length = octets.length - labelAt - 1;
      if (length === 0 || length > LABEL_BYTES_MAX) return undefined;
      octets[labelAt] = length;
      labelAt = octets.length;
      octets.push(0);
      at += 1;
    } else {
      const [written = "", code] = readOctet(whole, at);
      if (code === undefined || octets.length === NAME_BYTES_MAX) return undefined;
      octets.push(code);
      at += written.length;
    }
  }
  // A backslash before the last dot has made it part of a label.
  const isComplete = labelAt === octets.length - 1 && octets.length <= NAME_BYTES_MAX;
  return isComplete ? toFolded(Uint8Array.from(octets)) : undefined;
}

const ENDS_WITH_DOT = /(?<!\\)(?:\\\\)*\.$/;

/** One octet of a label as it is written, and its value; no value if it must not be written so. */
function readOctet(text: string, at: number): readonly [written: string, code: number | undefined] {
  const first = text[at] ?? "";
  if (first !== "\\") return [first, first > " " && first <= "~" ? first.charCodeAt(0) : undefined];
  const written = /^\\(?:\d{3}|[^\d])/.exec(text.slice(at, at + 4))?.[0] ?? "";
  if (written.length === 4)
    return [written, Number(written.slice(1)) <= 255 ? Number(written.slice(1)) : undefined];
  const quoted = written[1] ?? "";
  return [written, quoted >= " " && quoted <= "~" ? quoted.charCodeAt(0) : undefined];
}

/** The labels of a key, without their length octets and without the root's. */
export function labelsOf(key: string): string[] {
  const labels: string[] = [];
  for (let at = 0; ; ) {
    const length = key.charCodeAt(at);
    if (!(length > 0)) return labels;
    labels.push(key.slice(at + 1, at + 1 + length));
    at += 1 + length;
  }
}

/** The name in presentation form, lower case, without the dot at its end (DN-1). */
export function domainOf({ key }: Pick<Name, "key">): string {
  const labels = labelsOf(key);
  return labels.length === 0 ? "." : labels.map(escapeLabel).join(".");
}

function escapeLabel(label: string): string {
  if (/^[\w*?-]*$/.test(label)) return label;
  return label.replaceAll(/[\s\S]/g, (octet) => {
    const code = octet.charCodeAt(0);
    if (octet === " " || octet === "." || octet === "\\") return `\\${octet}`;
    return code > 0x20 && code < 0x7f ? octet : `\\${String(code).padStart(3, "0")}`;
  });
}

/** Whether the name is `below` or lies below it. */
export function isWithin(key: string, below: string): boolean {
  if (!key.endsWith(below)) return false;
  // The suffix must begin at a label, not inside of one.
  for (let at = 0; at <= key.length - below.length; at += 1 + key.charCodeAt(at)) {
    if (at === key.length - below.length) return true;
  }
  return false;
}

function toFolded(wire: Uint8Array<ArrayBuffer>): Name {
  let key = "";
  for (const byte of wire) key += String.fromCharCode(byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte);
  return { wire, key };
}
