/**
 * The gateway: what it opens for whom, as the portal says, and until when (tunnel.md §7).
 *
 * A pure machine around the machine of connections, driven like the client's. The plane enforces: every change of a grant
 * is a new set of tables.
 */
import {
  earliest,
  equalIp,
  type Instant,
  type IpAddress,
  instant,
  type Log,
  SILENT,
  type SocketAddress,
  type UnixMs,
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
  createTokenBucket,
  encodeGoodbye,
  encodeRefusal,
  isControlEvent,
  parseControlEvent,
  type TokenBucket,
} from "../packet/index.ts";
import type { DataPunt, PlaneEvent } from "../plane/index.ts";
import type {
  AuthorizeFlow,
  GatewayMessage,
  GatewayRequest,
  TunnelAddresses,
} from "../portal/protocol/index.ts";
import { createCandidateBatches } from "./candidate-batches.ts";
import type { TunnelCommand, TunnelInterface, WriteTun } from "./client.ts";
import { TUNNEL_RANGES } from "./constants.ts";
import { destinationOf } from "./destination.ts";
import { createGrants, type Grant, type Revocation } from "./grants.ts";
import { isHostService } from "./host-service.ts";
import { gatewayPolicy } from "./policy.ts";

/** Refusals made for one client (tunnel.md §1, `ICMP_MAKE_RATE`). */
const REFUSAL_LIMIT = { ratePerSecond: 100, burst: 50 };

export type TunnelGatewayEvent =
  | { readonly kind: "request"; readonly request: GatewayRequest }
  | { readonly kind: "interface"; readonly interface: TunnelInterface }
  | { readonly kind: "connected" | "disconnected"; readonly cid: string };

/** Drops that the gateway's control decides, by the reasons of tunnel.md. */
export type TunnelGatewayCounter = "refused" | "icmp-rate" | "p2p-bad" | "no-peer-state";

export interface TunnelGateway {
  /** `unixNow` turns expiry dates into leases, once, on receipt (TN-53). */
  handlePortalMessage(now: Instant, message: GatewayMessage, unixNow: UnixMs): void;
  handlePunt(now: Instant, punt: DataPunt): void;
  handlePlaneEvent(now: Instant, event: PlaneEvent): void;
  handleDatagram(now: Instant, datagram: Datagram): DatagramOutcome;
  /** The whole list of own addresses (SN-137). */
  handleOwnAddresses(now: Instant, addresses: readonly SocketAddress[]): void;
  /** The network changed: connections go, grants stay (TN-50). */
  reset(now: Instant): void;
  shutdown(now: Instant): void;
  handleTimeout(now: Instant): void;
  pollTimeout(): Instant | undefined;
  pollCommand(): TunnelCommand | undefined;
  handleCarriedOut(now: Instant, command: ConnectionCommand): void;
  pollTransmit(): ConnectionTransmit | undefined;
  pollEvent(): TunnelGatewayEvent | undefined;
  counters(): Readonly<Record<TunnelGatewayCounter, number>>;
}

export interface TunnelGatewayOptions {
  readonly connections: Connections;
  /** `--host-access all`: every service of the gateway host, instead of DNS and echo only (PG-6). */
  readonly isHostOpen: boolean;
  readonly log?: Log;
}

