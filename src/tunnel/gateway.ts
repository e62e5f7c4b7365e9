/**
 * The gateway: what it opens for whom, as the portal says, and until when (tunnel.md §7).
 *
 * A pure machine around the machine of connections, driven like the client's. The plane enforces: every
 * change of a grant is a new set of tables.
 */
import {
  createDeadlineQueue,
  createWallClock,
  earliest,
  type Instant,
  type Log,
  after as laterBy,
  SILENT,
  type UnixMs,
  unreachable,
} from "../base/index.ts";
import type { Connections } from "../connections/index.ts";
import type { DnsFigures, NameServer, NameServerOptions, SetupResult } from "../dns/index.ts";
import {
  type DataPunt,
  type FlowRecord,
  type FlowUsage,
  type PlaneFlows,
  TUNNEL_PEERS_MAX,
} from "../plane/index.ts";
import type { GatewayMessage, GatewayResource } from "../portal/protocol/index.ts";
import {
  createAdmission,
  end as endSetUp,
  forgetWaiting,
  handleAdmissionTimeout,
  succeed,
} from "./admission.ts";
import { SET_UPS_AT_ONCE, SWEEP_MS } from "./constants.ts";
import {
  createEndState,
  createTunnelEnd,
  drainConnections,
  type EndParts,
  type LifeEvent,
  resetEnd,
  type TunnelEnd,
} from "./endpoint.ts";
import { createFlowBook, type FlowBook } from "./flow-book.ts";
import { createFlowLog } from "./flow-log.ts";
import { createFragments } from "./fragments.ts";
import { domainOf, drainFlowLog } from "./gateway-flow-log.ts";
import { endFlow, unlinkFlow } from "./gateway-flows.ts";
import { handleSetupResult, handleSetupTimeout, permitName } from "./gateway-names.ts";
import { handlePunt } from "./gateway-packets.ts";
import { applyRevocations, place } from "./gateway-policies.ts";
import { admitWaiting, handlePortalMessage } from "./gateway-portal.ts";
import {
  forgetFlows,
  type GatewayState,
  type TunnelGatewayCounter,
  type TunnelGatewayEvent,
} from "./gateway-state.ts";
import { createGrants, type Grant } from "./grants.ts";
import { endAged } from "./nat/mappings.ts";
import { createSetups } from "./nat/setups.ts";
import { createPlacedPolicies } from "./placed.ts";
import { pollRelayTimeout } from "./relays.ts";
import type { CandidateBatch } from "./signalling.ts";
import type { Verdict } from "./verdict.ts";

export type { TunnelGatewayCounter, TunnelGatewayEvent } from "./gateway-state.ts";

export interface TunnelGateway extends TunnelEnd<TunnelGatewayEvent> {
  handlePortalMessage(now: Instant, message: GatewayMessage): void;
  handlePunt(now: Instant, punt: DataPunt): void;
  /** The network changed: connections go, grants stay (TN-50). */
  reset(now: Instant): void;
  handleTimeout(now: Instant): void;
  pollTimeout(): Instant | undefined;
  counters(): Readonly<Record<TunnelGatewayCounter, number>>;
  /** Of the name server, and of lookups for clients' names (DN-113). */
  dnsFigures(): DnsFigures;
  /** An input for the name server, such as a client's question; nothing without one (DN-84). */
  useNameServer(now: Instant, use: (server: NameServer) => void): void;
  /** What a name came to that `resolve-setup` asked for (TN-64). */
  handleSetupResult(now: Instant, token: number, result: SetupResult): void;
  /** What a client may reach now, and for how long; without end if there is no time. */
  grantsOf(cid: string, now: Instant): readonly RunningGrant[];
  /** Flows with a record in the plane, the newest first; at most so many of them (PG-108). */
  runningFlows(limit: number): readonly RunningFlow[];
  /** How many there are. */
  flowCount(): number;
}

export interface RunningFlow {
  readonly cid: string;
  readonly verdict: Verdict;
  readonly record: FlowRecord;
  /** The name that was asked for. */
  readonly domain?: string;
  readonly usage: FlowUsage;
}

export interface RunningGrant {
  readonly resource: GatewayResource;
  readonly expiresInMs?: number;
}

