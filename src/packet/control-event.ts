/**
 * Control events inside the tunnel (TN-40 to TN-44).
 *
 * `[IPv6 header, `::` to `::`, next header 255][event u8][7 zero bytes][UTF-8 JSON, none for goodbye]`
 */
import {
  concatBytes,
  formatIp,
  type IpAddress,
  malformed,
  type Parsed,
  parsed,
  parseIp,
  parseJson,
} from "../base/index.ts";

const HEADER_BYTES = 40;
const EVENT_HEADER_BYTES = 8;
const PROTOCOL = 255;
const EVENT = { assignedIps: 0, domainStatus: 1, goodbye: 2 } as const;

/** Client → gateway: these addresses stand for the name (TN-41). */
export interface AssignedIps {
  readonly kind: "assigned-ips";
  readonly rid: string;
  /** Lower case, without a trailing dot. */
  readonly domain: string;
  readonly proxies: readonly IpAddress[];
}

/** Gateway → client: whether it can translate them (TN-42). */
export interface DomainStatus {
  readonly kind: "domain-status";
  readonly rid: string;
  readonly domain: string;
  readonly isActive: boolean;
}

export type ControlEvent = { readonly kind: "goodbye" } | AssignedIps | DomainStatus;

export type MalformedControlEvent =
  | "short"
  | "unknown-event"
  | "bad-json"
  | "bad-id"
  | "bad-name"
  | "bad-address";

/** Whether a validated IP packet is a control event: only the program itself may make these. */
export function isControlEvent(packet: Uint8Array): boolean {
  return (
    (packet[0] ?? 0) >> 4 === 6 &&
    packet[6] === PROTOCOL &&
    packet.subarray(8, 40).every((byte) => byte === 0)
  );
}

/** Reads a packet for which `isControlEvent` holds (TN-44). Keys that it does not know are ignored. */
export function parseControlEvent(packet: Uint8Array): Parsed<ControlEvent, MalformedControlEvent> {
  if (packet.length < HEADER_BYTES + EVENT_HEADER_BYTES) return malformed("short");
  // WireGuard pads: what lies behind the declared end is not JSON.
  const end = HEADER_BYTES + (((packet[4] ?? 0) << 8) | (packet[5] ?? 0));
  const json = packet.subarray(HEADER_BYTES + EVENT_HEADER_BYTES, end);
  switch (packet[HEADER_BYTES]) {
    case EVENT.assignedIps:
      return parseAssignedIps(json);
    case EVENT.domainStatus:
      return parseDomainStatus(json);
    case EVENT.goodbye:
      return parsed({ kind: "goodbye" });
    default:
      return malformed("unknown-event");
  }
}

export function encodeAssignedIps({
  rid,
  domain,
  proxies,
}: Omit<AssignedIps, "kind">): Uint8Array<ArrayBuffer> {
  return encodeEvent(EVENT.assignedIps, { resource: rid, domain, proxy_ips: proxies.map(formatIp) });
}

export function encodeDomainStatus(status: Omit<DomainStatus, "kind">): Uint8Array<ArrayBuffer> {
  const { rid, domain, isActive } = status;
  return encodeEvent(EVENT.domainStatus, { resource: rid, domain, status: isActive ? "Active" : "Inactive" });
}

/** *Goodbye*: 48 bytes (TN-43). */
export function encodeGoodbye(): Uint8Array<ArrayBuffer> {
  return encodeEvent(EVENT.goodbye);
}

function encodeEvent(event: number, value?: object): Uint8Array<ArrayBuffer> {
  const json = new TextEncoder().encode(value === undefined ? "" : JSON.stringify(value));
  const header = new Uint8Array(HEADER_BYTES + EVENT_HEADER_BYTES);
  const payloadBytes = EVENT_HEADER_BYTES + json.length;
  header.set([0x60, 0, 0, 0, payloadBytes >> 8, payloadBytes, PROTOCOL]);
  header[HEADER_BYTES] = event;
  return concatBytes(header, json);
}

function parseAssignedIps(json: Uint8Array): Parsed<AssignedIps, MalformedControlEvent> {
  const named = parseNamed(json);
  if (!named.ok) return named;
  const { rid, domain, members } = named.value;
  const list: unknown = members["proxy_ips"];
  if (!Array.isArray(list)) return malformed("bad-address");
  const proxies: IpAddress[] = [];
  for (const item of list as readonly unknown[]) {
    const address = typeof item === "string" ? parseIp(item) : undefined;
    if (address?.ok !== true) return malformed("bad-address");
    proxies.push(address.value);
  }
  return parsed({ kind: "assigned-ips", rid, domain, proxies });
}

function parseDomainStatus(json: Uint8Array): Parsed<DomainStatus, MalformedControlEvent> {
  const named = parseNamed(json);
  if (!named.ok) return named;
  const { rid, domain, members } = named.value;
  const status: unknown = members["status"];
  if (typeof status !== "string") return malformed("bad-json");
  // A status that we do not know is not that it works.
  return parsed({ kind: "domain-status", rid, domain, isActive: status === "Active" });
}

interface Named {
  readonly rid: string;
  readonly domain: string;
  readonly members: Readonly<Record<string, unknown>>;
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
/** Printable ASCII: other octets are escaped (DN-1). */
const DOMAIN = /^[\x21-\x7e]{1,1012}$/;

function parseNamed(json: Uint8Array): Parsed<Named, MalformedControlEvent> {
  const value = parseJson(new TextDecoder().decode(json));
  if (!value.ok || typeof value.value !== "object" || value.value === null) return malformed("bad-json");
  const members = value.value as Readonly<Record<string, unknown>>;
  const { resource, domain } = members as { readonly resource?: unknown; readonly domain?: unknown };
  if (typeof resource !== "string" || !UUID.test(resource)) return malformed("bad-id");
  if (typeof domain !== "string" || !DOMAIN.test(domain)) return malformed("bad-name");
  return parsed({ rid: resource.toLowerCase(), domain: domain.toLowerCase(), members });
}
