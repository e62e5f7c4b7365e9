/** A relay client in virtual time whose relay is played by the test. */
import {
  createSeededRandom,
  formatSocketAddress,
  type Instant,
  instant,
  ip,
  type Log,
  type SocketAddress,
  toHex,
  unixMs,
} from "../../../src/base/index.ts";
import { METHOD_BINDING } from "../../../src/stun/index.ts";
import {
  createRelayClient,
  encodeTurn,
  longTermKey,
  METHOD_ALLOCATE,
  METHOD_CHANNEL_BIND,
  METHOD_REFRESH,
  parseTurn,
  type RelayClient,
  type RelayClientEvent,
  type RelayClientOptions,
  type TurnFields,
  type TurnMessage,
} from "../../../src/turn/index.ts";
import { dueUntil } from "../../lib/bounds.ts";

export const SERVER4: SocketAddress = { address: ip("198.51.100.7"), port: 3478 };
export const SERVER6: SocketAddress = { address: ip("2001:db8::7"), port: 3478 };
export const LOCAL4: SocketAddress = { address: ip("192.0.2.1"), port: 52625 };
export const LOCAL6: SocketAddress = { address: ip("2001:db8:1::1"), port: 52625 };
export const MAPPED4: SocketAddress = { address: ip("203.0.113.1"), port: 1024 };
export const RELAYED4: SocketAddress = { address: ip("198.51.100.7"), port: 50_000 };
export const RELAYED6: SocketAddress = { address: ip("2001:db8::7"), port: 50_000 };
export const PEER: SocketAddress = { address: ip("203.0.113.9"), port: 40_000 };
export const OTHER_PEER: SocketAddress = { address: ip("203.0.113.10"), port: 40_000 };

export const REALM = "firezone";
export const UNIX_START = 1_800_000_000;
export const CREDENTIALS = { username: `${UNIX_START + 86_400}:salt`, password: "password" };
export const START = 1_000_000;

const METHODS = new Map([
  [METHOD_BINDING, "binding"],
  [METHOD_ALLOCATE, "allocate"],
  [METHOD_REFRESH, "refresh"],
  [METHOD_CHANNEL_BIND, "bind"],
]);

export interface Sent {
  readonly at: number;
  readonly to: SocketAddress;
  readonly method: string;
  readonly message: TurnMessage;
  readonly hex: string;
}

export interface Answering {
  /** The key of the relay's signature; `undefined`: unsigned. Default: that of `CREDENTIALS`. */
  readonly key?: Uint8Array | undefined;
  readonly from?: SocketAddress;
  readonly local?: SocketAddress;
}

export interface LoneRelayClient {
  readonly machine: RelayClient;
  readonly sent: Sent[];
  readonly events: RelayClientEvent[];
  readonly warnings: string[];
  now: Instant;
  isAnswering: boolean;
  /** Runs an input and drains. */
  run<T>(input: (machine: RelayClient, now: Instant) => T): T;
  /** Lets time pass; the machine is woken exactly when it wants. */
  pass(ms: number): void;
  /** One late tick. */
  jump(ms: number): void;
  /** The last request of that method. */
  last(method: string): Sent;
  count(method: string): number;
  /** When requests of that method went out, in milliseconds after `since`. */
  times(method: string, since?: number): readonly number[];
  succeed(request: Sent, fields: TurnFields, how?: Answering): boolean;
  refuse(request: Sent, code: number, fields?: TurnFields, how?: Answering): boolean;
  /** Binding and Allocate are answered: an allocation of both families, 600 s. */
  activate(): LoneRelayClient;
  /** The same by the rfc dialect, with a challenge in between. */
  activateRfc(): LoneRelayClient;
  /** From now on every Binding is answered at once: the relay is there. */
  keepAnswering(): void;
}

export function keyFor(credentials: { readonly username: string; readonly password: string }): Uint8Array {
  return longTermKey({ ...credentials, realm: REALM });
}

const utf8 = (text: string) => new TextEncoder().encode(text);

/** What a challenge carries. */
export const NONCE: TurnFields = { realm: utf8(REALM), nonce: utf8("nonce-1") };

export const KEY = keyFor(CREDENTIALS);