export function createTunnelGateway({
  connections,
  isHostOpen,
  log = SILENT,
}: TunnelGatewayOptions): TunnelGateway {
  const grants = createGrants();
  const candidates = createCandidateBatches();
  const commands: WriteTun[] = [];
  const events: TunnelGatewayEvent[] = [];
  const refusals = new Map<string, TokenBucket>();
  const counters: Record<TunnelGatewayCounter, number> = {
    refused: 0,
    "icmp-rate": 0,
    "p2p-bad": 0,
    "no-peer-state": 0,
  };
  let own: TunnelAddresses | undefined;
  let lastInterface = "";

  const ownAddresses = (): IpAddress[] => (own === undefined ? [] : [own.ipv4, own.ipv6]);

  function publish(now: Instant): void {
    const tables = gatewayPolicy({
      ownAddresses: ownAddresses(),
      clients: grants.clients(),
      slotOf: (cid) => connections.slotOf(cid),
      isHostOpen,
    });
    connections.publish(now, tables);
  }

  function afterConnections(now: Instant): void {
    for (let event = connections.pollEvent(); event !== undefined; event = connections.pollEvent())
      handleConnectionEvent(now, event);
    for (const { kind, id, texts } of candidates.take()) {
      log.info?.(kind === "added" ? "candidates signalled" : "candidates withdrawn", {
        cid: id,
        candidates: texts,
      });
      const request = kind === "added" ? "broadcast-ice-candidates" : "broadcast-invalidated-ice-candidates";
      events.push({ kind: "request", request: { kind: request, cids: [id], candidates: texts } });
    }
  }

  function handleConnectionEvent(now: Instant, event: ConnectionEvent): void {
    switch (event.kind) {
      case "candidate-added":
      case "candidate-removed":
        return candidates.add(event);
      case "connection-established":
        events.push({ kind: "connected", cid: event.id });
        return;
      case "connection-failed":
      case "connection-closed":
        // Grants outlive the connection: the client may come back and still believe in them (TN-50).
        events.push({ kind: "disconnected", cid: event.id });
        return publish(now);
      case "relays-exhausted":
        return;
      default:
        return unreachable(event);
    }
  }

  function announceInterface(): void {
    const next = { addresses: ownAddresses(), routes: TUNNEL_RANGES };
    const text = JSON.stringify(next);
    if (text === lastInterface) return;
    lastInterface = text;
    events.push({ kind: "interface", interface: next });
  }

  /** Ends what was revoked; a client without any grant left is told goodbye (TN-54). */
  function applyRevocations(now: Instant, revocations: readonly Revocation[]): void {
    if (revocations.length === 0) return;
    for (const { cid, rid, reason, isLast } of revocations) {
      log.info?.("access ended", { cid, rid, reason });
      if (!isLast) continue;
      refusals.delete(cid);
      if (reason === "goodbye") connections.removeConnection(now, { id: cid, reason });
      else connections.closeConnection(now, { id: cid, goodbye: encodeGoodbye() });
    }
    publish(now);
  }

  function authorize(now: Instant, flow: AuthorizeFlow, unixNow: UnixMs): void {
    const { client, resource } = flow;
    const fields = { cid: client.cid, rid: resource.rid };
    if (own === undefined)
      return log.warn?.("access refused: the portal has not sent our addresses yet", fields);
    if (resource.kind !== "cidr") {
      return log.warn?.("access refused: this version serves CIDR resources only", {
        ...fields,
        kind: resource.kind,
      });
    }
    if (resource.filters.length > 0) {
      return log.warn?.(
        "access refused: the resource has filters, which this version cannot enforce",
        fields,
      );
    }
    const outcome = connections.upsertConnection(now, {
      id: client.cid,
      remoteKey: client.publicKey,
      presharedKey: client.presharedKey,
      localCredentials: flow.gatewayCredentials,
      remoteCredentials: flow.clientCredentials,
    });
    if (outcome.kind === "no-relays" || outcome.kind === "bad-credentials") {
      return log.warn?.("access refused: no connection to the client can be made", {
        ...fields,
        why: outcome.kind,
      });
    }
    const grant: Grant =
      flow.expiresAt === undefined
        ? { resource }
        : { resource, lease: toLease(now, flow.expiresAt, unixNow) };
    const lost = grants.insert(client.cid, [client.ipv4, client.ipv6], grant);
    log.info?.("access allowed", fields);
    applyRevocations(now, lost);
    publish(now);
    // The portal tells the client only now, and no candidate of ours may arrive before that (PT-60). The
    // machine gives them after this, also those of a connection that it reuses (SN-72).
    events.push({ kind: "request", request: { kind: "flow-authorized", ref: flow.ref } });
  }

  function handlePortalMessage(now: Instant, message: GatewayMessage, unixNow: UnixMs): void {
    switch (message.kind) {
      case "init": {
        own = message.interface;
        announceInterface();
        const listed = message.authorizations.map(({ cid, rid, expiresAt }) => ({
          cid,
          rid,
          lease: toLease(now, expiresAt, unixNow),
        }));
        applyRevocations(now, grants.reconcile(listed));
        return publish(now);
      }
      case "authorize-flow":
        return authorize(now, message, unixNow);
      case "reject-access":
        return applyRevocations(now, grants.revoke(message.cid, message.rid));
      case "access-authorization-expiry-updated": {
        const lease = toLease(now, message.expiresAt, unixNow);
        if (!grants.setLease(message.cid, message.rid, lease)) {
          log.debug?.("expiry of a grant that is not held", { cid: message.cid, rid: message.rid });
        }
        return;
      }
      case "resource-updated": {
        const lost = grants.updateResource(message.resource);
        if (lost.length > 0)
          log.error?.("a granted resource changed what it opens", { rid: message.resource.rid });
        return applyRevocations(now, lost);
      }
      case "ice-candidates":
        return connections.addRemoteCandidates(now, message.cid, message.candidates);
      case "invalidate-ice-candidates":
        return connections.removeRemoteCandidates(now, message.cid, message.candidates);
      case "relays-presence":
        return;
      default:
        return unreachable(message);
    }
  }

  /** TN-61 rows 6 to 14 for what the tables did not open. */
  function refuse(now: Instant, slot: number | undefined, packet: Uint8Array): void {
    const cid = slot === undefined ? undefined : connections.connectionOf(slot);
    if (cid === undefined || grants.client(cid) === undefined) {
      counters["no-peer-state"]++;
      return;
    }
    const destination = destinationOf(packet);
    if (ownAddresses().some((address) => equalIp(address, destination)) && isHostService(packet)) {
      commands.push({ kind: "write-tun", packet });
      return;
    }
    const bucket = refusals.get(cid) ?? createTokenBucket(REFUSAL_LIMIT);
    refusals.set(cid, bucket);
    if (!bucket.take(now)) {
      counters["icmp-rate"]++;
      return;
    }
    counters.refused++;
    const error = encodeRefusal(packet, "prohibited");
    if (error !== undefined) connections.sendPacket(now, cid, error);
  }

  function handleControlEvent(now: Instant, slot: number, packet: Uint8Array): void {
    const cid = connections.connectionOf(slot);
    const event = isControlEvent(packet) ? parseControlEvent(packet) : undefined;
    if (cid === undefined || event === undefined || !event.ok) {
      counters["p2p-bad"]++;
      return;
    }
    if (event.value.kind !== "goodbye") return;
    log.info?.("client said goodbye", { cid });
    const lost = grants.removeClient(cid, "goodbye");
    if (lost.length === 0) connections.removeConnection(now, { id: cid, reason: "goodbye" });
    applyRevocations(now, lost);
    events.push({ kind: "disconnected", cid });
  }

  function handlePunt(now: Instant, punt: DataPunt): void {
    switch (punt.reason) {
      case "no-session":
        connections.handlePunt(now, punt.slot, punt.packet);
        return;
      case "refused":
        return refuse(now, punt.slot, punt.packet);
      case "control-event":
        return handleControlEvent(now, punt.slot, punt.packet);
      case "first":
        // A gateway's tables have no such route.
        counters["no-peer-state"]++;
        return;
      default:
        return unreachable(punt);
    }
  }

  return {
    handlePortalMessage(now, message, unixNow) {
      handlePortalMessage(now, message, unixNow);
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
      afterConnections(now);
      publish(now);
    },
    shutdown(now) {
      connections.closeAll(now, encodeGoodbye());
      afterConnections(now);
    },
    handleTimeout(now) {
      connections.handleTimeout(now);
      applyRevocations(now, grants.handleTimeout(now));
      afterConnections(now);
    },
    pollTimeout: () => earliest(connections.pollTimeout(), grants.pollTimeout()),
    pollCommand: () => connections.pollCommand() ?? commands.shift(),
    handleCarriedOut(now, command) {
      connections.handleCarriedOut(now, command);
      afterConnections(now);
    },
    pollTransmit: () => connections.pollTransmit(),
    pollEvent: () => events.shift(),
    counters: () => counters,
  };
}

/** The wall clock counts once, here; its later steps change no lease (TN-53). */
function toLease(now: Instant, expiresAt: UnixMs, unixNow: UnixMs): Instant {
  return instant(now + Math.max(0, expiresAt - unixNow));
}
