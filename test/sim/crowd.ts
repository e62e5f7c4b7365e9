/**
 * A gateway with its plane and many clients, each with a connection by ICE and a grant. No network lies between them:
 * a datagram arrives at once, and time passes in steps. Clients are lean: they check paths and shake hands, and carry no
 * data. They can be let go, so that what is left in memory is the gateway's.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import {
  createQueue,
  createSeededRandom,
  type Instant,
  instant,
  ip,
  type Log,
  prefix,
  type Queue,
  SILENT,
  type SocketAddress,
  unixMs,
} from "../../src/base/index.ts";
import { type ConnectionRequest, type Connections, createConnections } from "../../src/connections/index.ts";
import { NO_ACTIVITY } from "../../src/plane/index.ts";
import type { AuthorizeFlow } from "../../src/portal/protocol/index.ts";
import { createTunnelGateway, type TunnelGateway } from "../../src/tunnel/index.ts";
import type { HandshakeCrypto } from "../../src/wireguard/index.ts";
import { createPolledPlane, type PolledPlane } from "../twin/polled-plane.ts";
import { putOnPlane, type TunnelOnPlane } from "./tunnel-on-plane.ts";

const GATEWAY_PORT = 52_625;
const GATEWAY_ADDRESSES = ["198.51.100.20", "198.51.100.21", "2001:db8::20"].map(ip);
const GID = "00000000-0000-4000-8000-00000000000e";
const RID = "00000000-0000-4000-8000-0000000000a1";
/** Of time: while the gateway has more to do than it can, as long as there is much to do, and when all are quiet. */
const STEP_MS = { slow: 10, busy: 50, quiet: 500 };
/** As many datagrams as wait for control (PG-51); what comes then is lost. */
const RING_ENTRIES = 1_024;
const BUSY_MS = 3_000;

export interface Crowd {
  /** So many more clients connect, and are quiet then. */
  connect(count: number): void;
  /** Time passes, and clients answer what they are asked. */
  run(durationMs: number): void;
  /** The clients are forgotten; the gateway does not know yet. */
  letClientsGo(): void;
  readonly gateway: TunnelGateway;
  /** How many of the gateway's connections have a session. */
  established(): number;
  /** How many connections have failed, at the gateway or at a client. */
  failed(): number;
}

interface LeanClient {
  readonly connections: Connections;
  readonly own: readonly SocketAddress[];
  readonly id: string;
  readonly request: ConnectionRequest;
}

/** What waits for the gateway's control, and how long control has worked ahead of the time. */
interface Control {
  /** Datagrams, and messages of the portal. */
  readonly inbox: Queue<() => void>;
  readonly work: ControlWork | undefined;
  aheadMs: number;
}

/** How long the gateway's control takes: for a datagram that comes or goes, and to let a client in. */
export interface ControlWork {
  readonly datagramMs: number;
  readonly clientMs: number;
}

interface CrowdState {
  readonly crypto: HandshakeCrypto;
  readonly gateway: TunnelGateway;
  readonly connections: Connections;
  readonly end: TunnelOnPlane;
  readonly plane: PolledPlane;
  readonly control: Control;
  /** By each of their sockets. */
  readonly bySocket: Map<string, LeanClient>;
  readonly clients: Map<string, LeanClient>;
  now: Instant;
  made: number;
  established: number;
  failed: number;
}

export interface CrowdOptions {
  readonly crypto: HandshakeCrypto;
  readonly clientsMax: number;
  /** The gateway's. */
  readonly log?: Log;
  /** Absent: everything is done at once. */
  readonly work?: ControlWork;
}

