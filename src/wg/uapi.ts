/**
 * The status protocol of WireGuard's user-space implementations (WG-66), as pure functions: requests
 * to data, data to answers.
 *
 *     get=1\n\n                           → key=value lines, errno=0\n\n
 *     set=1\nkey=value\n…\n\n             → errno=N\n\n
 *
 * A `set` is read whole before anything of it is applied, so that a bad line changes nothing (WG-67).
 */
import {
  formatPrefix,
  formatSocketAddress,
  malformed,
  type Parsed,
  type Prefix,
  parsed,
  parsePrefix,
  parseSocketAddress,
  type SocketAddress,
  toHex,
  U16_MAX,
  U32_MAX,
} from "../base/index.ts";
import { type ConfigHost, NO_HOST, parseNumber, parseScopedIp } from "./config-value.ts";
import { isZeroKey, parseKeyHex } from "./key.ts";
import { finish, LINES_PER_STEP, type Steps } from "./steps.ts";

/** EIO, EINVAL, EPROTO as wireguard-go answers them; ENOSPC when there is no row for another peer. */
export const UAPI_ERRNO = { ok: 0, io: -5, invalid: -22, noRoom: -28, protocol: -71 } as const;

const NO_KEY_HEX = "0".repeat(64);

export interface WgSet {
  /** `undefined` as a value removes the key. */
  readonly privateKey?: { readonly key: Uint8Array | undefined };
  readonly listenPort?: number;
  readonly fwMark?: number;
  readonly replacePeers: boolean;
  readonly peers: readonly WgPeerSet[];
}

export interface WgPeerSet {
  readonly publicKey: Uint8Array;
  readonly remove: boolean;
  readonly updateOnly: boolean;
  readonly presharedKey?: { readonly key: Uint8Array | undefined };
  readonly endpoint?: SocketAddress;
  readonly keepaliveSeconds?: number;
  readonly replaceAllowedIps: boolean;
  readonly allowedIps: readonly AllowedIpChange[];
}

export interface AllowedIpChange {
  readonly prefix: Prefix;
  readonly remove: boolean;
}

/** What `get` answers. */
export interface WgStatus {
  readonly privateKey: Uint8Array | undefined;
  readonly listenPort: number;
  readonly fwMark: number;
  readonly peers: readonly WgPeerStatus[];
}

