/**
 * The client: which gateway a packet goes to, and how access to it is asked for (tunnel.md §4).
 *
 * A pure machine around the machine of connections. After every input the caller drains `pollCommand`,
 * `pollTransmit` and `pollEvent`, in this order (SN-124); it carries out each command before it asks for
 * the next, and says so by `handleCarriedOut`.
 */
import {
  earliest,
  type Instant,
  type IpAddress,
  type Log,
  type Prefix,
  SILENT,
  type SocketAddress,
  unreachable,
} from "../base/index.ts";
import type {
  ConnectionCommand,
  ConnectionEvent,
  Connections,
  ConnectionTransmit,
  Datagram,
  DatagramOutcome,
} from "../connections/index.ts";
import {
  encodeGoodbye,
  encodeRefusal,
  isControlEvent,
  parseControlEvent,
  type Refusal,
} from "../packet/index.ts";
import type { DataPunt, PlaneEvent, PolicyTables } from "../plane/index.ts";
import type {
  ClientMessage,
  ClientRequest,
  ClientResource,
  FlowCreated,
  TunnelAddresses,
} from "../portal/protocol/index.ts";
import { createCandidateBatches } from "./candidate-batches.ts";
import { RESERVED_RANGES, TUNNEL_RANGES } from "./constants.ts";
import { destinationOf } from "./destination.ts";
import { createGateways } from "./gateways.ts";
import { createPendingFlows } from "./pending-flows.ts";
import { clientPolicy } from "./policy.ts";
import { createResourceTable, type ResourceChange } from "./resources.ts";

/** What the shell carries out, in order. */
export type TunnelCommand = ConnectionCommand | WriteTun;

/** A packet for the host itself, such as a local refusal (TN-89). */
export interface WriteTun {
  readonly kind: "write-tun";
  readonly packet: Uint8Array;
}

/** What the TUN device shall look like (TN-16, TN-19). */
export interface TunnelInterface {
  readonly addresses: readonly IpAddress[];
  readonly routes: readonly Prefix[];
}

export interface ResourceStatus {
  readonly resource: ClientResource;
  readonly status: "unknown" | "online" | "offline";
}

export type TunnelClientEvent =
  | { readonly kind: "request"; readonly request: ClientRequest }
  | { readonly kind: "interface"; readonly interface: TunnelInterface }
  | { readonly kind: "resources"; readonly resources: readonly ResourceStatus[] }
  | { readonly kind: "connected" | "disconnected"; readonly gid: string };

/** Drops that the tunnel itself decides, by the reasons of tunnel.md. */
export type TunnelClientCounter = "pending-full" | "pending-idle" | "unknown-resource" | "p2p-bad";

export interface TunnelClient {
  handlePortalMessage(now: Instant, message: ClientMessage): void;
  handlePunt(now: Instant, punt: DataPunt): void;
  handlePlaneEvent(now: Instant, event: PlaneEvent): void;
  handleDatagram(now: Instant, datagram: Datagram): DatagramOutcome;
  /** The whole list of own addresses (SN-137). */
  handleOwnAddresses(now: Instant, addresses: readonly SocketAddress[]): void;
  /** The network changed: all connections go without goodbye, packets and resources stay (TN-35). */
  reset(now: Instant): void;
  /** Says goodbye on every connection (TN-37). */
  shutdown(now: Instant): void;
  handleTimeout(now: Instant): void;
  pollTimeout(): Instant | undefined;
  pollCommand(): TunnelCommand | undefined;
  handleCarriedOut(now: Instant, command: ConnectionCommand): void;
  pollTransmit(): ConnectionTransmit | undefined;
  pollEvent(): TunnelClientEvent | undefined;
  resources(): readonly ResourceStatus[];
  counters(): Readonly<Record<TunnelClientCounter, number>>;
}

export interface TunnelClientOptions {
  readonly connections: Connections;
  readonly log?: Log;
}

