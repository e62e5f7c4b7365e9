/**
 * Whether a socket may be opened, and for whom (PT-70 to PT-72).
 */
import { sha256 } from "@noble/hashes/sha2.js";
import * as v from "valibot";
import {
  fromBase64,
  type Instant,
  type IpAddress,
  parseIp,
  type SocketAddress,
  toHex,
  type UnixMs,
} from "../../base/index.ts";
import { hashToken, parseToken } from "../derive.ts";
import type { Topic } from "../protocol/index.ts";
import type { PortalModel, TokenRecord } from "./model.ts";
import { createFailureLimit, createTokenBucket } from "./rate-limit.ts";
import { networkOf } from "./remote.ts";
import type { Introduction } from "./store.ts";

/** An HTTP upgrade as the shell saw it. Header names are lower-case. */
export interface UpgradeRequest {
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: Readonly<Record<string, string | undefined>>;
  /** The peer's address (PT-73). */
  readonly remote: IpAddress;
}

/** An answer of RFC 9457 instead of a socket. */
export interface Refusal {
  readonly status: number;
  readonly code?: RefusalCode;
  readonly detail?: string;
  readonly retryAfterS?: number;
}

export type RefusalCode =
  | "invalid_connect_params"
  | "missing_token"
  | "invalid_token"
  | "unsupported_vsn"
  | "origin"
  | "too_many_devices"
  | "too_many_failures"
  | "rate_limit"
  | "overloaded"
  | "starting"
  | "draining";

/** A peer that may come in. A relay has no introduction: it is known by its secret alone. */
export type Admitted =
  | {
      readonly kind: "client" | "gateway";
      readonly token: TokenRecord;
      readonly introduction: Introduction;
    }
  | {
      readonly kind: "relay";
      readonly token: TokenRecord;
      readonly remote: IpAddress;
      /** Where it is asked, one of each family at most. */
      readonly addresses: readonly SocketAddress[];
    };

export type AdmissionResult =
  | { readonly ok: true; readonly admitted: Admitted }
  | {
      readonly ok: false;
      readonly refusal: Refusal;
      /** For the log alone: a stranger does not learn what is wrong with a token (PT-70). */
      readonly why?: TokenFault;
      readonly tokenName?: string;
    };

/** What is wrong with a token. */
export type TokenFault = "no-token" | "not-a-token" | "unknown" | "wrong-kind" | "expired" | "owner-disabled";

export interface Admission {
  /** Whether this address may ask for anything once more (PT-72). */
  mayAsk(now: Instant, remote: IpAddress): boolean;
  check(now: Instant, wallNow: UnixMs, model: PortalModel, request: UpgradeRequest): AdmissionResult;
}

const PATHS: Readonly<Record<string, Topic>> = {
  "/client/websocket": "client",
  "/gateway/websocket": "gateway",
  "/relay/websocket": "relay",
};

/** First words of user agents that state a protocol level (PT-16). */
const COMPONENTS = /^(?:relay|connlib|headless-client|gui-client|apple-client|android-client|gateway)\/(.+)$/;

const DEFAULT_RELAY_PORT = 3478;
const RELAY_FAMILIES = [
  ["ipv4", 4],
  ["ipv6", 16],
] as const;

const parameter = v.pipe(v.string(), v.minLength(1), v.maxLength(255));
const publicKey = v.pipe(v.string(), v.length(44));

/** Requests of any kind: an office of 500 behind one NAT comes back at once after a restart (PT-72). */
export const REQUESTS_PER_ADDRESS = { perSecond: 100, burst: 1_000 } as const;

export function createAdmission(): Admission {
  // A fleet behind one NAT may share a token, so the device counts, too (PT-72).
  const attempts = createTokenBucket({ perSecond: 1, burst: 5 });
  const failures = createFailureLimit();
  const addresses = createTokenBucket(REQUESTS_PER_ADDRESS);
  const mayAsk = (now: Instant, remote: IpAddress): boolean => addresses.take(now, networkOf(remote));
  return {
    mayAsk,
    check(now, wallNow, model, request) {
      if (!mayAsk(now, request.remote)) return refuse({ status: 503, code: "rate_limit", retryAfterS: 1 });
      const topic = Object.hasOwn(PATHS, request.path) ? PATHS[request.path] : undefined;
      if (topic === undefined) return refuse({ status: 404 });
      const vsn = request.query.get("vsn");
      if (vsn !== null && !/^1(\.|$)/.test(vsn)) return refuse({ status: 403, code: "unsupported_vsn" });
      if (isForeignOrigin(request.headers)) return refuse({ status: 403, code: "origin" });
      const network = networkOf(request.remote);
      const until = failures.blockedUntil(now, network);
      if (until !== undefined) {
        const retryAfterS = Math.max(1, Math.ceil((until - now) / 1000));
        return refuse({ status: 429, code: "too_many_failures", retryAfterS });
      }
      const text = tokenOf(request);
      const attempt = `${network}|${digest(text ?? "")}|${request.query.get("external_id") ?? ""}`;
      if (!attempts.take(now, digest(attempt))) {
        return refuse({ status: 503, code: "rate_limit", retryAfterS: 1 });
      }
      const found = findToken(model, topic, text, wallNow);
      if (!found.ok) {
        failures.note(now, network);
        const code = text === undefined ? "missing_token" : "invalid_token";
        return { ...found, refusal: { status: 401, code } };
      }
      return introduce(topic, found.token, request, wallNow);
    },
  };
}