export function createLoneRelayClient(options: Partial<RelayClientOptions> = {}): LoneRelayClient {
  const warnings: string[] = [];
  const machine = createRelayClient({
    servers: { v4: SERVER4, v6: SERVER6 },
    credentials: CREDENTIALS,
    realm: REALM,
    dialect: "strict",
    software: "postern/test",
    random: createSeededRandom(7),
    now: instant(START),
    unixNow: unixMs(UNIX_START * 1_000),
    log: warningLog(warnings),
    ...options,
  });
  const lone: LoneRelayClient = {
    machine,
    sent: [],
    events: [],
    warnings,
    now: instant(START),
    isAnswering: false,
    run(input) {
      const result = input(machine, lone.now);
      drain(lone);
      return result;
    },
    pass: (ms) => pass(lone, ms),
    jump(ms) {
      lone.now = instant(lone.now + ms);
      lone.run((client, now) => client.handleTimeout(now));
    },
    last(method) {
      const found = lone.sent.findLast((sent) => sent.method === method);
      if (found === undefined) throw new Error(`no request ${method}`);
      return found;
    },
    count: (method) => lone.sent.filter((sent) => sent.method === method).length,
    times: (method, since = START) =>
      lone.sent.filter((sent) => sent.method === method && sent.at >= since).map(({ at }) => at - since),
    succeed: (request, fields, how) => answer(lone, request, { kind: "success", fields, ...how }),
    refuse: (request, code, fields, how) =>
      answer(lone, request, {
        kind: "error",
        fields: { errorCode: { code, phrase: "" }, ...fields },
        ...how,
      }),
    activate: () => activate(lone, undefined),
    activateRfc: () => activate(lone, NONCE),
    keepAnswering() {
      lone.isAnswering = true;
    },
  };
  drain(lone);
  return lone;
}

function activate(lone: LoneRelayClient, challenge: TurnFields | undefined): LoneRelayClient {
  lone.succeed(lone.sent.find(({ to }) => to === SERVER4) ?? lone.last("binding"), {
    mappedAddress: MAPPED4,
  });
  if (challenge !== undefined) lone.refuse(lone.last("allocate"), 401, challenge, { key: undefined });
  lone.succeed(lone.last("allocate"), { relayedAddresses: [RELAYED4, RELAYED6], lifetimeSeconds: 600 });
  return lone;
}

function answer(
  lone: LoneRelayClient,
  request: Sent,
  given: { readonly kind: "success" | "error"; readonly fields: TurnFields } & Answering,
): boolean {
  const { kind, fields, from = request.to, local } = given;
  const isSigned = request.method !== "binding" && !("key" in given && given.key === undefined);
  const { method, transactionId } = request.message.frame;
  const into = new Uint8Array(1_500);
  const length = encodeTurn(
    into,
    { method, class: kind, transactionId, fields },
    isSigned ? { key: given.key ?? KEY } : {},
  );
  const message = parseTurn(into.slice(0, length));
  if (!message.ok) throw new Error(message.reason);
  const own = request.to.address.length === 4 ? LOCAL4 : LOCAL6;
  return lone.run((client, now) =>
    client.handleStun(now, { from, local: local ?? own, message: message.value }),
  );
}

function drain(lone: LoneRelayClient): void {
  const { machine, sent, events, now } = lone;
  for (let next = machine.pollTransmit(); next !== undefined; next = machine.pollTransmit()) {
    const message = parseTurn(next.datagram);
    if (!message.ok) throw new Error(message.reason);
    const method = METHODS.get(message.value.frame.method) ?? "?";
    const request = { at: now, to: next.to, method, message: message.value, hex: toHex(next.datagram) };
    sent.push(request);
    if (lone.isAnswering && method === "binding") lone.succeed(request, { mappedAddress: MAPPED4 });
  }
  for (let next = machine.pollEvent(); next !== undefined; next = machine.pollEvent()) events.push(next);
}

function pass(lone: LoneRelayClient, ms: number): void {
  const end = lone.now + ms;
  for (let due = dueUntil(lone.machine, end); due !== undefined; due = dueUntil(lone.machine, end)) {
    if (due <= lone.now) throw new Error(`wakes at ${due}, but it is ${lone.now}`);
    lone.now = due;
    lone.run((client, now) => client.handleTimeout(now));
  }
  lone.now = instant(end);
}

/** Candidates as `kind address`. */
export function texts(events: readonly RelayClientEvent[]): readonly string[] {
  return events.map((event) =>
    event.kind === "channel-failed"
      ? `channel-failed ${formatSocketAddress(event.peer)}`
      : `${event.kind} ${event.candidate.kind} ${formatSocketAddress(event.candidate.address)}`,
  );
}

function warningLog(warnings: string[]): Log {
  const log: Log = { warn: (event) => warnings.push(event), scope: () => log };
  return log;
}