export function createTunnelClient({ connections, log = SILENT }: TunnelClientOptions): TunnelClient {
  const resources = createResourceTable(log);
  const gateways = createGateways();
  const pending = createPendingFlows();
  const candidates = createCandidateBatches();
  const commands: WriteTun[] = [];
  const events: TunnelClientEvent[] = [];
  const counters: Record<TunnelClientCounter, number> = {
    "pending-full": 0,
    "pending-idle": 0,
    "unknown-resource": 0,
    "p2p-bad": 0,
  };
  let own: TunnelAddresses | undefined;
  let lastInterface = "";
  let lastResources = "";

  const ownAddresses = (): IpAddress[] => (own === undefined ? [] : [own.ipv4, own.ipv6]);
  const isAuthorised = (rid: string): boolean => gateways.authorisedOn(rid) !== undefined;

  function slotFor(rid: string): number | undefined {
    const gid = gateways.authorisedOn(rid);
    return gid === undefined ? undefined : connections.slotOf(gid);
  }

  /** Derives the tables from the present state. */
  function tables(): PolicyTables {
    const peers = gateways.all().flatMap((gateway) => {
      const slot = connections.slotOf(gateway.gid);
      if (slot === undefined) return [];
      const networks = gateway.rids.flatMap((rid) => networkOf(resources.get(rid)));
      return [{ slot, addresses: gateway.addresses, networks }];
    });
    const networks = resources
      .networks(isAuthorised)
      .map((resource) => ({ network: resource.address, slot: slotFor(resource.rid) }));
    return clientPolicy({ ownAddresses: ownAddresses(), gateways: peers, networks });
  }

  function publish(now: Instant): void {
    connections.publish(now, tables());
  }

  function afterConnections(now: Instant): void {
    for (let event = connections.pollEvent(); event !== undefined; event = connections.pollEvent())
      handleConnectionEvent(now, event);
    for (const { kind, id, texts } of candidates.take()) {
      log.info?.(kind === "added" ? "candidates signalled" : "candidates withdrawn", {
        gid: id,
        candidates: texts,
      });
      const request = kind === "added" ? "broadcast-ice-candidates" : "broadcast-invalidated-ice-candidates";
      events.push({ kind: "request", request: { kind: request, gids: [id], candidates: texts } });
    }
  }

  function handleConnectionEvent(now: Instant, event: ConnectionEvent): void {
    switch (event.kind) {
      case "candidate-added":
      case "candidate-removed":
        return candidates.add(event);
      case "connection-established":
        gateways.setOnline(event.id);
        events.push({ kind: "connected", gid: event.id });
        return announceResources();
      case "connection-failed":
      case "connection-closed":
        return forgetGateway(now, event.id);
      case "relays-exhausted":
        // Relays are not served yet; the next init, or a change of own addresses, mends it (TN-104).
        return;
      default:
        return unreachable(event);
    }
  }

  /** Access through this gateway ended: the next packet asks again (TN-34). */
  function forgetGateway(now: Instant, gid: string): void {
    if (!gateways.remove(gid)) return;
    events.push({ kind: "disconnected", gid });
    announceResources();
    publish(now);
  }

  function announceInterface(): void {
    if (own === undefined) return;
    const networks = resources.all().flatMap(networkOf);
    const next = { addresses: ownAddresses(), routes: [...TUNNEL_RANGES, ...RESERVED_RANGES, ...networks] };
    const text = JSON.stringify(next);
    if (text === lastInterface) return;
    lastInterface = text;
    events.push({ kind: "interface", interface: next });
  }

  function announceResources(): void {
    const next = listResources();
    const text = JSON.stringify(next);
    if (text === lastResources) return;
    lastResources = text;
    events.push({ kind: "resources", resources: next });
  }

  function listResources(): ResourceStatus[] {
    return resources.all().map((resource) => ({
      resource,
      status: gateways.statusOf(resource.sites.map(({ id }) => id)),
    }));
  }

  function applyResources(now: Instant, change: ResourceChange): void {
    for (const rid of change.removed) {
      pending.take(rid);
      const unused = gateways.unauthorise(rid);
      if (unused !== undefined) closeGateway(now, unused);
    }
    if (!change.isChanged) return;
    announceInterface();
    announceResources();
    publish(now);
  }

  /** The gateway serves no resource of ours any more (TN-26). */
  function closeGateway(now: Instant, gid: string): void {
    gateways.remove(gid);
    connections.closeConnection(now, { id: gid, goodbye: encodeGoodbye() });
    events.push({ kind: "disconnected", gid });
  }

  function ask(rid: string): void {
    log.debug?.("asking for access", { rid });
    const request: ClientRequest = {
      kind: "create-flow",
      rid,
      connectedGatewayIds: gateways.preferredFor(rid),
    };
    events.push({ kind: "request", request });
  }

  /** TN-20 from step 8 on, for a packet that the plane had no peer for. */
  function routeFirst(now: Instant, packet: Uint8Array): void {
    const resource = resources.find(destinationOf(packet), isAuthorised);
    if (resource === undefined) {
      counters["unknown-resource"]++;
      return;
    }
    const gid = gateways.authorisedOn(resource.rid);
    if (gid !== undefined && connections.slotOf(gid) !== undefined) {
      connections.sendPacket(now, gid, packet);
      return;
    }
    const { isIntentDue, dropped } = pending.add(now, resource.rid, packet);
    counters["pending-full"] += dropped;
    if (isIntentDue) ask(resource.rid);
  }

  function handleFlowCreated(now: Instant, flow: FlowCreated): void {
    const resource = resources.get(flow.rid);
    if (resource === undefined) {
      log.warn?.("access granted to a resource that is not ours", { rid: flow.rid, gid: flow.gid });
      return;
    }
    // Several triggers for one gateway may have been under way (TN-31 no. 1).
    if (!pending.has(flow.rid)) return log.debug?.("access granted twice", { rid: flow.rid, gid: flow.gid });
    const outcome = connections.upsertConnection(now, {
      id: flow.gid,
      remoteKey: flow.gatewayKey,
      presharedKey: flow.presharedKey,
      localCredentials: flow.clientCredentials,
      remoteCredentials: flow.gatewayCredentials,
    });
    if (outcome.kind === "no-relays") {
      return log.info?.("no address of our own yet: access waits for one", { rid: flow.rid, gid: flow.gid });
    }
    if (outcome.kind === "bad-credentials") {
      return log.warn?.("access ignored: keys or ICE credentials are unusable", {
        rid: flow.rid,
        gid: flow.gid,
      });
    }
    const moved = gateways.authorise(flow.rid, {
      gid: flow.gid,
      siteId: flow.siteId,
      addresses: [flow.gatewayIpv4, flow.gatewayIpv6],
    });
    if (moved !== undefined) closeGateway(now, moved);
    // Behind the new tables, in their order (TN-31 no. 6).
    connections.openRoute(now, flow.gid, { tables: tables(), packets: pending.take(flow.rid) });
  }

  function refuseAll(packets: readonly Uint8Array[], refusal: Refusal): void {
    for (const packet of packets) {
      const error = encodeRefusal(packet, refusal);
      if (error !== undefined) commands.push({ kind: "write-tun", packet: error });
    }
  }

  function handleControlEvent(now: Instant, slot: number, packet: Uint8Array): void {
    const gid = connections.connectionOf(slot);
    const event = isControlEvent(packet) ? parseControlEvent(packet) : undefined;
    if (gid === undefined || event === undefined || !event.ok) {
      counters["p2p-bad"]++;
      return;
    }
    if (event.value.kind !== "goodbye") return;
    log.info?.("gateway said goodbye", { gid });
    connections.removeConnection(now, { id: gid, reason: "goodbye" });
    forgetGateway(now, gid);
  }

  function handlePortalMessage(now: Instant, message: ClientMessage): void {
    switch (message.kind) {
      case "init":
        own = message.interface;
        applyResources(now, { ...resources.replaceAll(message.resources), isChanged: true });
        for (const rid of pending.restart(now)) ask(rid);
        for (const { gid } of gateways.all()) {
          const texts = connections.localCandidates(gid);
          for (const candidate of texts) candidates.add({ kind: "candidate-added", id: gid, candidate });
        }
        return;
      case "config-changed":
        own = message.interface;
        announceInterface();
        return publish(now);
      case "resource-created-or-updated":
        return applyResources(now, resources.upsert(message.resource));
      case "resource-deleted":
        return applyResources(now, resources.remove(message.rid));
      case "flow-created":
        return handleFlowCreated(now, message);
      case "flow-creation-failed": {
        log.debug?.("access refused", {
          rid: message.rid,
          reason: message.reason,
          violated: message.violatedProperties,
        });
        const isOffline = message.reason === "offline";
        refuseAll(pending.take(message.rid), isOffline ? "unreachable" : "prohibited");
        if (!isOffline) return;
        gateways.setOffline(now, resources.get(message.rid)?.sites.map(({ id }) => id) ?? []);
        const unused = gateways.unauthorise(message.rid);
        if (unused !== undefined) closeGateway(now, unused);
        announceResources();
        return publish(now);
      }
      case "ice-candidates":
        return connections.addRemoteCandidates(now, message.gid, message.candidates);
      case "invalidate-ice-candidates":
        return connections.removeRemoteCandidates(now, message.gid, message.candidates);
      case "gateway-left":
        // A hint only: what ICE notices by itself still holds (PT-94).
        log.debug?.("the portal has lost a gateway", { gid: message.gid });
        return;
      case "relays-presence":
        return;
      default:
        return unreachable(message);
    }
  }

  function handlePunt(now: Instant, punt: DataPunt): void {
    switch (punt.reason) {
      case "first":
        return routeFirst(now, punt.packet);
      case "no-session":
        connections.handlePunt(now, punt.slot, punt.packet);
        return;
      case "refused":
        return refuseAll([punt.packet], "unreachable");
      case "control-event":
        return handleControlEvent(now, punt.slot, punt.packet);
      default:
        return unreachable(punt);
    }
  }

  return {
    handlePortalMessage(now, message) {
      handlePortalMessage(now, message);
      afterConnections(now);
    },
    handlePunt(now, punt) {
      handlePunt(now, punt);
      afterConnections(now);
    },
    handlePlaneEvent(now, event) {
      connections.handlePlaneEvent(now, event);
      afterConnections(now);
    },
    handleDatagram(now, datagram) {
      const outcome = connections.handleDatagram(now, datagram);
      afterConnections(now);
      return outcome;
    },
    handleOwnAddresses(now, addresses) {
      connections.updateHostAddresses(now, addresses);
      afterConnections(now);
    },
    reset(now) {
      connections.reset(now);
      pending.clearStamps();
      gateways.clear();
      afterConnections(now);
      publish(now);
    },
    shutdown(now) {
      connections.closeAll(now, encodeGoodbye());
      afterConnections(now);
    },
    handleTimeout(now) {
      connections.handleTimeout(now);
      counters["pending-idle"] += pending.handleTimeout(now);
      if (gateways.handleTimeout(now)) announceResources();
      afterConnections(now);
    },
    pollTimeout: () => earliest(connections.pollTimeout(), pending.pollTimeout(), gateways.pollTimeout()),
    pollCommand: () => connections.pollCommand() ?? commands.shift(),
    handleCarriedOut(now, command) {
      connections.handleCarriedOut(now, command);
      afterConnections(now);
    },
    pollTransmit: () => connections.pollTransmit(),
    pollEvent: () => events.shift(),
    resources: listResources,
    counters: () => counters,
  };
}

function networkOf(resource: ClientResource | undefined): Prefix[] {
  return resource?.kind === "cidr" ? [resource.address] : [];
}
