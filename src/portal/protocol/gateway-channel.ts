/**
 * The channel `gateway` (PT §4.2).
 */
import * as v from "valibot";
import type { UnixMs } from "../../base/index.ts";
import { MAX_CANDIDATES_SENT, parseCandidates } from "./candidate-list.ts";
import {
  byEvent,
  type Channel,
  type MessageCodec,
  type MessageCodecs,
  parseEvent,
  toEvent,
} from "./channel.ts";
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
      /** Those of `authorizations`, as they are now; absent from a portal of another make. */
      readonly resources?: readonly GatewayResource[];
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
  /** The client has to wait for its turn; the answer comes then (PT-60). */
  | { readonly kind: "flow-waiting"; readonly ref: string }
  | {
      readonly kind: "broadcast-ice-candidates" | "broadcast-invalidated-ice-candidates";
      readonly cids: readonly string[];
      readonly candidates: readonly string[];
    };

const list = v.array(v.unknown());
const text = v.nullish(v.string());

const wireInit = v.object({
  interface: tunnelAddresses,
  relays: v.nullish(list),
  account_slug: text,
  authorizations: v.nullish(list),
  resources: v.nullish(list),
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
const wireAnswer = v.object({ ref: v.string() });
const wireBroadcast = v.object({ client_ids: list, candidates: list });

const MESSAGES: MessageCodecs<GatewayMessage> = {
  init: {
    event: "init",
    read(payload, tally) {
      const wire = readAs(wireInit, payload);
      if (wire === undefined) return undefined;
      return {
        kind: "init",
        interface: wire.interface,
        relays: parseRelays(wire.relays ?? [], tally),
        ...(wire.account_slug == null ? {} : { accountSlug: wire.account_slug }),
        authorizations: parseList(wire.authorizations ?? [], parseAuthorization, tally),
        ...(wire.resources == null
          ? {}
          : { resources: parseList(wire.resources, parseGatewayResource, tally) }),
      };
    },
    write: (message) => ({
      interface: toWireAddresses(message.interface),
      // Always both, and read by nobody: the gateway's own options decide.
      config: { ipv4_masquerade_enabled: true, ipv6_masquerade_enabled: true },
      relays: message.relays.map(toWireRelay),
      ...(message.accountSlug === undefined ? {} : { account_slug: message.accountSlug }),
      authorizations: message.authorizations.map(toWireAuthorization),
      ...(message.resources === undefined ? {} : { resources: message.resources.map(toWireGatewayResource) }),
    }),
  },
  "authorize-flow": { event: "authorize_flow", read: readAuthorizeFlow, write: toWireAuthorizeFlow },
  "reject-access": {
    event: "reject_access",
    read(payload) {
      const wire = readAs(wirePair, payload);
      if (wire === undefined) return undefined;
      return { kind: "reject-access", cid: wire.client_id, rid: wire.resource_id };
    },
    write: (message) => ({ client_id: message.cid, resource_id: message.rid }),
  },
  "access-authorization-expiry-updated": {
    event: "access_authorization_expiry_updated",
    read(payload) {
      const authorization = parseAuthorization(payload);
      if (authorization === undefined) return undefined;
      return { kind: "access-authorization-expiry-updated", ...authorization };
    },
    write: toWireAuthorization,
  },
  "resource-updated": {
    event: "resource_updated",
    read(payload) {
      const resource = parseGatewayResource(payload);
      if (resource === undefined || resource === "ignored") return resource;
      return { kind: "resource-updated", resource };
    },
    write: (message) => toWireGatewayResource(message.resource),
  },
  "ice-candidates": candidateCodec("ice-candidates", "ice_candidates"),
  "invalidate-ice-candidates": candidateCodec("invalidate-ice-candidates", "invalidate_ice_candidates"),
  "relays-presence": {
    event: "relays_presence",
    read(payload, tally) {
      const wire = readAs(wirePresence, payload);
      if (wire === undefined) return undefined;
      return {
        kind: "relays-presence",
        disconnectedIds: parseList(wire.disconnected_ids, (item) => readAs(uuid, item), tally),
        connected: parseRelays(wire.connected, tally),
      };
    },
    write: (message) => ({
      disconnected_ids: message.disconnectedIds,
      connected: message.connected.map(toWireRelay),
    }),
  },
};

const REQUESTS: MessageCodecs<GatewayRequest> = {
  "flow-authorized": answerCodec("flow-authorized", "flow_authorized"),
  "flow-waiting": answerCodec("flow-waiting", "flow_waiting"),
  "broadcast-ice-candidates": broadcastCodec("broadcast-ice-candidates", "broadcast_ice_candidates"),
  "broadcast-invalidated-ice-candidates": broadcastCodec(
    "broadcast-invalidated-ice-candidates",
    "broadcast_invalidated_ice_candidates",
  ),
};

function answerCodec<K extends "flow-authorized" | "flow-waiting">(
  kind: K,
  event: string,
): MessageCodec<{ readonly kind: K; readonly ref: string }> {
  return {
    event,
    read(payload) {
      const wire = readAs(wireAnswer, payload);
      return wire === undefined ? undefined : { kind, ref: wire.ref };
    },
    write: ({ ref }) => ({ ref }),
  };
}

function candidateCodec<K extends "ice-candidates" | "invalidate-ice-candidates">(
  kind: K,
  event: string,
): MessageCodec<{ readonly kind: K; readonly cid: string; readonly candidates: readonly string[] }> {
  return {
    event,
    read(payload, tally) {
      const wire = readAs(wireClientCandidates, payload);
      if (wire === undefined) return undefined;
      return { kind, cid: wire.client_id, candidates: parseCandidates(wire.candidates, tally) };
    },
    write: ({ cid, candidates }) => ({ client_id: cid, candidates }),
  };
}

function broadcastCodec<K extends "broadcast-ice-candidates" | "broadcast-invalidated-ice-candidates">(
  kind: K,
  event: string,
): MessageCodec<{
  readonly kind: K;
  readonly cids: readonly string[];
  readonly candidates: readonly string[];
}> {
  return {
    event,
    read(payload, tally) {
      const wire = readAs(wireBroadcast, payload);
      if (wire === undefined) return undefined;
      return {
        kind,
        cids: parseList(wire.client_ids, (item) => readAs(uuid, item), tally),
        candidates: parseCandidates(wire.candidates, tally),
      };
    },
    write: ({ cids, candidates }) => ({
      client_ids: cids,
      candidates: candidates.slice(0, MAX_CANDIDATES_SENT),
    }),
  };
}

function parseAuthorization(item: unknown): Authorization | undefined {
  const wire = readAs(wireAuthorization, item);
  if (wire === undefined) return undefined;
  return { cid: wire.client_id, rid: wire.resource_id, expiresAt: wire.expires_at };
}

function toWireAuthorization({ cid, rid, expiresAt }: Authorization): object {
  return { client_id: cid, resource_id: rid, expires_at: toWireTime(expiresAt) };
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

function presentTexts(
  members: Readonly<Record<string, string | null | undefined>>,
): Readonly<Record<string, string>> {
  const present: Record<string, string> = {};
  for (const [name, value] of Object.entries(members)) if (value != null) present[name] = value;
  return present;
}

function toWireAddresses({ ipv4, ipv6 }: TunnelAddresses): object {
  return { ipv4: toWireIp(ipv4), ipv6: toWireIp(ipv6) };
}

const MESSAGES_BY_EVENT = byEvent<GatewayMessage>(Object.values(MESSAGES));
const REQUESTS_BY_EVENT = byEvent<GatewayRequest>(Object.values(REQUESTS));

export const gatewayChannel: Channel<GatewayMessage, GatewayRequest> = {
  topic: "gateway",
  parseMessage: (event, payload) => parseEvent(MESSAGES_BY_EVENT, event, payload),
  toMessageEvent: (message) => toEvent(MESSAGES, message),
  parseRequest: (event, payload) => parseEvent(REQUESTS_BY_EVENT, event, payload),
  toRequestEvent: (request) => toEvent(REQUESTS, request),
};
