/** Values of options and variables: text from people, read once into what programs use. */
import { malformed, type Parsed, parsed } from "../base/index.ts";

const UNIT_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** The longest duration that still fits the arithmetic of milliseconds without rounding: 10,000 days. */
const DURATION_MS_MAX = 10_000 * UNIT_MS.d;

/** PG-5: `1h30m`, `500ms`; a bare integer is refused, since nobody knows its unit. */
export function parseDuration(text: string): Parsed<number> {
  if (!/^(\d{1,12}(ms|s|m|h|d))+$/.test(text)) {
    return malformed("is not a duration such as 500ms, 10s, 1h30m");
  }
  let sum = 0;
  for (const [, count, unit] of text.matchAll(/(\d+)(ms|s|m|h|d)/g)) {
    sum += Number(count) * UNIT_MS[unit as keyof typeof UNIT_MS];
  }
  return sum <= DURATION_MS_MAX ? parsed(sum) : malformed("is longer than 10000d");
}

/** PG-3: any case; everything else is refused rather than guessed. */
export function parseBoolean(text: string): Parsed<boolean> {
  switch (text.toLowerCase()) {
    case "1":
    case "true":
    case "yes":
    case "on":
      return parsed(true);
    case "0":
    case "false":
    case "no":
    case "off":
      return parsed(false);
    default:
      return malformed("is neither true nor false");
  }
}

export function parseInteger(text: string, min: number, max: number): Parsed<number> {
  const isWhole = /^\d{1,15}$/.test(text);
  if (!isWhole || Number(text) < min || Number(text) > max) {
    return malformed(`is not a whole number from ${min} to ${max}`);
  }
  return parsed(Number(text));
}

/** PG-6: the portal's URL. */
export function parseApiUrl(text: string): Parsed<string> {
  if (!URL.canParse(text)) return malformed("is not a URL");
  const { protocol, username, password } = new URL(text);
  if (!["ws:", "wss:", "http:", "https:"].includes(protocol)) {
    return malformed("is not a ws, wss, http or https URL");
  }
  // Secrets do not belong where the process list shows them (PG-8).
  if (username !== "" || password !== "") return malformed("must not carry a user name or password");
  return parsed(text);
}

/** PG-116: the base of a collector's URL; what is sent goes to a path below it. */
export function parseCollectorUrl(text: string): Parsed<string> {
  if (!URL.canParse(text)) return malformed("is not a URL");
  const { protocol, username, password, search, hash } = new URL(text);
  if (protocol !== "http:" && protocol !== "https:") return malformed("is not an http or https URL");
  if (username !== "" || password !== "") return malformed("must not carry a user name or password");
  return search === "" && hash === "" ? parsed(text) : malformed("must end with its path");
}

/** Linux's limit (IFNAMSIZ) and the characters that its tools agree on. */
export function parseDeviceName(text: string): Parsed<string> {
  return /^[a-zA-Z0-9_=+.-]{1,15}$/.test(text) && text !== "." && text !== ".."
    ? parsed(text)
    : malformed("is not a device name of 1 to 15 letters, digits or _=+.-");
}

/** PG-10: lock, identifier and control socket are files of that name. */
export function parseInstance(text: string): Parsed<string> {
  return /^[a-zA-Z0-9_+.-]{1,64}$/.test(text) && text !== "." && text !== ".."
    ? parsed(text)
    : malformed("is not a name of 1 to 64 letters, digits or _+.-");
}
