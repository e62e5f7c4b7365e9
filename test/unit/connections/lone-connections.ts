/** Connections with a plane that the test plays: commands are recorded, stamps are set by hand. */

import {
  createSeededRandom,
  type Instant,
  instant,
  ip,
  type Log,
  type LogFields,
  type SocketAddress,
  unixMs,
} from "../../../src/base/index.ts";
import {
  type ConnectionCommand,
  type ConnectionEvent,
  type ConnectionRequest,
  type ConnectionRole,
  type Connections,
  type ConnectionsOptions,
  type ConnectionTransmit,
  createConnections,
} from "../../../src/connections/index.ts";
import { NO_ACTIVITY, type PeerActivity } from "../../../src/plane/index.ts";
import {
  type BindingMessage,
  encodeBindingRequest,
  encodeBindingSuccess,
  parseBinding,
} from "../../../src/stun/index.ts";
import { NOBLE_CRYPTO } from "../../../src/wireguard/noble-crypto.ts";
import { dueUntil } from "../../lib/bounds.ts";

export const LOCAL: SocketAddress = { address: ip("192.0.2.1"), port: 52625 };
export const REMOTE: SocketAddress = { address: ip("198.51.100.2"), port: 40000 };
export const REMOTE_TEXT = "candidate:x 1 udp 2130706175 198.51.100.2 40000 typ host";

export interface LoneConnections {
  readonly connections: Connections;
  readonly commands: ConnectionCommand[];
  /** Those that the plane was told of. */
  readonly knownSources: SocketAddress[];
  readonly transmits: ConnectionTransmit[];
  readonly events: ConnectionEvent[];
  /** Lines as `level event`, with their fields. */
  readonly lines: { readonly line: string; readonly fields: LogFields }[];
  readonly activity: Map<number, Partial<PeerActivity>>;
  now: Instant;
  /** Commands, transmits, events: in the order of SN-124. */
  drain(): void;
  /** Runs an input and drains. */
  apply<T>(input: (connections: Connections, now: Instant) => T): T;
  runTo(until: number): void;
  /** A check of the peer's, as it would send it. */
  check(request: ConnectionRequest, change?: CheckChange): void;
  /** The peer's answers to all checks so far; those that had one already change nothing. */
  answer(request: ConnectionRequest): void;
}

type BindingRequest = Extract<BindingMessage, { kind: "request" }>;

export interface CheckChange {
  readonly isNominated?: boolean;
  readonly password?: string;
  readonly from?: SocketAddress;
  readonly priority?: number;
}

export function requestFor(id: string, change: Partial<ConnectionRequest> = {}): ConnectionRequest {
  return {
    id,
    remoteKey: createSeededRandom(id.length + (id.codePointAt(0) ?? 0)).fill(new Uint8Array(32)),
    presharedKey: new Uint8Array(32),
    localCredentials: { username: "mine", password: "m".repeat(22) },
    remoteCredentials: { username: "peer", password: "p".repeat(22) },
    ...change,
  };
}

export function createLoneConnections(
  role: ConnectionRole,
  options: Pick<ConnectionsOptions, "connectionsMax" | "streams"> = {},
): LoneConnections {
  const start = instant(1_000_000);
  const lines: LoneConnections["lines"] = [];
  const activity: LoneConnections["activity"] = new Map();
  const connections = createConnections({
    role,
    crypto: NOBLE_CRYPTO,
    seed: new Uint8Array(32).fill(5),
    now: start,
    unixNow: unixMs(1_700_000_000_000),
    log: recordingLog(lines),
    records: {
      activity: (slot) => ({ ...NO_ACTIVITY, ...activity.get(slot) }),
      takeCounter: () => 0n,
      noteSent: () => {},
      noteReceived: () => {},
      received: () => undefined,
    },
    ...options,
  });
  let transaction = 0;
  const lone: LoneConnections = {
    connections,
    commands: [],
    knownSources: [],
    transmits: [],
    events: [],
    lines,
    activity,
    now: start,
    drain: () => drain(lone),
    apply(input) {
      const result = input(connections, lone.now);
      lone.drain();
      return result;
    },
    runTo: (until) => runTo(lone, until),
    check(request, change = {}) {
      const bytes = encodeCheck(
        ++transaction,
        role === "client" ? "controlled" : "controlling",
        request,
        change,
      );
      lone.apply((machine, now) =>
        machine.handleDatagram(now, { local: LOCAL, from: change.from ?? REMOTE, bytes }),
      );
    },
    answer(request) {
      for (const bytes of lone.transmits.flatMap((sent) => answersTo(sent.bytes, request))) {
        lone.apply((machine, now) => machine.handleDatagram(now, { local: LOCAL, from: REMOTE, bytes }));
      }
    },
  };
  lone.apply((machine, now) => machine.updateHostAddresses(now, [LOCAL]));
  return lone;
}

