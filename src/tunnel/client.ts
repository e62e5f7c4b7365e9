/**
 * The client: which gateway a packet goes to, and how access to it is asked for (tunnel.md §4).
 *
 * A pure machine around the machine of connections. After every input the caller drains `pollCommand`,
 * `pollTransmit` and `pollEvent`, in this order (SN-124); it carries out each command before it asks for
 * the next, and says so by `handleCarriedOut`.
 */
import { earliest, type Instant, type Log, SILENT, unreachable } from "../base/index.ts";
import type { Connections } from "../connections/index.ts";
import type { DnsFigures, Resolver } from "../dns/index.ts";
import type { DataPunt, PlaneFlows } from "../plane/index.ts";
import type { ClientMessage } from "../portal/protocol/index.ts";
import {
  authorisedOn,
  createAccessTable,
  forgetGrants,
  handleAccessTimeout,
  pollAccessTimeout,
  takeDueIntents,
} from "./access.ts";
import { noteQuery } from "./client-names.ts";
import { forgetGateway, handlePunt, loseConnection } from "./client-packets.ts";
import { applyChange, handlePortalMessage } from "./client-portal.ts";
import { drainResolver } from "./client-queries.ts";
import {
  announceResources,
  ask,
  type ClientState,
  listResources,
  publish,
  type ResourceStatus,
  type TunnelClientCounter,
  type TunnelClientEvent,
} from "./client-state.ts";
import { createDnsNat } from "./dns-nat.ts";
import {
  createEndState,
  createTunnelEnd,
  drainConnections,
  type EndParts,
  type LifeEvent,
  resetEnd,
  type TunnelEnd,
} from "./endpoint.ts";
import { createFlowBook } from "./flow-book.ts";
import { createFragments } from "./fragments.ts";
import {
  createGateways,
  handleGatewaysTimeout,
  pollGatewaysTimeout,
  removeAllGateways,
  setGatewayOnline,
} from "./gateways.ts";
import { createProxyBlocks } from "./proxy-blocks.ts";
import { pollRelayTimeout } from "./relays.ts";
import { createResourceTable, switchInternet } from "./resources.ts";
import type { CandidateBatch } from "./signalling.ts";

export type { ResourceStatus, TunnelClientCounter, TunnelClientEvent } from "./client-state.ts";

export interface TunnelClient extends TunnelEnd<TunnelClientEvent> {
  handlePortalMessage(now: Instant, message: ClientMessage): void;
  handlePunt(now: Instant, punt: DataPunt): void;
  /** The network changed: all connections go without goodbye, packets and resources stay (TN-35). */
  reset(now: Instant): void;
  /** An input for the resolver, such as what a server has answered; nothing without one. */
  useResolver(now: Instant, use: (resolver: Resolver) => void): void;
  /** The user's switch for the internet resource (TN-23). */
  setInternet(now: Instant, isOn: boolean): void;
  handleTimeout(now: Instant): void;
  pollTimeout(): Instant | undefined;
  resources(): readonly ResourceStatus[];
  /** Ids of the resources that are reached through a gateway. */
  resourcesOf(gid: string): readonly string[];
  counters(): Readonly<Record<TunnelClientCounter, number>>;
  /** Of the resolver (DN-113). */
  dnsFigures(): DnsFigures;
  /** How many flows have a record in the plane. */
  flowCount(): number;
}

export interface TunnelClientOptions {
  readonly connections: Connections;
  readonly flows: PlaneFlows;
  /** Answers queries at sentinels; absent: nobody does. */
  readonly resolver?: Resolver;
  /** Where the switch for the internet resource stands at the start; default: off. */
  readonly isInternetOn?: boolean;
  /** The flag `icmp_error_creates_flow`; default: on (TN-36). */
  readonly asksWhereProhibited?: boolean;
  readonly log?: Log;
}

