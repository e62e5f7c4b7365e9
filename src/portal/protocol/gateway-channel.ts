/**
 * The channel `gateway` (PT §4.2).
 */
import * as v from "valibot";
import { type UnixMs, unreachable } from "../../base/index.ts";
import { MAX_CANDIDATES_SENT, parseCandidates } from "./candidate-list.ts";
import { type Channel, type ChannelEvent, type PayloadReader, parseEvent } from "./channel.ts";
import {
  parseRelays,
  type RelayEntry,
  type TunnelAddresses,
  toWireRelay,
  tunnelAddresses,
} from "./interface.ts";
import { type GatewayResource, parseGatewayResource, toWireGatewayResource } from "./resource.ts";
import {
  type IceCredentials,
  iceCredentials,
  ipv4Address,
  ipv6Address,
  key,
  parseList,
  readAs,
  time,
  toWireIp,
  toWireKey,
  toWireTime,
  uuid,
} from "./scalar.ts";

/** One live authorisation in the gateway's `init` (PT-61). */
export interface Authorization {
  readonly cid: string;
  readonly rid: string;
  readonly expiresAt: UnixMs;
}

/** The client that a flow is authorised for. */
export interface FlowClient extends TunnelAddresses {
  readonly cid: string;
  readonly publicKey: Uint8Array;
  readonly presharedKey: Uint8Array;
  /** The client's protocol level, such as `1.5.0`. */
  readonly version?: string;
  /** What the client says of its device, by the member names of the message: for flow logs. */
  readonly device: Readonly<Record<string, string>>;
}

/** Who is behind the client, by the member names of the message: for flow logs. */
export type FlowSubject = Readonly<Record<string, string>>;

/** The portal asks the gateway to let a client reach a resource (PT-60). */
export interface AuthorizeFlow {
  readonly kind: "authorize-flow";
  /** Echoed in `flow-authorized`. */
  readonly ref: string;
  readonly resource: GatewayResource;
  readonly client: FlowClient;
  readonly clientCredentials: IceCredentials;
  readonly gatewayCredentials: IceCredentials;
  /** Absent: never. */
  readonly expiresAt?: UnixMs;
  readonly subject: FlowSubject;
}

/** What the portal tells a gateway. */
export type GatewayMessage =
  | {
      readonly kind: "init";
      readonly interface: TunnelAddresses;
      readonly relays: readonly RelayEntry[];
      readonly accountSlug?: string;
      readonly authorizations: readonly Authorization[];
    }
  | AuthorizeFlow
  | { readonly kind: "reject-access"; readonly cid: string; readonly rid: string }
  | ({ readonly kind: "access-authorization-expiry-updated" } & Authorization)
  | { readonly kind: "resource-updated"; readonly resource: GatewayResource }
  | {
      readonly kind: "ice-candidates" | "invalidate-ice-candidates";
      readonly cid: string;
      readonly candidates: readonly string[];
    }
  | {
      readonly kind: "relays-presence";
      readonly disconnectedIds: readonly string[];
      readonly connected: readonly RelayEntry[];
    };

/** What a gateway tells the portal. */
export type GatewayRequest =
  | { readonly kind: "flow-authorized"; readonly ref: string }
  | {
      readonly kind: "broadcast-ice-candidates" | "broadcast-invalidated-ice-candidates";
      readonly cids: readonly string[];
      readonly candidates: readonly string[];
    };

export const gatewayChannel: Channel<GatewayMessage, GatewayRequest> = {
  topic: "gateway",
  parseMessage: (event, payload) => parseEvent(MESSAGES, event, payload),
  toMessageEvent,
  parseRequest: (event, payload) => parseEvent(REQUESTS, event, payload),
  toRequestEvent,
};

const list = v.array(v.unknown());
const text = v.nullish(v.string());