export function createCrowd(options: CrowdOptions): Crowd {
  const { crypto, clientsMax, log = SILENT, work } = options;
  const now = instant(1_000_000);
  const plane = createPolledPlane("WebAssembly", { mode: "gateway", maxPeers: clientsMax });
  const clocks = { now, unixNow: unixMs(1_700_000_000_000) };
  const connections = createConnections({
    role: "gateway",
    crypto,
    seed: new Uint8Array(32).fill(1),
    records: plane.records,
    connectionsMax: clientsMax,
    log,
    ...clocks,
  });
  const gateway = createTunnelGateway({ connections, flows: plane.flows, isHostOpen: false, log, ...clocks });
  const state: CrowdState = {
    crypto,
    gateway,
    connections,
    end: putOnPlane(gateway, plane),
    plane,
    control: { inbox: createQueue(), work, aheadMs: 0 },
    bySocket: new Map(),
    clients: new Map(),
    now,
    made: 0,
    established: 0,
    failed: 0,
  };
  gateway.handleOwnAddresses(
    now,
    GATEWAY_ADDRESSES.map((address) => ({ address, port: GATEWAY_PORT })),
  );
  gateway.handlePortalMessage(now, {
    kind: "init",
    interface: { ipv4: ip("100.64.0.1"), ipv6: ip("fd00:2021:1111::1") },
    relays: [],
    authorizations: [],
  });
  settle(state);
  return {
    gateway,
    connect(count) {
      for (let i = 0; i < count; i++) connect(state);
    },
    run: (durationMs) => run(state, durationMs),
    letClientsGo() {
      state.clients.clear();
      state.bySocket.clear();
    },
    established: () => state.established,
    failed: () => state.failed,
  };
}

function connect(state: CrowdState): void {
  const number = ++state.made;
  const octets = `${number >> 8}.${number & 255}`;
  const own = [`10.1.${octets}`, `2001:db8:1::${number.toString(16)}`].map((text) => ({
    address: ip(text),
    port: 40_000,
  }));
  const connections = createConnections({
    role: "client",
    crypto: state.crypto,
    seed: sha256(Uint8Array.of(number >> 8, number & 255)),
    now: state.now,
    unixNow: unixMs(1_700_000_000_000 + state.now - 1_000_000),
    connectionsMax: 1,
    records: {
      activity: () => NO_ACTIVITY,
      takeCounter: countUp(),
      noteSent: () => {},
      noteReceived: () => {},
      received: () => undefined,
    },
  });
  const id = `00000000-0000-4000-9000-${number.toString(16).padStart(12, "0")}`;
  const presharedKey = createSeededRandom(number).fill(new Uint8Array(32));
  const clientCredentials = { username: `c${number}`.padEnd(4, "x"), password: `c${number}`.padEnd(22, "x") };
  const gatewayCredentials = {
    username: `g${number}`.padEnd(4, "x"),
    password: `g${number}`.padEnd(22, "x"),
  };
  const request: ConnectionRequest = {
    id: GID,
    remoteKey: state.connections.publicKey(),
    presharedKey,
    localCredentials: clientCredentials,
    remoteCredentials: gatewayCredentials,
  };
  const client: LeanClient = { connections, own, id, request };
  state.clients.set(id, client);
  for (const socket of own) state.bySocket.set(keyOf(socket), client);
  connections.updateHostAddresses(state.now, own);
  const question: AuthorizeFlow = {
    kind: "authorize-flow",
    // So that the answer names the client.
    ref: id,
    resource: { kind: "cidr", rid: RID, name: "Far", address: prefix("172.20.0.0/16"), filters: [] },
    client: {
      cid: id,
      publicKey: connections.publicKey().slice(),
      presharedKey,
      ipv4: ip(`100.65.${octets}`),
      ipv6: ip(`fd00:2021:1111::1:${number.toString(16)}`),
      device: {},
    },
    clientCredentials,
    gatewayCredentials,
    expiresAt: unixMs(1_800_000_000_000),
    subject: {},
  };
  give(state, () => state.gateway.handlePortalMessage(state.now, question));
}

/** The portal hands on the gateway's answer: the client may begin. */
function begin(state: CrowdState, client: LeanClient): void {
  client.connections.upsertConnection(state.now, client.request);
  drainClient(state, client);
}

/** An input for the gateway: handled when its control comes to it. */
function give(state: CrowdState, act: () => void): void {
  state.control.inbox.push(act);
  if (state.control.work === undefined) work(state);
}

/** Control does what it has the time for. */
function work(state: CrowdState): void {
  const { control } = state;
  while (control.aheadMs <= 0) {
    const next = control.inbox.shift();
    if (next === undefined) {
      // Time in which there was nothing to do is not made up for.
      control.aheadMs = 0;
      return;
    }
    control.aheadMs += control.work?.datagramMs ?? 0;
    next();
    settle(state);
  }
}

