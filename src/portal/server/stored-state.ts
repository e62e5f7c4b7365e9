/**
 * What must outlive a restart, and its form as JSON (PT-115): devices and gateways with their secrets
 * and addresses, live authorisations, and what was rejected while its client was away.
 */
import * as v from "valibot";
import {
  formatIp,
  fromBase64,
  type IpAddress,
  malformed,
  type Parsed,
  parsed,
  parseIp,
  parseJson,
  toBase64,
  type UnixMs,
  unixMs,
} from "../../base/index.ts";
import type { AuthorizationRecord } from "./authorizations.ts";

/** What devices and gateways have in common. */
export interface StoredPeer {
  readonly id: string;
  /** The actor of a device, the site of a gateway. */
  readonly ownerId: string;
  readonly externalId: string;
  readonly name: string;
  readonly publicKey: Uint8Array;
  readonly pskBase: Uint8Array;
  readonly ipv4: IpAddress;
  readonly ipv6: IpAddress;
  /** The protocol level of the last user agent. */
  readonly version: string;
  /** The address of the last connection. */
  readonly remote: IpAddress;
  /** Hardware identifiers and the like, by parameter name. */
  readonly device: Readonly<Record<string, string>>;
  /** A hardware identifier changed since the device was verified (PT-71). */
  readonly isHardwareChanged: boolean;
}

/** A resource whose authorisation ended while its client was away (PT-92). */
export interface Rejection {
  readonly cid: string;
  readonly rid: string;
  readonly at: UnixMs;
}

export interface StoredState {
  readonly devices: readonly StoredPeer[];
  readonly gateways: readonly StoredPeer[];
  readonly authorizations: readonly AuthorizationRecord[];
  readonly rejections: readonly Rejection[];
}

export const EMPTY_STATE: StoredState = { devices: [], gateways: [], authorizations: [], rejections: [] };

const FORM_VERSION = 1;

const bytes = v.pipe(
  v.string(),
  v.transform((text) => fromBase64(text)),
  v.check((key) => key?.length === 32, "not 32 bytes in base64"),
  v.transform((key) => key ?? new Uint8Array(32)),
);

const address = v.pipe(
  v.string(),
  v.transform((text) => parseIp(text)),
  v.check((parse) => parse.ok, "not an IP address"),
  v.transform((parse): IpAddress => (parse.ok ? parse.value : new Uint8Array(4))),
);

const time = v.pipe(v.number(), v.integer(), v.minValue(0), v.transform(unixMs));

const peer = v.object({
  id: v.string(),
  ownerId: v.string(),
  externalId: v.string(),
  name: v.string(),
  publicKey: bytes,
  pskBase: bytes,
  ipv4: address,
  ipv6: address,
  version: v.string(),
  remote: address,
  device: v.record(v.string(), v.string()),
  isHardwareChanged: v.boolean(),
});

const authorization = v.object({
  cid: v.string(),
  gid: v.string(),
  rid: v.string(),
  policyId: v.string(),
  tokenHash: v.string(),
  identity: v.string(),
  basis: v.string(),
  expiresAt: v.exactOptional(time),
});

const state = v.object({
  version: v.literal(FORM_VERSION),
  devices: v.array(peer),
  gateways: v.array(peer),
  authorizations: v.array(authorization),
  rejections: v.array(v.object({ cid: v.string(), rid: v.string(), at: time })),
});

/** Reads `state.json`. Nothing in it is optional: a state half read would be a fresh one in disguise. */
export function parseState(text: string): Parsed<StoredState> {
  const json = parseJson(text);
  // The caller turns it into an error for people; the parser's own words do not help them.
  if (!json.ok) return malformed(json.reason === "not-json" ? "it is not JSON" : "it nests too deeply");
  const result = v.safeParse(state, json.value, { abortEarly: true });
  if (result.success) {
    const { devices, gateways, authorizations, rejections } = result.output;
    return parsed({ devices, gateways, authorizations, rejections });
  }
  const [issue] = result.issues;
  return malformed(`${v.getDotPath(issue) ?? "it"}: ${issue.message}`);
}

export function toStateText(of: StoredState): string {
  return `${JSON.stringify({
    version: FORM_VERSION,
    devices: of.devices.map(toJsonPeer),
    gateways: of.gateways.map(toJsonPeer),
    authorizations: of.authorizations,
    rejections: of.rejections,
  })}\n`;
}

function toJsonPeer(of: StoredPeer): object {
  return {
    ...of,
    publicKey: toBase64(of.publicKey),
    pskBase: toBase64(of.pskBase),
    ipv4: formatIp(of.ipv4),
    ipv6: formatIp(of.ipv6),
    remote: formatIp(of.remote),
  };
}