const wireInit = v.object({
  interface: tunnelAddresses,
  relays: v.nullish(list),
  account_slug: text,
  authorizations: v.nullish(list),
});
const wireAuthorization = v.object({ client_id: uuid, resource_id: uuid, expires_at: time });
const wirePair = v.object({ client_id: uuid, resource_id: uuid });
const wireClient = v.object({
  id: uuid,
  public_key: key,
  preshared_key: key,
  ipv4: ipv4Address,
  ipv6: ipv6Address,
  version: text,
  device_os_name: text,
  device_os_version: text,
  device_serial: text,
  device_uuid: text,
  identifier_for_vendor: text,
  firebase_installation_id: text,
});
const wireSubject = v.object({
  auth_provider_id: text,
  actor_id: text,
  actor_email: text,
  actor_name: text,
});
const wireAuthorizeFlow = v.object({
  ref: v.string(),
  resource: v.unknown(),
  client: wireClient,
  client_ice_credentials: iceCredentials,
  gateway_ice_credentials: iceCredentials,
  expires_at: v.nullish(time),
  subject: v.nullish(v.unknown()),
});
const wireClientCandidates = v.object({ client_id: uuid, candidates: list });
const wirePresence = v.object({ disconnected_ids: list, connected: list });
const wireFlowAuthorized = v.object({ ref: v.string() });
const wireBroadcast = v.object({ client_ids: list, candidates: list });

const MESSAGES = new Map<string, PayloadReader<GatewayMessage>>([
  [
    "init",
    (payload, tally) => {
      const wire = readAs(wireInit, payload);
      if (wire === undefined) return undefined;
      return {
        kind: "init",
        interface: wire.interface,
        relays: parseRelays(wire.relays ?? [], tally),
        ...(wire.account_slug == null ? {} : { accountSlug: wire.account_slug }),
        authorizations: parseList(wire.authorizations ?? [], parseAuthorization, tally),
      };
    },
  ],
  ["authorize_flow", readAuthorizeFlow],
  [
    "reject_access",
    (payload) => {
      const wire = readAs(wirePair, payload);
      if (wire === undefined) return undefined;
      return { kind: "reject-access", cid: wire.client_id, rid: wire.resource_id };
    },
  ],
  [
    "access_authorization_expiry_updated",
    (payload) => {
      const authorization = parseAuthorization(payload);
      if (authorization === undefined) return undefined;
      return { kind: "access-authorization-expiry-updated", ...authorization };
    },
  ],
  [
    "resource_updated",
    (payload) => {
      const resource = parseGatewayResource(payload);
      if (resource === undefined || resource === "ignored") return resource;
      return { kind: "resource-updated", resource };
    },
  ],
  ["ice_candidates", readCandidates("ice-candidates")],
  ["invalidate_ice_candidates", readCandidates("invalidate-ice-candidates")],
  [
    "relays_presence",
    (payload, tally) => {
      const wire = readAs(wirePresence, payload);
      if (wire === undefined) return undefined;
      return {
        kind: "relays-presence",
        disconnectedIds: parseList(wire.disconnected_ids, (item) => readAs(uuid, item), tally),
        connected: parseRelays(wire.connected, tally),
      };
    },
  ],
]);

const REQUESTS = new Map<string, PayloadReader<GatewayRequest>>([
  [
    "flow_authorized",
    (payload) => {
      const wire = readAs(wireFlowAuthorized, payload);
      return wire === undefined ? undefined : { kind: "flow-authorized", ref: wire.ref };
    },
  ],
  ["broadcast_ice_candidates", readBroadcast("broadcast-ice-candidates")],
  ["broadcast_invalidated_ice_candidates", readBroadcast("broadcast-invalidated-ice-candidates")],
]);

function parseAuthorization(item: unknown): Authorization | undefined {
  const wire = readAs(wireAuthorization, item);
  if (wire === undefined) return undefined;
  return { cid: wire.client_id, rid: wire.resource_id, expiresAt: wire.expires_at };
}

function readAuthorizeFlow(payload: unknown): AuthorizeFlow | "ignored" | undefined {
  const wire = readAs(wireAuthorizeFlow, payload);
  if (wire === undefined) return undefined;
  const resource = parseGatewayResource(wire.resource);
  if (resource === undefined || resource === "ignored") return resource;
  const { id, public_key, preshared_key, ipv4, ipv6, version, ...device } = wire.client;
  return {
    kind: "authorize-flow",
    ref: wire.ref,
    resource,
    client: {
      cid: id,
      publicKey: public_key,
      presharedKey: preshared_key,
      ipv4,
      ipv6,
      ...(version == null ? {} : { version }),
      device: presentTexts(device),
    },
    clientCredentials: wire.client_ice_credentials,
    gatewayCredentials: wire.gateway_ice_credentials,
    ...(wire.expires_at == null ? {} : { expiresAt: wire.expires_at }),
    subject: presentTexts(readAs(wireSubject, wire.subject) ?? {}),
  };
}

