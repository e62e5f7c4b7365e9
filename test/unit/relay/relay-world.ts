/** A relay's machine with clients around it: whatever it wants done is done at once and written down. */
import {
  createSeededRandom,
  formatSocketAddress,
  type Instant,
  instant,
  ip,
  parseSocketAddress,
  SILENT,
  type SocketAddress,
  type UnixMs,
  unixMs,
} from "../../../src/base/index.ts";
import type { IpFamily, PortResult, RelayCommand } from "../../../src/plane/index.ts";
import { createTurnServer, type TurnServer, type TurnServerOptions } from "../../../src/relay/index.ts";
import {
  encodeTurn,
  longTermKey,
  METHOD_ALLOCATE,
  METHOD_CHANNEL_BIND,
  METHOD_REFRESH,
  parseTurn,
  relayPassword,
  TRANSPORT_UDP,
  type TurnFields,
  type TurnMessage,
} from "../../../src/turn/index.ts";

export const SECRET = "2b7400b5af0693d3469ec96ad21fe00cc0d52ea8e4df626d21b28b159b6c7f57";
export const REALM = "firezone";
export const START = instant(1_000_000);
export const START_UNIX = unixMs(1_767_225_600_000);
const START_SECONDS = START_UNIX / 1000;

export const PUBLIC_V4 = ip("198.51.100.7");
export const PUBLIC_V6 = ip("2001:db8::7");

export const LIMITS = {
  allocationsMax: 10_000,
  allocationsPerUser: 1,
  bindingsMax: 65_536,
  bindingsPerAllocation: 4096,
};

export function at(text: string): SocketAddress {
  const result = parseSocketAddress(text);
  if (!result.ok) throw new Error(`not an address: ${text}`);
  return result.value;
}

export function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

export interface World {
  readonly server: TurnServer;
  readonly commands: RelayCommand[];
  now: Instant;
  /** How binding a port ends; `undefined`: not yet. */
  onBind: (port: number, families: readonly IpFamily[]) => PortResult | undefined;
  /** Sends a datagram and gives the answer to that address, if there is one. */
  send(client: SocketAddress, datagram: Uint8Array): TurnMessage | undefined;
  /** Answers that came without a datagram. */
  drain(): readonly TurnMessage[];
  wait(ms: number): void;
  unix(): UnixMs;
}

export type WorldOptions = Partial<TurnServerOptions> & { readonly without?: IpFamily };

export function createWorld({ without, ...overrides }: WorldOptions = {}): World {
  const server = createTurnServer({
    now: START,
    unixMs: START_UNIX,
    random: createSeededRandom(1),
    log: SILENT,
    ...(without !== 4 && { publicIp4: PUBLIC_V4 }),
    ...(without !== 6 && { publicIp6: PUBLIC_V6 }),
    listenPort: 3478,
    ports: { lowest: 49152, highest: 65535 },
    realm: REALM,
    stampSecret: SECRET,
    policy: { privatePeers: "auto", deniedPeers: [], allowLoopbackPeers: false },
    limits: LIMITS,
    ...overrides,
  });
  const world: World = {
    server,
    commands: [],
    now: START,
    onBind: () => "ok",
    send(client, datagram) {
      server.handleClient(world.now, { datagram, client });
      const answers = drain(world);
      const key = formatSocketAddress(client);
      return answers.find(({ to }) => formatSocketAddress(to) === key)?.message;
    },
    drain: () => drain(world).map(({ message }) => message),
    wait(ms) {
      world.now = instant(world.now + ms);
      server.handleTimeout(world.now);
      drain(world);
    },
    unix: () => unixMs(START_UNIX + world.now - START),
  };
  return world;
}

function drain(world: World): readonly { readonly to: SocketAddress; readonly message: TurnMessage }[] {
  const { server, commands } = world;
  for (let command = server.pollCommand(); command !== undefined; command = server.pollCommand()) {
    commands.push(command);
    if (command.kind !== "bind-port") continue;
    const result = world.onBind(command.port, command.families);
    if (result !== undefined) server.handlePortBound(world.now, { token: command.token, result });
  }
  const answers = [];
  for (let next = server.pollTransmit(); next !== undefined; next = server.pollTransmit()) {
    answers.push({ to: next.to, message: messageOf(next.datagram) });
  }
  return answers;
}