export interface WgPeerStatus {
  readonly publicKey: Uint8Array;
  readonly presharedKey: Uint8Array | undefined;
  readonly endpoint: SocketAddress | undefined;
  /** Unix time in milliseconds; 0: never. */
  readonly lastHandshakeUnixMs: number;
  readonly txBytes: number;
  readonly rxBytes: number;
  readonly keepaliveSeconds: number;
  readonly allowedIps: readonly Prefix[];
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type SetDraft = Mutable<Omit<WgSet, "peers">> & { peers: PeerSetDraft[] };
type PeerSetDraft = Mutable<Omit<WgPeerSet, "allowedIps">> & { allowedIps: AllowedIpChange[] };

/** Reads the lines of a `set` behind `set=1`, without the empty one. */
export function parseSet(
  lines: readonly string[],
  host: Pick<ConfigHost, "indexOf"> = NO_HOST,
): Parsed<WgSet, "invalid" | "protocol"> {
  return finish(parseSetInSteps(lines, host));
}

export function* parseSetInSteps(
  lines: readonly string[],
  host: Pick<ConfigHost, "indexOf"> = NO_HOST,
): Steps<Parsed<WgSet, "invalid" | "protocol">> {
  const draft: SetDraft = { replacePeers: false, peers: [] };
  for (const [i, line] of lines.entries()) {
    if (i > 0 && i % LINES_PER_STEP === 0) yield;
    const at = line.indexOf("=");
    if (at < 0) return malformed("protocol");
    const key = line.slice(0, at);
    const value = line.slice(at + 1);
    const peer = draft.peers.at(-1);
    const isTaken =
      key === "public_key"
        ? beginPeer(draft, value)
        : peer === undefined
          ? setDeviceKey(draft, key, value)
          : setPeerKey(peer, key, value, host);
    if (!isTaken) return malformed("invalid");
  }
  return parsed(draft);
}

function beginPeer(draft: SetDraft, value: string): boolean {
  const publicKey = parseKeyHex(value);
  if (publicKey === undefined) return false;
  draft.peers.push({ publicKey, remove: false, updateOnly: false, replaceAllowedIps: false, allowedIps: [] });
  return true;
}

function setDeviceKey(draft: SetDraft, key: string, value: string): boolean {
  switch (key) {
    case "private_key": {
      const privateKey = parseKeyHex(value);
      if (privateKey === undefined) return false;
      draft.privateKey = { key: isZeroKey(privateKey) ? undefined : privateKey };
      return true;
    }
    case "listen_port": {
      const port = parseNumber(value, 0, U16_MAX);
      if (port !== undefined) draft.listenPort = port;
      return port !== undefined;
    }
    case "fwmark": {
      const mark = parseNumber(value, 0, U32_MAX);
      if (mark !== undefined) draft.fwMark = mark;
      return mark !== undefined;
    }
    case "replace_peers":
      draft.replacePeers = true;
      return value === "true";
    default:
      return false;
  }
}

function setPeerKey(
  peer: PeerSetDraft,
  key: string,
  value: string,
  host: Pick<ConfigHost, "indexOf">,
): boolean {
  switch (key) {
    case "remove":
      peer.remove = true;
      return value === "true";
    case "update_only":
      peer.updateOnly = true;
      return value === "true";
    case "preshared_key": {
      const presharedKey = parseKeyHex(value);
      if (presharedKey === undefined) return false;
      peer.presharedKey = { key: isZeroKey(presharedKey) ? undefined : presharedKey };
      return true;
    }
    case "endpoint": {
      const endpoint = parseEndpointAddress(value, host);
      if (endpoint !== undefined) peer.endpoint = endpoint;
      return endpoint !== undefined;
    }
    case "persistent_keepalive_interval": {
      const seconds = parseNumber(value, 0, U16_MAX);
      if (seconds !== undefined) peer.keepaliveSeconds = seconds;
      return seconds !== undefined;
    }
    case "replace_allowed_ips":
      peer.replaceAllowedIps = true;
      // What was listed before is forgotten too: the key says "from here on".
      peer.allowedIps = [];
      return value === "true";
    case "allowed_ip": {
      const remove = value.startsWith("-");
      const prefix = parsePrefix(remove ? value.slice(1) : value);
      if (prefix.ok) peer.allowedIps.push({ prefix: prefix.value, remove });
      return prefix.ok;
    }
    case "protocol_version":
      return value === "1";
    default:
      return false;
  }
}

/** As `formatSocketAddress` writes it, and with the name of an interface as the scope (RFC 4007 §11). */
function parseEndpointAddress(text: string, host: Pick<ConfigHost, "indexOf">): SocketAddress | undefined {
  const [, scopedHost, digits = ""] = /^\[([^\]]*%[^\]]*)\]:(\d{1,5})$/.exec(text) ?? [];
  if (scopedHost === undefined) {
    const address = parseSocketAddress(text);
    return address.ok ? address.value : undefined;
  }
  const scoped = parseScopedIp(scopedHost, host);
  const port = parseNumber(digits, 0, U16_MAX);
  return scoped === undefined || port === undefined ? undefined : { ...scoped, port };
}

export function formatErrno(errno: number): string {
  return `errno=${errno}\n\n`;
}

/** The answer to `get`, in the order of WG-66, with the final `errno=0`. */
export function formatStatus(status: WgStatus): string {
  return finish(formatStatusInSteps(status, [status.peers]));
}

