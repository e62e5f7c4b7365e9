/**
 * The channel `client` (PT §4.1).
 */
import * as v from "valibot";
import { type IpAddress, unreachable } from "../../base/index.ts";
import { MAX_CANDIDATES_SENT, parseCandidates } from "./candidate-list.ts";
import { type Channel, type ChannelEvent, type PayloadReader, parseEvent } from "./channel.ts";
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

export const clientChannel: Channel<ClientMessage, ClientRequest> = {
  topic: "client",
  parseMessage: (event, payload) => parseEvent(MESSAGES, event, payload),
  toMessageEvent,
  parseRequest: (event, payload) => parseEvent(REQUESTS, event, payload),
  toRequestEvent,
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

const MESSAGES = new Map<string, PayloadReader<ClientMessage>>([
  [
    "init",
    (payload, tally) => {
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
  ],
  [
    "config_changed",
    (payload, tally) => {
      const tunnel = parseClientInterface(readAs(wireConfig, payload)?.interface, tally);
      return tunnel === undefined ? undefined : { kind: "config-changed", interface: tunnel };
    },
  ],
  [
    "resource_created_or_updated",
    (payload, tally) => {
      const resource = parseClientResource(payload, tally);
      if (resource === undefined || resource === "ignored") return resource;
      return { kind: "resource-created-or-updated", resource };
    },
  ],
  [
    "resource_deleted",
    (payload) => {
      const rid = readAs(uuid, payload);
      return rid === undefined ? undefined : { kind: "resource-deleted", rid };
    },
  ],
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
  ["ice_candidates", readCandidates("ice-candidates")],
  ["invalidate_ice_candidates", readCandidates("invalidate-ice-candidates")],
  ["flow_created", readFlowCreated],
  [
    "gateway_left",
    (payload) => {
      const wire = readAs(wireGateway, payload);
      return wire === undefined ? undefined : { kind: "gateway-left", gid: wire.gateway_id };
    },
  ],
  [
    "flow_creation_failed",
    (payload, tally) => {
      const wire = readAs(wireFailed, payload);
      if (wire === undefined) return undefined;
      return {
        kind: "flow-creation-failed",
        rid: wire.resource_id,
        reason: FAILURE_REASONS.find((reason) => reason === wire.reason) ?? "unknown",
        violatedProperties: parseList(
          wire.violated_properties ?? [],
          (item) => readAs(v.string(), item),
          tally,
        ),
      };
    },
  ],
]);

const REQUESTS = new Map<string, PayloadReader<ClientRequest>>([
  [
    "create_flow",
    (payload, tally) => {
      const wire = readAs(wireCreateFlow, payload);
      if (wire === undefined) return undefined;
      return {
        kind: "create-flow",
        rid: wire.resource_id,
        connectedGatewayIds: parseList(wire.connected_gateway_ids ?? [], (item) => readAs(uuid, item), tally),
      };
    },
  ],
  ["broadcast_ice_candidates", readBroadcast("broadcast-ice-candidates")],
  ["broadcast_invalidated_ice_candidates", readBroadcast("broadcast-invalidated-ice-candidates")],
]);

function readCandidates(kind: "ice-candidates" | "invalidate-ice-candidates"): PayloadReader<ClientMessage> {
  return (payload, tally) => {
    const wire = readAs(wireGatewayCandidates, payload);
    if (wire === undefined) return undefined;
    return { kind, gid: wire.gateway_id, candidates: parseCandidates(wire.candidates, tally) };
  };
}

function readBroadcast(
  kind: "broadcast-ice-candidates" | "broadcast-invalidated-ice-candidates",
): PayloadReader<ClientRequest> {
  return (payload, tally) => {
    const wire = readAs(wireBroadcast, payload);
    if (wire === undefined) return undefined;
    return {
      kind,
      gids: parseList(wire.gateway_ids, (item) => readAs(uuid, item), tally),
      candidates: parseCandidates(wire.candidates, tally),
    };
  };
}

function readFlowCreated(payload: unknown): FlowCreated | undefined {
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
}

function toMessageEvent(message: ClientMessage): ChannelEvent {
  switch (message.kind) {
    case "init":
      return {
        event: "init",
        payload: {
          interface: toWireClientInterface(message.interface),
          resources: message.resources.map(toWireClientResource),
          relays: message.relays.map(toWireRelay),
        },
      };
    case "config-changed":
      return {
        event: "config_changed",
        payload: { interface: toWireClientInterface(message.interface) },
      };
    case "resource-created-or-updated":
      return { event: "resource_created_or_updated", payload: toWireClientResource(message.resource) };
    case "resource-deleted":
      return { event: "resource_deleted", payload: message.rid };
    case "relays-presence":
      return {
        event: "relays_presence",
        payload: {
          disconnected_ids: message.disconnectedIds,
          connected: message.connected.map(toWireRelay),
        },
      };
    case "ice-candidates":
      return {
        event: "ice_candidates",
        payload: { gateway_id: message.gid, candidates: message.candidates },
      };
    case "invalidate-ice-candidates":
      return {
        event: "invalidate_ice_candidates",
        payload: { gateway_id: message.gid, candidates: message.candidates },
      };
    case "gateway-left":
      return { event: "gateway_left", payload: { gateway_id: message.gid } };
    case "flow-created":
      return { event: "flow_created", payload: toWireFlowCreated(message) };
    case "flow-creation-failed":
      return {
        event: "flow_creation_failed",
        payload: {
          resource_id: message.rid,
          reason: message.reason,
          ...(message.violatedProperties.length > 0
            ? { violated_properties: message.violatedProperties }
            : {}),
        },
      };
    default:
      return unreachable(message);
  }
}

function toWireFlowCreated(flow: FlowCreated): object {
  return {
    resource_id: flow.rid,
    gateway_id: flow.gid,
    gateway_group_id: flow.siteId,
    gateway_public_key: toWireKey(flow.gatewayKey),
    gateway_ipv4: toWireIp(flow.gatewayIpv4),
    gateway_ipv6: toWireIp(flow.gatewayIpv6),
    preshared_key: toWireKey(flow.presharedKey),
    client_ice_credentials: flow.clientCredentials,
    gateway_ice_credentials: flow.gatewayCredentials,
  };
}

function toRequestEvent(request: ClientRequest): ChannelEvent {
  switch (request.kind) {
    case "create-flow":
      return {
        event: "create_flow",
        payload: { resource_id: request.rid, connected_gateway_ids: request.connectedGatewayIds },
      };
    case "broadcast-ice-candidates":
      return { event: "broadcast_ice_candidates", payload: toWireBroadcast(request) };
    case "broadcast-invalidated-ice-candidates":
      return { event: "broadcast_invalidated_ice_candidates", payload: toWireBroadcast(request) };
    default:
      return unreachable(request);
  }
}

function toWireBroadcast(request: {
  readonly gids: readonly string[];
  readonly candidates: readonly string[];
}): object {
  return {
    gateway_ids: request.gids,
    candidates: request.candidates.slice(0, MAX_CANDIDATES_SENT),
  };
}