function introduce(
  topic: Topic,
  token: TokenRecord,
  request: UpgradeRequest,
  seenAt: UnixMs,
): AdmissionResult {
  const { query, headers, remote } = request;
  const version = versionOf(headers["user-agent"]);
  if (version === undefined) return invalid("user-agent");
  if (topic === "relay") {
    const addresses = relayAddressesOf(query);
    if (typeof addresses === "string") return invalid(addresses);
    return { ok: true, admitted: { kind: "relay", token, remote, addresses } };
  }
  const externalId = query.get("external_id");
  if (!v.is(parameter, externalId)) return invalid("external_id");
  const name = query.get("name");
  if (!v.is(parameter, name)) return invalid("name");
  const keyText = query.get("public_key");
  const key = v.is(publicKey, keyText) ? fromBase64(keyText) : undefined;
  if (key?.length !== 32) return invalid("public_key");
  const introduction: Introduction = {
    ownerId: token.ownerId,
    tokenHash: token.hash,
    externalId,
    name,
    publicKey: key,
    version,
    remote,
    device: deviceOf(query),
    seenAt,
  };
  return { ok: true, admitted: { kind: topic, token, introduction } };
}

/** The public addresses of a relay, or the member that is not what it should be (PT-11). */
function relayAddressesOf(query: URLSearchParams): readonly SocketAddress[] | "ipv4" | "ipv6" | "port" {
  const portText = query.get("port") ?? String(DEFAULT_RELAY_PORT);
  const port = /^\d{1,5}$/.test(portText) ? Number(portText) : 0;
  if (port < 1 || port > 65_535) return "port";
  const addresses: SocketAddress[] = [];
  for (const [member, length] of RELAY_FAMILIES) {
    const text = query.get(member);
    if (text === null) continue;
    const address = parseIp(text);
    if (!address.ok || address.value.length !== length) return member;
    addresses.push({ address: address.value, port });
  }
  return addresses.length === 0 ? "ipv4" : addresses;
}

type TokenResult =
  | { readonly ok: true; readonly token: TokenRecord }
  | { readonly ok: false; readonly why: TokenFault; readonly tokenName?: string };

/** Unknown, revoked, expired and of another kind are one answer to the peer (PT-70). */
function findToken(model: PortalModel, topic: Topic, text: string | undefined, wallNow: UnixMs): TokenResult {
  if (text === undefined) return { ok: false, why: "no-token" };
  const token = parseToken(text);
  if (token === undefined) return { ok: false, why: "not-a-token" };
  const record = model.tokens.get(toHex(hashToken(token)));
  if (record === undefined) return { ok: false, why: "unknown" };
  if (record.kind === topic && isTokenUsable(model, record, wallNow)) return { ok: true, token: record };
  const isExpired = record.expiresAt !== undefined && wallNow >= record.expiresAt;
  const why = record.kind !== topic ? "wrong-kind" : isExpired ? "expired" : "owner-disabled";
  return { ok: false, why, tokenName: record.name };
}

/** Whether a token still opens the door: not expired, and its owner there and enabled. */
export function isTokenUsable(model: PortalModel, token: TokenRecord, wallNow: UnixMs): boolean {
  if (token.expiresAt !== undefined && wallNow >= token.expiresAt) return false;
  switch (token.kind) {
    case "client":
      return model.actors.get(token.ownerId)?.isDisabled === false;
    case "gateway":
      return model.sites.has(token.ownerId);
    case "relay":
      return true;
    case "api":
      return false;
    default:
      return token.kind satisfies never;
  }
}

/** The header, or the parameter of old peers if the header or its prefix is missing (PT-13). */
function tokenOf({ headers, query }: UpgradeRequest): string | undefined {
  const bearer = /^Bearer +(\S.*)$/.exec(headers["x-authorization"] ?? "")?.[1];
  return bearer ?? query.get("token") ?? undefined;
}

function versionOf(userAgent: string | undefined): string | undefined {
  for (const word of (userAgent ?? "").slice(0, 1024).split(" ")) {
    const version = COMPONENTS.exec(word)?.[1];
    if (version !== undefined) return version.slice(0, 64);
  }
  return undefined;
}

const DEVICE_PARAMETERS = [
  "device_serial",
  "device_uuid",
  "identifier_for_vendor",
  "firebase_installation_id",
] as const;

function deviceOf(query: URLSearchParams): Readonly<Record<string, string>> {
  const device: Record<string, string> = {};
  for (const name of DEVICE_PARAMETERS) {
    const value = query.get(name);
    if (v.is(parameter, value)) device[name] = value;
  }
  return device;
}

/** Browsers state the origin of the page; peers state none. */
function isForeignOrigin(headers: UpgradeRequest["headers"]): boolean {
  const { origin, host } = headers;
  if (origin === undefined) return false;
  return !URL.canParse(origin) || new URL(origin).host !== host?.toLowerCase();
}

function digest(text: string): string {
  return toHex(sha256(new TextEncoder().encode(text)));
}

function invalid(member: string): AdmissionResult {
  return refuse({ status: 400, code: "invalid_connect_params", detail: member });
}

function refuse(refusal: Refusal): AdmissionResult {
  return { ok: false, refusal };
}