/** The same of peers that come in pieces, with a step after each but the last. */
export function* formatStatusInSteps(
  status: Omit<WgStatus, "peers">,
  pieces: Iterable<readonly WgPeerStatus[]>,
): Steps<string> {
  const lines: string[] = [];
  if (status.privateKey !== undefined) lines.push(`private_key=${toHex(status.privateKey)}`);
  lines.push(`listen_port=${status.listenPort}`);
  if (status.fwMark !== 0) lines.push(`fwmark=${status.fwMark}`);
  let isFirst = true;
  for (const peers of pieces) {
    if (!isFirst) yield;
    isFirst = false;
    // Each piece is joined in its own step: 700,000 lines at the end would take longer than all else.
    if (peers.length > 0) lines.push(peers.flatMap(formatPeer).join("\n"));
  }
  return `${lines.join("\n")}\n${formatErrno(UAPI_ERRNO.ok)}`;
}

function formatPeer(peer: WgPeerStatus): readonly string[] {
  const seconds = Math.floor(peer.lastHandshakeUnixMs / 1000);
  const nanoseconds = Math.floor(peer.lastHandshakeUnixMs - seconds * 1000) * 1_000_000;
  return [
    `public_key=${toHex(peer.publicKey)}`,
    `preshared_key=${peer.presharedKey === undefined ? NO_KEY_HEX : toHex(peer.presharedKey)}`,
    "protocol_version=1",
    ...(peer.endpoint === undefined ? [] : [`endpoint=${formatSocketAddress(peer.endpoint)}`]),
    `last_handshake_time_sec=${seconds}`,
    `last_handshake_time_nsec=${nanoseconds}`,
    `tx_bytes=${peer.txBytes}`,
    `rx_bytes=${peer.rxBytes}`,
    `persistent_keepalive_interval=${peer.keepaliveSeconds}`,
    ...peer.allowedIps.map((prefix) => `allowed_ip=${formatPrefix(prefix)}`),
  ];
}

export const UAPI_LINE_BYTES_MAX = 4096;
export const UAPI_REQUEST_BYTES_MAX = 16 * 1024 * 1024;

export type UapiRequest =
  | { readonly kind: "get" }
  | { readonly kind: "set"; readonly lines: readonly string[] }
  /** An unknown first line, or a limit: the connection is closed without answer (WG-66, WG-67). */
  | { readonly kind: "refused" };

/** Cuts a stream of text into requests; each ends with an empty line. */
export interface UapiReader {
  /** Requests that are complete with `text`; nothing follows after `refused`. */
  push(text: string): readonly UapiRequest[];
}

export function createUapiReader(): UapiReader {
  let partial = "";
  let lines: string[] = [];
  let requestBytes = 0;
  let isRefused = false;

  function take(line: string): UapiRequest | undefined {
    requestBytes += line.length + 1;
    const isTooLong = line.length > UAPI_LINE_BYTES_MAX || requestBytes > UAPI_REQUEST_BYTES_MAX;
    const isUnknown = lines.length === 0 && line !== "get=1" && line !== "set=1";
    if (isTooLong || isUnknown) return { kind: "refused" };
    if (line !== "") {
      lines.push(line);
      return undefined;
    }
    const [first, ...rest] = lines;
    lines = [];
    requestBytes = 0;
    if (first === "set=1") return { kind: "set", lines: rest };
    return rest.length === 0 ? { kind: "get" } : { kind: "refused" };
  }

  return {
    push(text) {
      const requests: UapiRequest[] = [];
      partial += text;
      for (let end = partial.indexOf("\n"); end >= 0 && !isRefused; end = partial.indexOf("\n")) {
        const request = take(partial.slice(0, end));
        partial = partial.slice(end + 1);
        if (request !== undefined) requests.push(request);
        isRefused = request?.kind === "refused";
      }
      if (!isRefused && partial.length > UAPI_LINE_BYTES_MAX) {
        isRefused = true;
        requests.push({ kind: "refused" });
      }
      return requests;
    },
  };
}