function drain({ connections, commands, knownSources, transmits, events, now }: LoneConnections): void {
  for (let next = connections.pollCommand(); next !== undefined; next = connections.pollCommand()) {
    // What handshakes are judged with comes once, first of all, and concerns no connection.
    if (next.kind === "know-source") knownSources.push(next.source);
    else if (next.kind !== "set-guard" && next.kind !== "set-relays") commands.push(next);
    // A publication takes its time: the test says when it is complete.
    if (next.kind !== "publish" && next.kind !== "write-tun") connections.handleCarriedOut(now, next);
  }
  for (let next = connections.pollTransmit(); next !== undefined; next = connections.pollTransmit()) {
    transmits.push(next);
  }
  for (let next = connections.pollEvent(); next !== undefined; next = connections.pollEvent()) {
    events.push(next);
  }
}

function runTo(lone: LoneConnections, until: number): void {
  const { connections } = lone;
  for (let due = dueUntil(connections, until); due !== undefined; due = dueUntil(connections, until)) {
    if (due <= lone.now) throw new Error(`wakes at ${due}, but it is ${lone.now}`);
    lone.now = due;
    lone.apply((machine, now) => machine.handleTimeout(now));
  }
  lone.now = instant(until);
}

/** A check as the peer's agent, whose role is `role`, would send it. */
function encodeCheck(
  transaction: number,
  role: "controlling" | "controlled",
  { localCredentials, remoteCredentials }: ConnectionRequest,
  change: CheckChange,
): Uint8Array {
  const into = new Uint8Array(600);
  const transactionId = new Uint8Array(12);
  new DataView(transactionId.buffer).setUint32(0, transaction);
  const length = encodeBindingRequest(
    into,
    {
      transactionId,
      username: `${localCredentials.username}:${remoteCredentials.username}`,
      claim: { role, tieBreaker: 1n },
      priority: change.priority ?? 1_862_270_719,
      isNominated: change.isNominated ?? false,
    },
    new TextEncoder().encode(change.password ?? localCredentials.password),
  );
  return into.slice(0, length);
}

/** What the peer answers to a datagram of ours: to a check one answer, to anything else none. */
export function answersTo(datagram: Uint8Array, request: ConnectionRequest): readonly Uint8Array[] {
  return requestIn(datagram).map((check) => encodeAnswer(check, request));
}

function requestIn(bytes: Uint8Array): readonly BindingRequest[] {
  const message = parseBinding(bytes);
  return message.ok && message.value.kind === "request" ? [message.value] : [];
}

function encodeAnswer({ frame }: BindingRequest, { remoteCredentials }: ConnectionRequest): Uint8Array {
  const into = new Uint8Array(600);
  const { transactionId } = frame;
  const key = new TextEncoder().encode(remoteCredentials.password);
  return into.slice(0, encodeBindingSuccess(into, { transactionId, mappedAddress: LOCAL }, key));
}

/** A log that adds what it is told to `lines`. */
function recordingLog(lines: LoneConnections["lines"], scope: LogFields = {}): Log {
  const emitter =
    (level: string) =>
    (event: string, fields: LogFields = {}) => {
      lines.push({ line: `${level} ${event}`, fields: { ...scope, ...fields } });
    };
  return {
    warn: emitter("warn"),
    info: emitter("info"),
    debug: emitter("debug"),
    scope: (_target, fields = {}) => recordingLog(lines, { ...scope, ...fields }),
  };
}