export function messageOf(datagram: Uint8Array): TurnMessage {
  const result = parseTurn(datagram);
  if (!result.ok) throw new Error(result.reason);
  return result.value;
}

export interface RequestOptions {
  readonly username?: string;
  /** `undefined`: not signed. */
  readonly key?: Uint8Array;
  readonly nonce?: string;
  readonly hasFingerprint?: boolean;
  readonly transactionId?: Uint8Array;
}

let lastTransaction = 0;

export function newTransaction(): Uint8Array {
  const id = new Uint8Array(12);
  new DataView(id.buffer).setUint32(8, ++lastTransaction);
  return id;
}

export function encodeRequest(
  method: number,
  fields: TurnFields,
  { username, key, nonce, hasFingerprint = false, transactionId = newTransaction() }: RequestOptions = {},
): Uint8Array {
  const into = new Uint8Array(2304);
  const all = {
    ...fields,
    ...(username !== undefined && { username: utf8(username), realm: utf8(REALM) }),
    ...(nonce !== undefined && { nonce: utf8(nonce) }),
  };
  const length = encodeTurn(
    into,
    { method, class: "request", transactionId, fields: all },
    { hasFingerprint, ...(key && { key }) },
  );
  return into.slice(0, length);
}

export interface Client {
  readonly address: SocketAddress;
  readonly username: string;
  readonly key: Uint8Array;
  nonce: string | undefined;
  /** An authenticated request; a nonce is fetched first if there is none. */
  request(method: number, fields: TurnFields, options?: RequestOptions): TurnMessage | undefined;
  allocate(fields?: TurnFields, options?: RequestOptions): TurnMessage | undefined;
  refresh(fields?: TurnFields): TurnMessage | undefined;
  bind(channel: number, peer: string): TurnMessage | undefined;
}

export const UDP: TurnFields = { requestedTransport: TRANSPORT_UDP };

export function keyFor(username: string): Uint8Array {
  const [expiry, salt = ""] = username.split(":");
  const password = relayPassword(SECRET, { expiry: Number(expiry), salt });
  return longTermKey({ username, realm: REALM, password });
}

/** As long as those of the portal (RL-7): answers are not signed when that made them longer (RL-58). */
export function saltOf(name: string): string {
  return name.padEnd(43, "+");
}

export function createClient(
  world: World,
  text: string,
  { user = "alice", lifeSeconds = 1_000_000 } = {},
): Client {
  const address = at(text);
  const username = `${START_SECONDS + lifeSeconds}:${saltOf(user)}`;
  const key = keyFor(username);
  const client: Client = {
    address,
    username,
    key,
    nonce: undefined,
    request(method, fields, options = {}) {
      client.nonce ??= fetchNonce(world, client);
      const own = { username, key, nonce: client.nonce };
      return world.send(address, encodeRequest(method, fields, { ...own, ...options }));
    },
    allocate: (fields = UDP, options = {}) => client.request(METHOD_ALLOCATE, fields, options),
    refresh: (fields = {}) => client.request(METHOD_REFRESH, fields),
    bind: (channel, peer) =>
      client.request(METHOD_CHANNEL_BIND, { channelNumber: channel, peerAddress: at(peer) }),
  };
  return client;
}

export function fetchNonce(world: World, client: Client): string {
  const answer = world.send(client.address, encodeRequest(METHOD_ALLOCATE, UDP));
  const nonce = answer?.fields.nonce;
  if (nonce === undefined) throw new Error("no nonce");
  return new TextDecoder().decode(nonce);
}

export function codeOf(message: TurnMessage | undefined): number | "success" | undefined {
  if (message === undefined) return undefined;
  return message.frame.class === "success" ? "success" : message.fields.errorCode?.code;
}

export function portOf(message: TurnMessage | undefined): number {
  const port = message?.fields.relayedAddresses?.[0]?.port;
  if (port === undefined) throw new Error(`no relayed address: ${codeOf(message)}`);
  return port;
}
