/**
 * Tokens in the configuration file: a hash, or where the token itself lies (PT-105, PT-112).
 */
import { fromHex, toHex, unixMs } from "../../base/index.ts";
import { hashToken, parseToken, type TokenKind } from "../derive.ts";
import type { Location, TokenRecord } from "../server/model.ts";
import type { ConfigPath } from "./document.ts";
import type { FileOptions } from "./file-options.ts";
import type { FileTokenSource } from "./file-schema.ts";

export interface TokenOwner {
  readonly kind: TokenKind;
  readonly ownerId: string;
  readonly location?: Location;
}

export type TokenResult =
  | { readonly ok: true; readonly value: TokenRecord }
  | { readonly ok: false; readonly at: ConfigPath; readonly message: string };

const SOURCES = ["hash", "file", "env", "token"] as const;

export function readToken(
  source: FileTokenSource & { readonly expires_at?: string | undefined },
  owner: TokenOwner,
  options: FileOptions,
): TokenResult {
  const given = SOURCES.filter((name) => source[name] !== undefined);
  const [from, ...others] = given;
  if (from === undefined) return wrong([], "a token needs one of hash, file and env");
  if (others.length > 0) return wrong([others[0] ?? from], "a token has one of hash, file and env only");
  const hash = readHash(from, source[from] ?? "", owner.kind, options);
  if (!hash.ok) return hash;
  const { expires_at } = source;
  const expiresMs = expires_at === undefined ? undefined : parseTime(expires_at);
  if (expires_at !== undefined && expiresMs === undefined) {
    return wrong(["expires_at"], `'${expires_at}' is no time such as 2027-01-01T00:00:00Z`);
  }
  return {
    ok: true,
    value: {
      ...owner,
      hash: hash.value,
      name: source.name,
      ...(expiresMs === undefined ? {} : { expiresAt: unixMs(expiresMs) }),
    },
  };
}

type HashResult =
  | { readonly ok: true; readonly value: string }
  | { readonly ok: false; readonly at: ConfigPath; readonly message: string };

function readHash(
  from: (typeof SOURCES)[number],
  text: string,
  kind: TokenKind,
  options: FileOptions,
): HashResult {
  switch (from) {
    case "hash": {
      const bytes = text.startsWith("sha256:") ? fromHex(text.slice(7)) : undefined;
      if (bytes?.length !== 32) return wrong(["hash"], "a hash is sha256: and 64 hexadecimal digits");
      return { ok: true, value: toHex(bytes) };
    }
    case "env": {
      const token = options.readEnv(text);
      if (token === undefined) return wrong(["env"], `the environment variable ${text} is not set`);
      return hashOf(token, kind, "env", `the environment variable ${text}`);
    }
    case "file": {
      const token = options.readFile(text);
      if (token === undefined) return wrong(["file"], `cannot read the file ${text}`);
      return hashOf(token, kind, "file", `the file ${text}`);
    }
    case "token":
      if (options.dev === undefined) {
        return wrong(["token"], "a token may stand in the file under --dev only; use hash, file or env");
      }
      return hashOf(text, kind, "token", "this");
    default:
      return from satisfies never;
  }
}

/** The message never shows the token. */
function hashOf(text: string, kind: TokenKind, key: string, where: string): HashResult {
  const token = parseToken(text);
  if (token === undefined) return wrong([key], `${where} holds no token`);
  if (token.kind !== kind) return wrong([key], `${where} holds a ${token.kind} token, not a ${kind} token`);
  return { ok: true, value: toHex(hashToken(token)) };
}

/** RFC 3339 with a zone; a local time would mean something else on every host. */
function parseTime(text: string): number | undefined {
  if (!/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})$/.test(text)) return undefined;
  const ms = Date.parse(text);
  return Number.isNaN(ms) || ms < 0 ? undefined : ms;
}

function wrong(
  at: ConfigPath,
  message: string,
): { readonly ok: false; readonly at: ConfigPath; readonly message: string } {
  return { ok: false, at, message };
}