export interface TunnelGatewayOptions {
  readonly connections: Connections;
  /** The two clocks now; the wall clock's steps are told by `handleWallClock`. */
  readonly now: Instant;
  readonly unixNow: UnixMs;
  /** `--host-access all`: every service of the gateway host, instead of DNS and echo only (PG-6). */
  readonly isHostOpen: boolean;
  /** `--allow-link-local`: names may lead to link-local addresses (PG-6). */
  readonly isLinkLocalAllowed?: boolean;
  /** `--flow-logs` (TN-91). */
  readonly areFlowsLogged?: boolean;
  /** Clients whose connection is set up at a time (TN-122). */
  readonly setUpsAtOnce?: number;
  readonly flows: PlaneFlows;
  /** Makes the name server for clients, which asks `permit` about each question; absent: there is none. */
  readonly openNameServer?: (permit: NameServerOptions["permit"]) => NameServer;
  readonly log?: Log;
}

export function createTunnelGateway(options: TunnelGatewayOptions): TunnelGateway {
  const { connections } = options;
  const gateway = createState(options);
  const parts: EndParts<TunnelGatewayEvent> = {
    idField: "cid",
    handleConnectionEvent: (now, event) => handleConnectionEvent(gateway, now, event),
    toRequest,
  };
  const after = (now: Instant): void => {
    drainConnections(gateway, now, parts);
    if (admitWaiting(gateway, now)) drainConnections(gateway, now, parts);
    drainNames(gateway);
    drainFlowLog(gateway, (row) => unlinkFlow(gateway, now, row));
  };
  const end = createTunnelEnd(gateway, after);
  return {
    ...end,
    /** A step of the clock moves what expires with it (TN-53). */
    handleWallClock(now, unix) {
      connections.handleWallClock(now, unix);
      if (gateway.clock.follow(now, unix)) gateway.log.info?.("the clock was set; expiries follow it");
    },
    handlePortalMessage(now, message) {
      handlePortalMessage(gateway, now, message);
      after(now);
    },
    handlePunt(now, punt) {
      handlePunt(gateway, now, punt);
      after(now);
    },
    reset(now) {
      forgetWaiting(gateway.admission);
      resetEnd(gateway, now);
      gateway.nameServer?.reset(now);
      after(now);
    },
    handleTimeout(now) {
      connections.handleTimeout(now);
      applyRevocations(gateway, now, gateway.grants.handleTimeout(now));
      handleAdmissionTimeout(gateway.admission, now, (cid) => connections.pathShown(cid) !== undefined);
      handleSetupTimeout(gateway, now);
      gateway.counters["fragment-unknown"] += gateway.fragments.handleTimeout(now);
      gateway.nameServer?.handleTimeout(now);
      age(gateway, now);
      after(now);
    },
    pollTimeout: () => pollTimeout(gateway),
    useNameServer(now, use) {
      if (gateway.nameServer !== undefined) use(gateway.nameServer);
      after(now);
    },
    handleSetupResult(now, token, result) {
      handleSetupResult(gateway, now, token, result);
      after(now);
    },
    counters: () => gateway.counters,
    dnsFigures: () => dnsFigures(gateway),
    runningFlows: (limit) => runningFlows(gateway, limit),
    flowCount: () => gateway.flows.size(),
    shutdown(now) {
      gateway.flowLog?.endAll(now);
      end.shutdown(now);
    },
    grantsOf: (cid, now) =>
      [...(gateway.grants.client(cid)?.grants.values() ?? [])].map((grant) => running(gateway, now, grant)),
  };
}

/** What is to be asked of the world about names. */
function drainNames({ setups, nameServer, events }: GatewayState): void {
  for (let query = setups.pollQuery(); query !== undefined; query = setups.pollQuery()) {
    events.push({ kind: "resolve-setup", query });
  }
  for (let event = nameServer?.pollEvent(); event !== undefined; event = nameServer?.pollEvent()) {
    events.push({ kind: "dns", event });
  }
}

function pollTimeout(gateway: GatewayState): Instant | undefined {
  return earliest(
    gateway.connections.pollTimeout(),
    pollRelayTimeout(gateway),
    gateway.grants.pollTimeout(),
    gateway.admission.counting.first()?.dueAt,
    gateway.setups.pollTimeout(),
    gateway.nameServer?.pollTimeout(),
    gateway.flows.pollTimeout(),
    gateway.fragments.pollTimeout(),
    gateway.flowLog?.pollTimeout(),
    nextAgeing(gateway),
  );
}

