/** One agent against a peer that the test plays: signed checks, answers, and a clock. */
import {
  createSeededRandom,
  formatIp,
  formatSocketAddress,
  type Instant,
  instant,
  ip,
  type SocketAddress,
} from "../../../src/base/index.ts";
import {
  ICE,
  type IceAgent,
  type IceAgentOptions,
  type IceEvent,
  type IceState,
  type IceTimings,
  type IceTransmit,
  parseCandidate,
  type RemoteVerdict,
  type RequestVerdict,
} from "../../../src/ice/index.ts";
import {
  type BindingMessage,
  encodeBindingError,
  encodeBindingRequest,
  encodeBindingSuccess,
  type IceRole,
  parseBinding,
  verifyIntegrity,
} from "../../../src/stun/index.ts";
import { dueUntil } from "../../lib/bounds.ts";

export const OWN = { username: "mine", password: "m".repeat(22) };
export const PEER = { username: "peer", password: "p".repeat(22) };

export interface Check extends IceTransmit {
  readonly at: Instant;
  readonly message: Extract<BindingMessage, { kind: "request" }>;
  readonly to: string;
}

/** The machine's functions, of one agent. */
export type BoundAgent = {
  readonly [Name in Exclude<keyof typeof ICE, "create">]: (typeof ICE)[Name] extends (
    agent: IceAgent,
    ...rest: infer Rest
  ) => infer Result
    ? (...rest: Rest) => Result
    : never;
};

export interface LoneAgent {
  readonly agent: BoundAgent;
  /** All checks it sent, oldest first. */
  readonly checks: Check[];
  /** Its answers to the peer's checks. */
  readonly answers: BindingMessage[];
  readonly events: IceEvent[];
  readonly transactions: Set<string>;
  now: Instant;
  /** States in the order in which they were entered. */
  states(): readonly IceState[];
  /** Destinations selected so far. */
  selections(): readonly string[];
  addHost(address: string, port?: number): string | undefined;
  addRemote(kind: string, address: string, priority?: number): RemoteVerdict;
  removeRemote(kind: string, address: string): boolean;
  /** A check of the peer's. */
  check(from: string, change?: Partial<CheckOptions>): RequestVerdict;
  /** The peer answers a check. */
  answer(check: Check | undefined, change?: AnswerOptions): void;
  /** Data of the peer's that does not come from where the path leads. */
  data(from: string, local?: string): void;
  setTimings(timings: IceTimings): void;
  /** `handleTimeout` now, due or not. */
  tick(): void;
  /** Drives the agent exactly at its deadlines, up to and including `until`. */
  runTo(until: number): void;
  /** Times of the checks to an address, relative to `since`. */
  timesTo(to: string, since?: number): readonly number[];
  lastTo(to: string): Check | undefined;
}

export interface CheckOptions {
  readonly local: string;
  readonly isNominated: boolean;
  readonly priority: number;
  readonly role: IceRole;
  readonly username: string;
  readonly password: string;
  /** Number of the transaction; default: a new one. */
  readonly transaction: number;
}

export interface AnswerOptions {
  readonly password?: string;
  readonly error?: number;
  readonly mapped?: string;
  /** Where the answer comes from; default: where the check went. */
  readonly from?: string;
}

export const START = instant(1_000_000);

export function at(text: string): SocketAddress {
  const match = /^(.*):(\d+)$/.exec(text);
  return { address: ip((match?.[1] ?? "").replace(/[[\]]/g, "")), port: Number(match?.[2]) };
}

export function createLoneAgent(role: IceRole, seed = 1): LoneAgent {
  const transactions = new Set<string>();
  const agent = bound({
    now: START,
    role,
    localCredentials: OWN,
    remoteCredentials: PEER,
    random: createSeededRandom(seed),
    transactions: {
      add: (transaction) => transactions.add(transaction),
      remove: (transaction) => transactions.delete(transaction),
    },
  });
  const record = { agent, checks: [], answers: [], events: [], transactions, now: START };
  const lone: LoneAgent = Object.assign(record, {
    ...whatWasSaid(() => lone),
    ...candidatesOf(() => lone),
    ...peerOf(() => lone, role),
    ...clockOf(() => lone),
  });
  drain(lone);
  return lone;
}

function bound(options: IceAgentOptions): BoundAgent {
  const { create, ...functions } = ICE;
  const agent = create(options);
  const all: Readonly<Record<string, (agent: IceAgent, ...rest: never[]) => unknown>> = functions;
  const entries = Object.entries(all).map(([name, of]) => [name, (...rest: never[]) => of(agent, ...rest)]);
  return Object.fromEntries(entries);
}

/** Takes what the agent has to say, and checks that it is signed with the peer's password. */
function drain(lone: LoneAgent): void {
  const { agent } = lone;
  for (let sent = agent.pollTransmit(); sent !== undefined; sent = agent.pollTransmit()) {
    const parsed = parseBinding(sent.bytes);
    if (!parsed.ok) throw new Error(`sent something ${parsed.reason}`);
    if (parsed.value.kind !== "request") {
      lone.answers.push(parsed.value);
      continue;
    }
    if (!verifyIntegrity(parsed.value.frame, key(PEER.password))) throw new Error("check with a wrong key");
    const to = formatSocketAddress(sent.destination);
    lone.checks.push({ ...sent, at: lone.now, message: parsed.value, to });
  }
  for (let event = agent.pollEvent(); event !== undefined; event = agent.pollEvent()) lone.events.push(event);
}

