/**
 * The channel `client` (PT §4.1).
 */
import * as v from "valibot";
import type { IpAddress } from "../../base/index.ts";
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
  type ClientInterface,
  parseClientInterface,
  parseRelays,
  type RelayEntry,
  toWireClientInterface,
  toWireRelay,
} from "./interface.ts";
import { type ClientResource, parseClientResource, toWireClientResource } from "./resource.ts";
import {
  type IceCredentials,
  iceCredentials,
  ipv4Address,
  ipv6Address,
  key,
  parseList,
  readAs,
  toWireIp,
  toWireKey,
  uuid,
} from "./scalar.ts";

/** Why the portal grants no flow (PT-56); what it says beyond these is `unknown`. */
export type FlowFailureReason = "not_found" | "offline" | "forbidden" | "version_mismatch" | "unknown";

/** The answer to a request for access: everything needed to reach the gateway (PT-57). */
export interface FlowCreated {
  readonly kind: "flow-created";
  readonly rid: string;
  readonly gid: string;
  readonly siteId: string;
  readonly gatewayKey: Uint8Array;
  readonly gatewayIpv4: IpAddress;
  readonly gatewayIpv6: IpAddress;
  readonly presharedKey: Uint8Array;
  readonly clientCredentials: IceCredentials;
  readonly gatewayCredentials: IceCredentials;
}

/** What the portal tells a client. */
export type ClientMessage =
  | {
      readonly kind: "init";
      readonly interface: ClientInterface;
      readonly resources: readonly ClientResource[];
      readonly relays: readonly RelayEntry[];
    }
  | { readonly kind: "config-changed"; readonly interface: ClientInterface }
  | { readonly kind: "resource-created-or-updated"; readonly resource: ClientResource }
  | { readonly kind: "resource-deleted"; readonly rid: string }
  | {
      readonly kind: "relays-presence";
      readonly disconnectedIds: readonly string[];
      readonly connected: readonly RelayEntry[];
    }
  | {
      readonly kind: "ice-candidates" | "invalidate-ice-candidates";
      readonly gid: string;
      readonly candidates: readonly string[];
    }
  | FlowCreated
  /** The portal has lost the gateway, which may still be alive: look at the path at once (PT-94). */
  | { readonly kind: "gateway-left"; readonly gid: string }
  | {
      readonly kind: "flow-creation-failed";
      readonly rid: string;
      readonly reason: FlowFailureReason;
      readonly violatedProperties: readonly string[];
    };

/** What a client asks of the portal. */
export type ClientRequest =
  | {
      readonly kind: "create-flow";
      readonly rid: string;
      /** Gateways the client knows, best first (TN-29). */
      readonly connectedGatewayIds: readonly string[];
    }
  | {
      readonly kind: "broadcast-ice-candidates" | "broadcast-invalidated-ice-candidates";
      readonly gids: readonly string[];
      readonly candidates: readonly string[];
    };

const list = v.array(v.unknown());

const wireInit = v.object({
  interface: v.unknown(),
  resources: v.nullish(list),
  relays: v.nullish(list),
});
const wireConfig = v.object({ interface: v.unknown() });
const wirePresence = v.object({ disconnected_ids: list, connected: list });
const wireGatewayCandidates = v.object({ gateway_id: uuid, candidates: list });
const wireGateway = v.object({ gateway_id: uuid });
const wireFlowCreated = v.pipe(
  v.object({
    resource_id: uuid,
    gateway_id: uuid,
    gateway_group_id: v.nullish(uuid),
    site_id: v.nullish(uuid),
    gateway_public_key: key,
    gateway_ipv4: ipv4Address,
    gateway_ipv6: ipv6Address,
    preshared_key: key,
    client_ice_credentials: iceCredentials,
    gateway_ice_credentials: iceCredentials,
  }),
  v.check((wire) => (wire.gateway_group_id ?? wire.site_id) != null, "no site"),
);
const wireFailed = v.object({
  resource_id: uuid,
  reason: v.string(),
  violated_properties: v.nullish(list),
});
const wireCreateFlow = v.object({ resource_id: uuid, connected_gateway_ids: v.nullish(list) });
const wireBroadcast = v.object({ gateway_ids: list, candidates: list });

const FAILURE_REASONS: readonly FlowFailureReason[] = [
  "not_found",
  "offline",
  "forbidden",
  "version_mismatch",
];

