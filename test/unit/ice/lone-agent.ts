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
  createIceAgent,
  type IceAgent,
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

export const OWN = { username: "mine", password: "m".repeat(22) };
export const PEER = { username: "peer", password: "p".repeat(22) };

export interface Check extends IceTransmit {
  readonly at: Instant;
  readonly message: Extract<BindingMessage, { kind: "request" }>;
  readonly to: string;
}

export interface LoneAgent {
  readonly agent: IceAgent;
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
}

export const START = instant(1_000_000);

export function at(text: string): SocketAddress {
  const match = /^(.*):(\d+)$/.exec(text);
  return { address: ip((match?.[1] ?? "").replace(/[[\]]/g, "")), port: Number(match?.[2]) };
}

export function createLoneAgent(role: IceRole, seed = 1): LoneAgent {
  const transactions = new Set<string>();
  const agent = createIceAgent({
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
  const key = (password: string): Uint8Array => new TextEncoder().encode(password);
  let counter = 0;

  function drain(): void {
    for (let sent = agent.pollTransmit(); sent !== undefined; sent = agent.pollTransmit()) {
      const parsed = parseBinding(sent.bytes);
      if (!parsed.ok) throw new Error(`sent something ${parsed.reason}`);
      if (parsed.value.kind !== "request") {
        lone.answers.push(parsed.value);
        continue;
      }
      if (!verifyIntegrity(parsed.value.frame, key(PEER.password))) throw new Error("check with a wrong key");
      lone.checks.push({
        ...sent,
        at: lone.now,
        message: parsed.value,
        to: formatSocketAddress(sent.destination),
      });
    }
    for (let event = agent.pollEvent(); event !== undefined; event = agent.pollEvent())
      lone.events.push(event);
  }

  const lone: LoneAgent = {
    agent,
    checks: [],
    answers: [],
    events: [],
    transactions,
    now: START,
    states: () => lone.events.flatMap((event) => (event.kind === "state-changed" ? [event.state] : [])),
    selections: () =>
      lone.events.flatMap((event) =>
        event.kind === "selected" ? [formatSocketAddress(event.destination)] : [],
      ),
    addHost(address, port = 52625) {
      const local = { address: ip(address), port };
      const text = agent.addLocal(lone.now, { kind: "host", address: local, base: local });
      drain();
      return text;
    },
    addRemote(kind, address, priority = 1000) {
      const { address: host, port } = at(address);
      const place = formatIp(host);
      const text = parseCandidate(
        `candidate:x 1 udp ${priority} ${place} ${port} typ ${kind} ufrag ${PEER.username}`,
      );
      if (!text.ok) throw new Error(text.reason);
      const verdict = agent.addRemote(lone.now, text.value);
      drain();
      return verdict;
    },
    removeRemote(kind, address) {
      const candidate = { kind: kind as "host", address: at(address), priority: 1 };
      const isKnown = agent.removeRemote(lone.now, candidate);
      drain();
      return isKnown;
    },
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
      const verdict = agent.handleRequest(lone.now, parsed.value, way);
      drain();
      return verdict;
    },
    answer(check, change = {}) {
      if (check === undefined) throw new Error("no check to answer");
      const into = new Uint8Array(300);
      const { transactionId } = check.message.frame;
      const mappedAddress = change.mapped === undefined ? check.source : at(change.mapped);
      const length =
        change.error === undefined
          ? encodeBindingSuccess(
              into,
              { transactionId, mappedAddress },
              key(change.password ?? PEER.password),
            )
          : encodeBindingError(
              into,
              { transactionId, code: change.error, phrase: "no" },
              key(change.password ?? PEER.password),
            );
      const parsed = parseBinding(into.subarray(0, length));
      if (!parsed.ok || parsed.value.kind === "request" || parsed.value.kind === "indication") {
        throw new Error("no answer");
      }
      agent.handleAnswer(lone.now, parsed.value);
      drain();
    },
    setTimings(timings) {
      agent.setTimings(lone.now, timings);
      drain();
    },
    tick() {
      agent.handleTimeout(lone.now);
      drain();
    },
    runTo(until) {
      for (let due = agent.pollTimeout(); due !== undefined && due <= until; due = agent.pollTimeout()) {
        if (due <= lone.now && lone.now > START) throw new Error(`wakes at ${due}, but it is ${lone.now}`);
        lone.now = due;
        agent.handleTimeout(due);
        drain();
      }
      lone.now = instant(until);
    },
    timesTo: (to, since = START) =>
      lone.checks.filter((check) => check.to === to && check.at >= since).map((check) => check.at - since),
    lastTo: (to) => lone.checks.findLast((check) => check.to === to),
  };
  drain();
  return lone;
}

export function agentWithHost(role: "controlling" | "controlled" = "controlling"): LoneAgent {
  const lone = createLoneAgent(role);
  lone.addHost("192.0.2.1");
  return lone;
}

export function later(lone: LoneAgent, ms: number): void {
  lone.runTo(lone.now + ms);
}
