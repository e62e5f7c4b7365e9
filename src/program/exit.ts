/** Exit codes (PG-14) and the one line that a failed program leaves on stderr. */
import { PosternError } from "../base/index.ts";

export const EXIT = {
  ok: 0,
  failure: 1,
  usage: 2,
  credentials: 3,
  refused: 4,
  privilege: 5,
  unreachable: 6,
  certificate: 7,
  host: 8,
  inUse: 9,
  noInstance: 10,
  internal: 70,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/**
 * The meaning of every `PosternError.code`. A prefix ending in `-` stands for all codes that begin
 * with it; the longest match decides. What is not listed exits 1.
 */
const EXIT_OF_ERROR: ReadonlyMap<string, ExitCode> = new Map<string, ExitCode>(
  Object.entries({
    usage: EXIT.usage,
    "usage-": EXIT.usage,
    "config-": EXIT.usage,
    "config-unreadable": EXIT.credentials,
    "token-": EXIT.credentials,
    "id-": EXIT.credentials,
    "file-unreadable": EXIT.credentials,
    auth: EXIT.refused,
    "auth-": EXIT.refused,
    privilege: EXIT.privilege,
    "privilege-": EXIT.privilege,
    portal_unreachable: EXIT.unreachable,
    portal_tls: EXIT.certificate,
    host: EXIT.host,
    "host-": EXIT.host,
    "tun-": EXIT.host,
    "socket-": EXIT.host,
    "netlink-": EXIT.host,
    "nft-": EXIT.host,
    "sysctl-": EXIT.host,
    "plane-": EXIT.host,
    "ffi-": EXIT.host,
    "in-use": EXIT.inUse,
    "no-instance": EXIT.noInstance,
    "invariant-": EXIT.internal,
    "worker-": EXIT.internal,
  }),
);

/** The exit code for an error that ended a program. Anything but a `PosternError` is our defect. */
export function exitCodeOf(error: unknown): ExitCode {
  if (!(error instanceof PosternError)) return EXIT.internal;
  const exact = EXIT_OF_ERROR.get(error.code);
  if (exact !== undefined) return exact;
  let best = "";
  for (const prefix of EXIT_OF_ERROR.keys()) {
    if (prefix.endsWith("-") && error.code.startsWith(prefix) && prefix.length > best.length) best = prefix;
  }
  return EXIT_OF_ERROR.get(best) ?? EXIT.failure;
}

/** `outer: inner: root; hint`, without causes whose root an outer message already names (PG-105). */
export function describeError(error: unknown): string {
  const parts: string[] = [];
  let hint: string | undefined;
  let link: unknown = error;
  // A chain of causes is built by us and short; a circle would be a defect, hence the bound.
  for (let depth = 0; depth < 8 && link !== undefined; depth++) {
    const message = link instanceof Error ? link.message : String(link);
    if (message !== "" && !parts.some((part) => part.includes(rootOf(message)))) parts.push(message);
    if (link instanceof PosternError) hint ??= link.hint;
    link = link instanceof Error ? link.cause : undefined;
  }
  const text = parts.join(": ").replace(/\s*\n\s*/g, " ");
  return hint === undefined || text.includes(hint) ? text : `${text}; ${hint}`;
}

/** What stands behind the last colon and space: `bind: address in use` → `address in use`. */
function rootOf(message: string): string {
  return message.slice(message.lastIndexOf(": ") + 1).trim();
}