function countUp(): () => bigint {
  let count = 0n;
  return () => count++;
}

function keyOf({ address, port }: SocketAddress): string {
  return `${address.join(".")}:${port}`;
}

function run(state: CrowdState, durationMs: number): void {
  const [begun, end] = [state.now, state.now + durationMs];
  while (state.now < end) {
    const step = stepAt(state, state.now - begun);
    state.now = instant(Math.min(end, state.now + step));
    if (state.control.work !== undefined) state.control.aheadMs -= step;
    state.gateway.handleTimeout(state.now);
    settle(state);
    work(state);
    for (const client of state.clients.values()) {
      const due = client.connections.pollTimeout();
      if (due === undefined || due > state.now) continue;
      client.connections.handleTimeout(state.now);
      drainClient(state, client);
    }
  }
}

function stepAt({ control }: CrowdState, sinceMs: number): number {
  if (control.work !== undefined) return STEP_MS.slow;
  return sinceMs < BUSY_MS ? STEP_MS.busy : STEP_MS.quiet;
}

/** Everything that the gateway has to say. */
function settle(state: CrowdState): void {
  const { gateway, end, now, control } = state;
  for (let sent = end.pollTransmit(now); sent !== undefined; sent = end.pollTransmit(now)) {
    control.aheadMs += control.work?.datagramMs ?? 0;
    const client = state.bySocket.get(keyOf(sent.destination));
    if (client === undefined) continue;
    const source =
      sent.source ?? GATEWAY_ADDRESSES.find(({ length }) => length === sent.destination.address.length);
    if (source === undefined) continue;
    client.connections.handleDatagram(now, {
      from: { address: source.slice(), port: GATEWAY_PORT },
      local: sent.destination,
      bytes: sent.bytes.slice(),
    });
    drainClient(state, client);
  }
  // What a program would take: nothing waits for ever.
  end.delivered.length = 0;
  end.commands.length = 0;
  while (state.connections.pollChange() !== undefined);
  for (let event = gateway.pollEvent(); event !== undefined; event = gateway.pollEvent()) {
    if (event.kind === "connected") state.established++;
    if (event.kind === "disconnected") state.failed++;
    const allowed =
      event.kind === "request" && event.request.kind === "flow-authorized" ? event.request.ref : "";
    const client = state.clients.get(allowed);
    if (client !== undefined) {
      control.aheadMs += control.work?.clientMs ?? 0;
      begin(state, client);
    }
    if (event.kind !== "request" || event.request.kind !== "broadcast-ice-candidates") continue;
    for (const cid of event.request.cids) {
      const client = state.clients.get(cid);
      if (client === undefined) continue;
      client.connections.addRemoteCandidates(now, GID, event.request.candidates);
      drainClient(state, client);
    }
  }
}

/** Everything that a client has to say, to the gateway at once. */
function drainClient(state: CrowdState, { connections, own, id }: LeanClient): void {
  const { now, gateway, plane, control } = state;
  for (let next = connections.pollCommand(); next !== undefined; next = connections.pollCommand()) {
    if (next.kind !== "write-tun") connections.handleCarriedOut(now, next);
  }
  for (let sent = connections.pollTransmit(); sent !== undefined; sent = connections.pollTransmit()) {
    const from = own.find(({ address }) => address.length === sent.destination.address.length);
    if (from === undefined) continue;
    if (control.inbox.length >= RING_ENTRIES) continue;
    const datagram = {
      from: { address: from.address.slice(), port: from.port },
      local: { address: sent.destination.address.slice(), port: sent.destination.port },
      bytes: sent.bytes.slice(),
    };
    give(state, () => plane.handleDatagram(state.now, datagram));
  }
  const candidates: string[] = [];
  for (let event = connections.pollEvent(); event !== undefined; event = connections.pollEvent()) {
    if (event.kind === "candidate-added") candidates.push(event.candidate);
    if (event.kind === "connection-failed") state.failed++;
  }
  if (candidates.length > 0)
    give(state, () =>
      gateway.handlePortalMessage(state.now, { kind: "ice-candidates", cid: id, candidates }),
    );
}