const MESSAGES: MessageCodecs<ClientMessage> = {
  init: {
    event: "init",
    read(payload, tally) {
      const wire = readAs(wireInit, payload);
      const tunnel = parseClientInterface(wire?.interface, tally);
      if (wire === undefined || tunnel === undefined) return undefined;
      return {
        kind: "init",
        interface: tunnel,
        resources: parseList(wire.resources ?? [], (item) => parseClientResource(item, tally), tally),
        relays: parseRelays(wire.relays ?? [], tally),
      };
    },
    write: (message) => ({
      interface: toWireClientInterface(message.interface),
      resources: message.resources.map(toWireClientResource),
      relays: message.relays.map(toWireRelay),
    }),
  },
  "config-changed": {
    event: "config_changed",
    read(payload, tally) {
      const tunnel = parseClientInterface(readAs(wireConfig, payload)?.interface, tally);
      return tunnel === undefined ? undefined : { kind: "config-changed", interface: tunnel };
    },
    write: (message) => ({ interface: toWireClientInterface(message.interface) }),
  },
  "resource-created-or-updated": {
    event: "resource_created_or_updated",
    read(payload, tally) {
      const resource = parseClientResource(payload, tally);
      if (resource === undefined || resource === "ignored") return resource;
      return { kind: "resource-created-or-updated", resource };
    },
    write: (message) => toWireClientResource(message.resource),
  },
  "resource-deleted": {
    event: "resource_deleted",
    read(payload) {
      const rid = readAs(uuid, payload);
      return rid === undefined ? undefined : { kind: "resource-deleted", rid };
    },
    write: (message) => message.rid,
  },
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
  "ice-candidates": candidateCodec("ice-candidates", "ice_candidates"),
  "invalidate-ice-candidates": candidateCodec("invalidate-ice-candidates", "invalidate_ice_candidates"),
  "flow-created": {
    event: "flow_created",
    read(payload) {
      const wire = readAs(wireFlowCreated, payload);
      const siteId = wire?.gateway_group_id ?? wire?.site_id;
      if (wire === undefined || siteId == null) return undefined;
      return {
        kind: "flow-created",
        rid: wire.resource_id,
        gid: wire.gateway_id,
        siteId,
        gatewayKey: wire.gateway_public_key,
        gatewayIpv4: wire.gateway_ipv4,
        gatewayIpv6: wire.gateway_ipv6,
        presharedKey: wire.preshared_key,
        clientCredentials: wire.client_ice_credentials,
        gatewayCredentials: wire.gateway_ice_credentials,
      };
    },
    write: (flow) => ({
      resource_id: flow.rid,
      gateway_id: flow.gid,
      gateway_group_id: flow.siteId,
      gateway_public_key: toWireKey(flow.gatewayKey),
      gateway_ipv4: toWireIp(flow.gatewayIpv4),
      gateway_ipv6: toWireIp(flow.gatewayIpv6),
      preshared_key: toWireKey(flow.presharedKey),
      client_ice_credentials: flow.clientCredentials,
      gateway_ice_credentials: flow.gatewayCredentials,
    }),
  },
  "gateway-left": {
    event: "gateway_left",
    read(payload) {
      const wire = readAs(wireGateway, payload);
      return wire === undefined ? undefined : { kind: "gateway-left", gid: wire.gateway_id };
    },
    write: (message) => ({ gateway_id: message.gid }),
  },
  "flow-creation-failed": {
    event: "flow_creation_failed",
    read(payload, tally) {
      const wire = readAs(wireFailed, payload);
      if (wire === undefined) return undefined;
      const violated = wire.violated_properties ?? [];
      return {
        kind: "flow-creation-failed",
        rid: wire.resource_id,
        reason: FAILURE_REASONS.find((reason) => reason === wire.reason) ?? "unknown",
        violatedProperties: parseList(violated, (item) => readAs(v.string(), item), tally),
      };
    },
    write: ({ rid, reason, violatedProperties }) => ({
      resource_id: rid,
      reason,
      ...(violatedProperties.length > 0 ? { violated_properties: violatedProperties } : {}),
    }),
  },
};

const REQUESTS: MessageCodecs<ClientRequest> = {
  "create-flow": {
    event: "create_flow",
    read(payload, tally) {
      const wire = readAs(wireCreateFlow, payload);
      if (wire === undefined) return undefined;
      const gids = wire.connected_gateway_ids ?? [];
      return {
        kind: "create-flow",
        rid: wire.resource_id,
        connectedGatewayIds: parseList(gids, (item) => readAs(uuid, item), tally),
      };
    },
    write: (request) => ({
      resource_id: request.rid,
      connected_gateway_ids: request.connectedGatewayIds,
    }),
  },
  "broadcast-ice-candidates": broadcastCodec("broadcast-ice-candidates", "broadcast_ice_candidates"),
  "broadcast-invalidated-ice-candidates": broadcastCodec(
    "broadcast-invalidated-ice-candidates",
    "broadcast_invalidated_ice_candidates",
  ),
};

function candidateCodec<K extends "ice-candidates" | "invalidate-ice-candidates">(
  kind: K,
  event: string,
): MessageCodec<{ readonly kind: K; readonly gid: string; readonly candidates: readonly string[] }> {
  return {
    event,
    read(payload, tally) {
      const wire = readAs(wireGatewayCandidates, payload);
      if (wire === undefined) return undefined;
      return { kind, gid: wire.gateway_id, candidates: parseCandidates(wire.candidates, tally) };
    },
    write: ({ gid, candidates }) => ({ gateway_id: gid, candidates }),
  };
}

function broadcastCodec<K extends "broadcast-ice-candidates" | "broadcast-invalidated-ice-candidates">(
  kind: K,
  event: string,
): MessageCodec<{
  readonly kind: K;
  readonly gids: readonly string[];
  readonly candidates: readonly string[];
}> {
  return {
    event,
    read(payload, tally) {
      const wire = readAs(wireBroadcast, payload);
      if (wire === undefined) return undefined;
      return {
        kind,
        gids: parseList(wire.gateway_ids, (item) => readAs(uuid, item), tally),
        candidates: parseCandidates(wire.candidates, tally),
      };
    },
    write: ({ gids, candidates }) => ({
      gateway_ids: gids,
      candidates: candidates.slice(0, MAX_CANDIDATES_SENT),
    }),
  };
}

const MESSAGES_BY_EVENT = byEvent<ClientMessage>(Object.values(MESSAGES));
const REQUESTS_BY_EVENT = byEvent<ClientRequest>(Object.values(REQUESTS));

export const clientChannel: Channel<ClientMessage, ClientRequest> = {
  topic: "client",
  parseMessage: (event, payload) => parseEvent(MESSAGES_BY_EVENT, event, payload),
  toMessageEvent: (message) => toEvent(MESSAGES, message),
  parseRequest: (event, payload) => parseEvent(REQUESTS_BY_EVENT, event, payload),
  toRequestEvent: (request) => toEvent(REQUESTS, request),
};