export function createTunnelClient(options: TunnelClientOptions): TunnelClient {
  const { connections } = options;
  const client = createState(options);
  const parts: EndParts<TunnelClientEvent> = {
    idField: "gid",
    handleConnectionEvent: (now, event) => handleConnectionEvent(client, now, event),
    toRequest,
  };
  const after = (now: Instant): void => {
    drainConnections(client, now, parts);
    drainResolver(client, now, (name) => noteQuery(client, now, name));
  };
  return {
    ...createTunnelEnd(client, after),
    handlePortalMessage(now, message) {
      handlePortalMessage(client, now, message);
      after(now);
    },
    handlePunt(now, punt) {
      handlePunt(client, now, punt);
      after(now);
    },
    reset(now) {
      const inUse = gatewaysInUse(client);
      resetEnd(client, now);
      forgetGrants(client.access, now, inUse);
      removeAllGateways(client.gateways);
      client.resolver?.reset(now);
      client.nat.clear();
      after(now);
      publish(client, now);
    },
    useResolver(now, use) {
      if (client.resolver !== undefined) use(client.resolver);
      after(now);
    },
    setInternet(now, isOn) {
      applyChange(client, now, switchInternet(client.resources, isOn));
      after(now);
    },
    handleTimeout(now) {
      connections.handleTimeout(now);
      client.counters["pending-idle"] += handleAccessTimeout(client.access, now);
      for (const rid of takeDueIntents(client.access, now)) ask(client, rid);
      if (handleGatewaysTimeout(client.gateways, now)) announceResources(client);
      client.resolver?.handleTimeout(now);
      client.flows.sweep(now);
      client.counters["fragment-unknown"] += client.fragments.handleTimeout(now);
      after(now);
    },
    pollTimeout: () =>
      earliest(
        connections.pollTimeout(),
        pollRelayTimeout(client),
        pollAccessTimeout(client.access),
        pollGatewaysTimeout(client.gateways),
        client.resolver?.pollTimeout(),
        client.flows.pollTimeout(),
        client.fragments.pollTimeout(),
      ),
    resources: () => listResources(client),
    resourcesOf: (gid) => authorisedOn(client.access, gid),
    counters: () => client.counters,
    dnsFigures: () => client.resolver?.figures() ?? { counters: {}, present: {} },
    flowCount: () => client.flows.size(),
  };
}

/** Gateways whose connection has carried packets within the last 20 s (SN-41). */
function gatewaysInUse({ connections }: ClientState): ReadonlySet<string> {
  const used = connections.stats().connections.filter(({ state }) => state !== "idle");
  return new Set(used.map(({ id }) => id));
}

function createState({
  connections,
  flows,
  resolver,
  isInternetOn,
  asksWhereProhibited = true,
  log = SILENT,
}: TunnelClientOptions): ClientState {
  return {
    ...createEndState<TunnelClientEvent>(connections, log),
    resources: createResourceTable(log, isInternetOn),
    gateways: createGateways(),
    access: createAccessTable(),
    own: undefined,
    resolver,
    proxyBlocks: createProxyBlocks(resolver),
    nat: createDnsNat(),
    flows: createFlowBook(flows),
    fragments: createFragments(),
    asksWhereProhibited,
    counters: {
      "pending-full": 0,
      "pending-idle": 0,
      "unknown-resource": 0,
      "p2p-bad": 0,
      "icmp-error-out": 0,
      "flow-table-full": 0,
      "fragment-unknown": 0,
      "prohibited-asked-again": 0,
    },
    refusals: new Map(),
    announcedResources: [],
  };
}

function toRequest({ kind, id, candidates }: CandidateBatch): TunnelClientEvent {
  return { kind: "request", request: { kind, gids: [id], candidates } };
}

function handleConnectionEvent(client: ClientState, now: Instant, event: LifeEvent): void {
  switch (event.kind) {
    case "connection-established":
      setGatewayOnline(client.gateways, event.id);
      client.events.push({ kind: "connected", gid: event.id });
      return announceResources(client);
    case "connection-failed":
      return loseConnection(client, now, event);
    case "connection-closed":
      return forgetGateway(client, now, event.id);
    default:
      return unreachable(event);
  }
}