function presentTexts(
  members: Readonly<Record<string, string | null | undefined>>,
): Readonly<Record<string, string>> {
  const present: Record<string, string> = {};
  for (const [name, value] of Object.entries(members)) if (value != null) present[name] = value;
  return present;
}

function readCandidates(kind: "ice-candidates" | "invalidate-ice-candidates"): PayloadReader<GatewayMessage> {
  return (payload, tally) => {
    const wire = readAs(wireClientCandidates, payload);
    if (wire === undefined) return undefined;
    return { kind, cid: wire.client_id, candidates: parseCandidates(wire.candidates, tally) };
  };
}

function readBroadcast(
  kind: "broadcast-ice-candidates" | "broadcast-invalidated-ice-candidates",
): PayloadReader<GatewayRequest> {
  return (payload, tally) => {
    const wire = readAs(wireBroadcast, payload);
    if (wire === undefined) return undefined;
    return {
      kind,
      cids: parseList(wire.client_ids, (item) => readAs(uuid, item), tally),
      candidates: parseCandidates(wire.candidates, tally),
    };
  };
}

function toMessageEvent(message: GatewayMessage): ChannelEvent {
  switch (message.kind) {
    case "init":
      return {
        event: "init",
        payload: {
          interface: toWireAddresses(message.interface),
          // Always both, and read by nobody: the gateway's own options decide.
          config: { ipv4_masquerade_enabled: true, ipv6_masquerade_enabled: true },
          relays: message.relays.map(toWireRelay),
          ...(message.accountSlug === undefined ? {} : { account_slug: message.accountSlug }),
          authorizations: message.authorizations.map(toWireAuthorization),
        },
      };
    case "authorize-flow":
      return { event: "authorize_flow", payload: toWireAuthorizeFlow(message) };
    case "reject-access":
      return {
        event: "reject_access",
        payload: { client_id: message.cid, resource_id: message.rid },
      };
    case "access-authorization-expiry-updated":
      return { event: "access_authorization_expiry_updated", payload: toWireAuthorization(message) };
    case "resource-updated":
      return { event: "resource_updated", payload: toWireGatewayResource(message.resource) };
    case "ice-candidates":
      return {
        event: "ice_candidates",
        payload: { client_id: message.cid, candidates: message.candidates },
      };
    case "invalidate-ice-candidates":
      return {
        event: "invalidate_ice_candidates",
        payload: { client_id: message.cid, candidates: message.candidates },
      };
    case "relays-presence":
      return {
        event: "relays_presence",
        payload: {
          disconnected_ids: message.disconnectedIds,
          connected: message.connected.map(toWireRelay),
        },
      };
    default:
      return unreachable(message);
  }
}

function toWireAddresses({ ipv4, ipv6 }: TunnelAddresses): object {
  return { ipv4: toWireIp(ipv4), ipv6: toWireIp(ipv6) };
}

function toWireAuthorization({ cid, rid, expiresAt }: Authorization): object {
  return { client_id: cid, resource_id: rid, expires_at: toWireTime(expiresAt) };
}

function toWireAuthorizeFlow(flow: AuthorizeFlow): object {
  const { client } = flow;
  return {
    ref: flow.ref,
    resource: toWireGatewayResource(flow.resource),
    client: {
      id: client.cid,
      public_key: toWireKey(client.publicKey),
      preshared_key: toWireKey(client.presharedKey),
      ...toWireAddresses(client),
      ...(client.version === undefined ? {} : { version: client.version }),
      ...client.device,
    },
    client_ice_credentials: flow.clientCredentials,
    gateway_ice_credentials: flow.gatewayCredentials,
    expires_at: flow.expiresAt === undefined ? null : toWireTime(flow.expiresAt),
    subject: flow.subject,
  };
}

function toRequestEvent(request: GatewayRequest): ChannelEvent {
  switch (request.kind) {
    case "flow-authorized":
      return { event: "flow_authorized", payload: { ref: request.ref } };
    case "broadcast-ice-candidates":
      return { event: "broadcast_ice_candidates", payload: toWireBroadcast(request) };
    case "broadcast-invalidated-ice-candidates":
      return { event: "broadcast_invalidated_ice_candidates", payload: toWireBroadcast(request) };
    default:
      return unreachable(request);
  }
}

function toWireBroadcast(request: {
  readonly cids: readonly string[];
  readonly candidates: readonly string[];
}): object {
  return { client_ids: request.cids, candidates: request.candidates.slice(0, MAX_CANDIDATES_SENT) };
}
