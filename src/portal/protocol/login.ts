/**
 * Where a peer connects and as whom: URL, parameters and headers (PT-10 to PT-15).
 */
import { sha256 } from "@noble/hashes/sha2.js";
import type { IpAddress } from "../../base/index.ts";
import { formatIp, malformed, type Parsed, parsed, parseIp, toBase64, toHex } from "../../base/index.ts";
import type { Topic } from "./channel.ts";
import { PROTOCOL_LEVEL } from "./constants.ts";
import type { RelayStreams } from "./relay-join.ts";

/** A portal's address, checked once; another one means another machine (PT-20). */
export interface PortalUrl {
  readonly scheme: "ws" | "wss";
  /** Without brackets for an IPv6 literal. */
  readonly host: string;
  readonly port: number;
  /** Without the trailing slash. */
  readonly path: string;
}

export type MalformedPortalUrl = "not-a-url" | "bad-scheme" | "no-host";

/** What a client or gateway says of itself. Each attempt uses the present key (PT-12). */
export interface LoginParams {
  readonly externalId: string;
  readonly name: string;
  readonly deviceSerial?: string;
  readonly deviceUuid?: string;
  readonly publicKey: Uint8Array;
}

/** What a relay says of itself. Who it is follows from its secret, which goes into the join alone (PT-9, PT-11). */
export interface RelayParams {
  readonly name?: string;
  /** Public addresses, at least one. */
  readonly ipv4?: IpAddress;
  readonly ipv6?: IpAddress;
  readonly port: number;
  /** 64 hexadecimal digits (RL-6). */
  readonly stampSecret: string;
  readonly streams?: RelayStreams;
}

/** With what a peer connects; each attempt may have others. */
export type ConnectParams = LoginParams | RelayParams;

const SCHEMES: Readonly<Record<string, "ws" | "wss">> = {
  "ws:": "ws",
  "http:": "ws",
  "wss:": "wss",
  "https:": "wss",
};

/** Reads the `--api-url`. Its query is discarded (PT-10). */
export function parsePortalUrl(text: string): Parsed<PortalUrl, MalformedPortalUrl> {
  if (!URL.canParse(text)) return malformed("not-a-url");
  const url = new URL(text);
  const scheme = SCHEMES[url.protocol];
  if (scheme === undefined) return malformed("bad-scheme");
  if (url.hostname === "") return malformed("no-host");
  return parsed({
    scheme,
    host: url.hostname.replace(/^\[|\]$/g, ""),
    port: url.port === "" ? (scheme === "ws" ? 80 : 443) : Number(url.port),
    path: url.pathname.replace(/\/$/, ""),
  });
}

/** The address, if the URL names one instead of a host. */
export function literalOf(url: PortalUrl): IpAddress | undefined {
  const address = parseIp(url.host);
  return address.ok ? address.value : undefined;
}

/** `host` as it stands in URLs and the `Host` header, with the port unless it is the scheme's own. */
export function authorityOf(url: PortalUrl): string {
  const host = url.host.includes(":") ? `[${url.host}]` : url.host;
  return url.port === (url.scheme === "ws" ? 80 : 443) ? host : `${host}:${url.port}`;
}

/** The URL of one attempt (PT-10, PT-11); it never holds token or secret, because URLs are logged. */
export function socketUrlOf(url: PortalUrl, topic: Topic, params: ConnectParams): string {
  const query = "stampSecret" in params ? relayQuery(params) : peerQuery(params);
  return `${url.scheme}://${authorityOf(url)}${url.path}/${topic}/websocket?${query}`;
}

function peerQuery(params: LoginParams): URLSearchParams {
  const query = new URLSearchParams({ external_id: params.externalId, name: params.name });
  if (params.deviceSerial !== undefined) query.set("device_serial", params.deviceSerial);
  if (params.deviceUuid !== undefined) query.set("device_uuid", params.deviceUuid);
  query.set("public_key", toBase64(params.publicKey));
  return query;
}

function relayQuery({ name, ipv4, ipv6, port }: RelayParams): URLSearchParams {
  return new URLSearchParams({
    ...(name !== undefined && { name }),
    ...(ipv4 && { ipv4: formatIp(ipv4) }),
    ...(ipv6 && { ipv6: formatIp(ipv6) }),
    port: String(port),
  });
}

/** What the join says besides (PT-9). */
export function joinPayloadOf(params: ConnectParams | undefined): object {
  if (params === undefined || !("stampSecret" in params)) return {};
  return { stamp_secret: params.stampSecret, ...params.streams };
}

const UUID_FORMS =
  /^(?:urn:uuid:)?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$|^[0-9a-f]{32}$|^\{[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\}$/i;

/** A UUID is hidden behind its hash, taken over the text exactly as configured (PT-14, PG-26). */
export function externalIdOf(configuredId: string): string {
  if (!UUID_FORMS.test(configuredId)) return configuredId;
  return toHex(sha256(new TextEncoder().encode(configuredId)));
}

/** What the system says of itself; unknown parts are left out. */
export interface UserAgentParts {
  readonly os: string;
  readonly osVersion: string;
  readonly component: "headless-client" | "gateway" | "relay";
  /** Release of this program. */
  readonly release: string;
  readonly arch?: string;
  readonly kernel?: string;
}

/** The `User-Agent` header (PT-15). */
export function userAgentOf(parts: UserAgentParts): string {
  const machine = [parts.arch, parts.kernel].filter((part) => part !== undefined).join("; ");
  return toHeaderText(
    `${parts.os}/${parts.osVersion} ${parts.component}/${PROTOCOL_LEVEL} postern/${parts.release}` +
      (machine === "" ? "" : ` (${machine})`),
  );
}

/** Removes what no header may hold: kernel names have been seen with such characters (PT-15). */
export function toHeaderText(text: string): string {
  return text.replace(/[^\x20-\x7e]/gu, "");
}
