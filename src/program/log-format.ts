/** How one log line looks: for people and journald (PG-89), and as JSON (PG-90). */
import { formatSocketAddress, type LogFields, type SocketAddress, toHex } from "../base/index.ts";
import { describeError } from "./exit.ts";

export type LogLevel = "error" | "warn" | "info" | "debug" | "trace";

export interface LogRecord {
  readonly unixMs: number;
  readonly level: LogLevel;
  readonly target: string;
  readonly event: string;
  /** Of the event, then of its contexts from the outermost inwards (PG-89). */
  readonly fields: LogFields;
}

const LINE_BYTES_MAX = 8192;
const VALUE_CHARACTERS_MAX = 1024;

/** syslog's severities, which journald takes from the prefix. */
const SEVERITY: Readonly<Record<LogLevel, number>> = { error: 3, warn: 4, info: 6, debug: 7, trace: 7 };

const COLOUR: Readonly<Record<LogLevel, number>> = { error: 31, warn: 33, info: 32, debug: 34, trace: 35 };

/** `2026-01-27T10:00:00.123Z  INFO target: Message key=value key2="two words"`. */
export function formatHuman(record: LogRecord, { hasColours = false } = {}): string {
  const stamp = new Date(record.unixMs).toISOString();
  const level = record.level.toUpperCase().padStart(5);
  const body = formatBody(record);
  if (!hasColours) return `${stamp} ${level} ${body}`;
  return `\x1b[2m${stamp}\x1b[0m \x1b[${COLOUR[record.level]}m${level}\x1b[0m ${body}`;
}

/** For journald, which has the time itself: `<6>target: Message key=value`. */
export function formatJournal(record: LogRecord): string {
  return `<${SEVERITY[record.level]}>${formatBody(record)}`;
}

function formatBody({ target, event, fields }: LogRecord): string {
  let text = `${target}: ${clean(event)}`;
  for (const [name, value] of Object.entries(fields)) {
    if (value !== undefined) text += ` ${fieldName(name)}=${quote(printable(value))}`;
  }
  return text;
}

/** One object: `time`, `level`, `target`, `msg` and all fields at top level. */
export function formatJson({ unixMs, level, target, event, fields }: LogRecord): string {
  const object: Record<string, unknown> = { time: new Date(unixMs).toISOString(), level, target, msg: event };
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined) continue;
    const key = fieldName(name);
    object[Object.hasOwn(object, key) ? `${key}_` : key] = jsonValue(value);
  }
  const line = JSON.stringify(object);
  return Buffer.byteLength(line) <= LINE_BYTES_MAX ? line : shortened(object);
}

/** Cuts the longest values, ever harder, until the line keeps its limit (PG-90). */
function shortened(object: Readonly<Record<string, unknown>>): string {
  for (let most = 2048; most > 8; most >>= 1) {
    const line = JSON.stringify(object, (_key, value) =>
      typeof value === "string" && value.length > most ? cut(value, most) : value,
    );
    if (Buffer.byteLength(line) <= LINE_BYTES_MAX) return line;
  }
  const { time, level, target, msg } = object;
  return JSON.stringify({ time, level, target, msg: cut(String(msg), 1024), cut: true });
}

/** `rttMs` in the code is `rtt_ms` in the line: the specification's field names (PG-90, PG-95). */
function fieldName(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`).replace(/[^a-zA-Z0-9_.]/g, "_");
}

function jsonValue(value: unknown): unknown {
  switch (typeof value) {
    case "number":
    case "boolean":
      return value;
    case "bigint":
      return value <= Number.MAX_SAFE_INTEGER ? Number(value) : value.toString();
    default:
      return Array.isArray(value) ? value.map(jsonValue) : printable(value);
  }
}

/** A value as one piece of text. Secrets print themselves as redacted (PG-21). */
function printable(value: unknown): string {
  if (typeof value === "string") return value;
  if (value instanceof Error) return describeError(value);
  if (value instanceof Uint8Array) return toHex(value.subarray(0, VALUE_CHARACTERS_MAX / 2));
  if (isSocketAddress(value)) return formatSocketAddress(value);
  if (Array.isArray(value)) return `[${value.map(printable).join(", ")}]`;
  if (typeof value !== "object" || value === null) return String(value);
  const json = JSON.stringify(value, (_key, inner) => (typeof inner === "bigint" ? inner.toString() : inner));
  // A value whose `toJSON` gives text, such as a secret or a date, is that text.
  return json?.startsWith('"') ? String(JSON.parse(json)) : (json ?? "");
}

function isSocketAddress(value: unknown): value is SocketAddress {
  return (
    typeof value === "object" &&
    value !== null &&
    "address" in value &&
    "port" in value &&
    value.address instanceof Uint8Array &&
    typeof value.port === "number"
  );
}

function quote(text: string): string {
  const short = cut(text, VALUE_CHARACTERS_MAX);
  return /^[^\s"=\p{Cc}]+$/u.test(short) ? short : JSON.stringify(short);
}

/** Control characters of a stranger must not reach a terminal. */
function clean(text: string): string {
  return text.replace(/\p{Cc}/gu, " ");
}

function cut(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most)}…`;
}