function key(password: string): Uint8Array {
  return new TextEncoder().encode(password);
}

function whatWasSaid(self: () => LoneAgent): Pick<LoneAgent, "states" | "selections" | "timesTo" | "lastTo"> {
  return {
    states: () => self().events.flatMap((event) => (event.kind === "state-changed" ? [event.state] : [])),
    selections: () =>
      self().events.flatMap((event) =>
        event.kind === "selected" ? [formatSocketAddress(event.destination)] : [],
      ),
    timesTo: (to, since = START) =>
      self()
        .checks.filter((check) => check.to === to && check.at >= since)
        .map((check) => check.at - since),
    lastTo: (to) => self().checks.findLast((check) => check.to === to),
  };
}

function candidatesOf(self: () => LoneAgent): Pick<LoneAgent, "addHost" | "addRemote" | "removeRemote"> {
  return {
    addHost(address, port = 52625) {
      const local = { address: ip(address), port };
      const text = self().agent.addLocal(self().now, { kind: "host", address: local, base: local });
      drain(self());
      return text;
    },
    addRemote(kind, address, priority = 1000) {
      const { address: host, port } = at(address);
      const place = formatIp(host);
      const text = parseCandidate(
        `candidate:x 1 udp ${priority} ${place} ${port} typ ${kind} ufrag ${PEER.username}`,
      );
      if (!text.ok) throw new Error(text.reason);
      const verdict = self().agent.addRemote(self().now, text.value);
      drain(self());
      return verdict;
    },
    removeRemote(kind, address) {
      const candidate = { kind: kind as "host", address: at(address), priority: 1 };
      const isKnown = self().agent.removeRemote(self().now, candidate);
      drain(self());
      return isKnown;
    },
  };
}

/** The peer that the test plays. */
function peerOf(self: () => LoneAgent, role: IceRole): Pick<LoneAgent, "check" | "answer" | "data"> {
  let counter = 0;
  return {
    check(from, change = {}) {
      const into = new Uint8Array(300);
      const peerRole = role === "controlling" ? "controlled" : "controlling";
      const transactionId = new Uint8Array(12);
      new DataView(transactionId.buffer).setUint32(0, change.transaction ?? ++counter);
      const length = encodeBindingRequest(
        into,
        {
          transactionId,
          username: change.username ?? `${OWN.username}:${PEER.username}`,
          claim: { role: change.role ?? peerRole, tieBreaker: 1n },
          priority: change.priority ?? 1862270719,
          isNominated: change.isNominated ?? false,
        },
        key(change.password ?? OWN.password),
      );
      const parsed = parseBinding(into.subarray(0, length));
      if (!parsed.ok || parsed.value.kind !== "request") throw new Error("no request");
      const way = { source: at(from), destination: at(change.local ?? "192.0.2.1:52625") };
      const verdict = self().agent.handleRequest(self().now, parsed.value, way);
      drain(self());
      return verdict;
    },
    answer(check, change = {}) {
      if (check === undefined) throw new Error("no check to answer");
      const into = new Uint8Array(300);
      const length = encodeAnswer(into, check, change);
      const parsed = parseBinding(into.subarray(0, length));
      if (!parsed.ok || parsed.value.kind === "request" || parsed.value.kind === "indication") {
        throw new Error("no answer");
      }
      const source = change.from === undefined ? check.destination : at(change.from);
      self().agent.handleAnswer(self().now, parsed.value, source);
      drain(self());
    },
    data(from, local = "192.0.2.1") {
      self().agent.handleData(self().now, { source: at(from), local: ip(local) });
      drain(self());
    },
  };
}

function encodeAnswer(into: Uint8Array, check: Check, change: AnswerOptions): number {
  const { transactionId } = check.message.frame;
  const secret = key(change.password ?? PEER.password);
  if (change.error !== undefined) {
    return encodeBindingError(into, { transactionId, code: change.error, phrase: "no" }, secret);
  }
  const mappedAddress = change.mapped === undefined ? check.source : at(change.mapped);
  return encodeBindingSuccess(into, { transactionId, mappedAddress }, secret);
}

function clockOf(self: () => LoneAgent): Pick<LoneAgent, "setTimings" | "tick" | "runTo"> {
  return {
    setTimings(timings) {
      self().agent.setTimings(self().now, timings);
      drain(self());
    },
    tick() {
      self().agent.handleTimeout(self().now);
      drain(self());
    },
    runTo(until) {
      const lone = self();
      const { agent } = lone;
      for (let due = dueUntil(agent, until); due !== undefined; due = dueUntil(agent, until)) {
        if (due <= lone.now && lone.now > START) throw new Error(`wakes at ${due}, but it is ${lone.now}`);
        lone.now = due;
        agent.handleTimeout(due);
        drain(lone);
      }
      lone.now = instant(until);
    },
  };
}

export function agentWithHost(role: "controlling" | "controlled" = "controlling"): LoneAgent {
  const lone = createLoneAgent(role);
  lone.addHost("192.0.2.1");
  return lone;
}

export function later(lone: LoneAgent, ms: number): void {
  lone.runTo(lone.now + ms);
}