function dnsFigures({ nameServer, lookups }: GatewayState): DnsFigures {
  const { counters, present } = nameServer?.figures() ?? { counters: {}, present: {} };
  const results = Object.entries(lookups).map(([result, count]) => [`dns_lookup_${result}`, count]);
  return { counters: { ...counters, ...Object.fromEntries(results) }, present };
}

function running({ clock }: GatewayState, now: Instant, { resource, expiresAt }: Grant): RunningGrant {
  if (expiresAt === undefined) return { resource };
  return { resource, expiresInMs: Math.max(0, expiresAt - clock.wallNow(now)) };
}

function runningFlows({ flows, nats }: GatewayState, limit: number): readonly RunningFlow[] {
  return flows.newest(limit).flatMap((flow): readonly RunningFlow[] => {
    const { owner: cid, note: verdict, record } = flow;
    const usage = flows.usage(flow);
    if (usage === undefined) return [];
    const domain = domainOf(nats.get(cid)?.entries, verdict);
    return [{ cid, verdict, record, usage, ...(domain !== undefined && { domain }) }];
  });
}

/** Flows that are over go to their mappings, and mappings go that nothing keeps any more (TN-68, TN-90). */
function age(gateway: GatewayState, now: Instant): void {
  const { flows, flowLog, ageing } = gateway;
  for (const flow of flows.sweep(now)) endFlow(gateway, now, flow);
  flowLog?.handleTimeout(now);
  const due = nextAgeing(gateway);
  if (due === undefined || now < due) return;
  gateway.agedAt = now;
  endAged(ageing, now);
}

/** When a mapping is to be ended; nobody is woken for those that have flows. */
function nextAgeing({ ageing, agedAt }: GatewayState): Instant | undefined {
  const first = ageing.first()?.dueAt;
  if (first === undefined) return undefined;
  const soonest = laterBy(agedAt, SWEEP_MS);
  return first > soonest ? first : soonest;
}

function createState(options: TunnelGatewayOptions): GatewayState {
  const { connections, now, unixNow, isHostOpen, isLinkLocalAllowed = false, log = SILENT } = options;
  const flows: FlowBook<Verdict> = createFlowBook(options.flows);
  const clock = createWallClock(now, unixNow);
  const state: GatewayState = {
    ...createEndState<TunnelGatewayEvent>(connections, log),
    placed: createPlacedPolicies(),
    clock,
    grants: createGrants(clock),
    admission: createAdmission(options.setUpsAtOnce ?? SET_UPS_AT_ONCE, TUNNEL_PEERS_MAX.gateway),
    refusals: new Map(),
    nats: new Map(),
    setups: createSetups(),
    nameServer: undefined,
    lookups: { addresses: 0, none: 0, error: 0 },
    flows,
    fragments: createFragments(),
    flowLog: options.areFlowsLogged === true ? createFlowLog(flows) : undefined,
    ageing: createDeadlineQueue(),
    agedAt: now,
    isHostOpen,
    isLinkLocalAllowed,
    counters: {
      refused: 0,
      "icmp-rate": 0,
      "p2p-bad": 0,
      "no-peer-state": 0,
      "not-allowed": 0,
      "expired-nat": 0,
      "icmp-quote": 0,
      "icmp-error-out": 0,
      "flow-table-full": 0,
      "fragment-unknown": 0,
    },
  };
  state.nameServer = options.openNameServer?.((client, name) => permitName(state, client, name));
  return state;
}

function toRequest({ kind, id, candidates }: CandidateBatch): TunnelGatewayEvent {
  return { kind: "request", request: { kind, cids: [id], candidates } };
}

function handleConnectionEvent(gateway: GatewayState, now: Instant, event: LifeEvent): void {
  switch (event.kind) {
    case "connection-established":
      succeed(gateway.admission, now, event.id);
      gateway.events.push({ kind: "connected", cid: event.id });
      return;
    case "connection-failed":
    case "connection-closed":
      endSetUp(gateway.admission, event.id);
      // Grants outlive the connection: the client may come back and still believe in them (TN-50).
      forgetFlows(gateway, event.id);
      gateway.events.push({ kind: "disconnected", cid: event.id });
      return place(gateway, now, event.id);
    default:
      return unreachable(event);
  }
}
