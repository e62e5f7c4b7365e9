/** The portal's machine in virtual time, with clients and gateways that speak typed messages. */
import {
  createSeededRandom,
  type Instant,
  type IpAddress,
  instant,
  ip,
  type Log,
  SILENT,
  toBase64,
  toHex,
  unixMs,
} from "../../../src/base/index.ts";
import { type DevDefaults, parsePortalFile } from "../../../src/portal/config/index.ts";
import { formatToken, hashToken, parseToken, type TokenKind } from "../../../src/portal/derive.ts";
import {
  type ClientMessage,
  type ClientRequest,
  clientChannel,
  type GatewayMessage,
  type GatewayRequest,
  gatewayChannel,
  parseFrame,
  toFrameText,
} from "../../../src/portal/protocol/index.ts";
import {
  createPortalServer,
  createStateBuilder,
  EMPTY_STATE,
  type PeerLimits,
  type PortalModel,
  type PortalServer,
  type StoredState,
  type UpgradeVerdict,
} from "../../../src/portal/server/index.ts";
import { dueUntil, nextTurn } from "../../lib/bounds.ts";

/** A Tuesday noon. */
export const WALL_START = Date.UTC(2026, 0, 27, 12);

function token(kind: TokenKind, n: number): string {
  return formatToken(kind, new Uint8Array(16), new Uint8Array(32).fill(n));
}

export const TOKENS = {
  gateway: token("gateway", 1),
  client: token("client", 2),
  relay: token("relay", 3),
  alice: token("client", 4),
  bob: token("client", 5),
  munich: token("gateway", 6),
  north: token("relay", 7),
  south: token("relay", 8),
} as const;

const READ_ENV: Readonly<Record<string, string>> = {
  ALICE: TOKENS.alice,
  BOB: TOKENS.bob,
  MUNICH: TOKENS.munich,
  NORTH: TOKENS.north,
  SOUTH: TOKENS.south,
};

const DEV: DevDefaults = {
  tokens: { gateway: hashOf(TOKENS.gateway), client: hashOf(TOKENS.client), relay: hashOf(TOKENS.relay) },
};

export const OFFICE = `version: 1
resources: [{ name: Office, type: cidr, address: 172.20.0.0/16, site: default }]
policies: [{ group: dev, resource: Office }]
`;

export function modelOf(text: string): PortalModel {
  const result = parsePortalFile(text, {
    dev: DEV,
    readEnv: (name) => READ_ENV[name],
    readFile: () => undefined,
  });
  if (!result.ok) throw new Error(JSON.stringify(result.issues));
  return result.model;
}

/** A socket of the portal's, seen from the other side. */
export interface Wire {
  readonly socket: number;
  /** Event names in order, replies as `reply ok` or `reply <reason>`. */
  readonly log: string[];
  readonly frames: { readonly event: string; readonly payload: unknown; readonly ref: unknown }[];
  closeCode: number | undefined;
  pings: number;
  /** A half-open connection does not. */
  answersPings: boolean;
  raw(text: string): void;
  frame(event: string, payload: unknown, topic?: string): void;
  close(): void;
}

export interface ClientWire extends Wire {
  readonly messages: ClientMessage[];
  send(request: ClientRequest): void;
  last<K extends ClientMessage["kind"]>(kind: K): ClientMessage & { readonly kind: K };
}

export interface GatewayWire extends Wire {
  readonly messages: GatewayMessage[];
  send(request: GatewayRequest): void;
  last<K extends GatewayMessage["kind"]>(kind: K): GatewayMessage & { readonly kind: K };
  /** Answers the last `authorize-flow`. */
  answer(): void;
}

export interface Identity {
  readonly id?: string;
  readonly token?: string;
  readonly key?: number;
  readonly version?: string;
  readonly remote?: IpAddress;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string | undefined>>;
  readonly joins?: boolean;
}

export interface World {
  readonly server: PortalServer;
  now: Instant;
  /** While false, nothing reaches the disk. */
  hasDisk: boolean;
  /** What is on disk. */
  stored: StoredState;
  upgrade(role: "client" | "gateway" | "relay", identity?: Identity): UpgradeVerdict;
  client(identity?: Identity): ClientWire;
  gateway(identity?: Identity): GatewayWire;
  /** Joins with a secret made of the number. */
  relay(secret: number, identity?: Identity, more?: object): Wire;
  reload(text: string): void;
  pass(ms: number): void;
  run(input: (now: Instant) => void): void;
  flush(): void;
}

/** A wire of either role, before the caller says which. */
type AnyWire = Wire & { readonly messages: { readonly kind: string }[] };

type Wires = Map<number, AnyWire>;

export function createWorld(
  text: string = OFFICE,
  state: StoredState = EMPTY_STATE,
  limits: PeerLimits = {},
  log: Log = SILENT,
): World {
  const start = instant(5_000_000);
  const server = createPortalServer({
    model: modelOf(text),
    state,
    now: start,
    wallNow: unixMs(WALL_START),
    // Another process draws other ids.
    random: createSeededRandom(7 + state.devices.length),
    log,
    limits,
  });
  const disk = createStateBuilder(state);
  const wires: Wires = new Map();
  const world: World = {
    server,
    now: start,
    hasDisk: true,
    stored: state,
    upgrade: (role, identity = {}) => upgrade(world, role, identity),
    client: (identity = {}) => connect(world, wires, "client", identity) as unknown as ClientWire,
    gateway: (identity = {}) => connect(world, wires, "gateway", identity) as unknown as GatewayWire,
    relay(secret, identity = {}, more = {}) {
      const wire = connect(world, wires, "relay", { ...identity, joins: false });
      if (identity.joins !== false) wire.frame("phx_join", { stamp_secret: secretOf(secret), ...more });
      return wire;
    },
    reload: (file) => world.run((now) => server.handleModel(now, modelOf(file))),
    pass: (ms) => pass(world, ms),
    run(input) {
      input(world.now);
      world.flush();
    },
    flush() {
      let turns = 0;
      do {
        turns = nextTurn(turns, "what the portal writes");
        sendAll(world, wires);
      } while (persist(world, disk));
    },
  };
  return world;
}

function upgrade(world: World, role: "client" | "gateway" | "relay", identity: Identity): UpgradeVerdict {
  let verdict: UpgradeVerdict | undefined;
  world.run((now) => {
    verdict = world.server.handleUpgrade(now, requestOf(role, identity));
  });
  if (verdict === undefined) throw new Error("no verdict");
  return verdict;
}

function pass(world: World, ms: number): void {
  const { server } = world;
  const end = world.now + ms;
  let turns = 0;
  for (let at = dueUntil(server, end); at !== undefined; at = dueUntil(server, end)) {
    turns = nextTurn(turns, "the portal's timers");
    world.now = instant(Math.max(at, world.now));
    world.run((now) => server.handleTimeout(now));
  }
  world.now = instant(end);
}

/** Brings to the other sides what the portal has for them. */
function sendAll({ server, now }: World, wires: Wires): void {
  for (let next = server.pollTransmit(); next !== undefined; next = server.pollTransmit()) {
    const wire = wires.get(next.socket);
    if (wire === undefined || wire.closeCode !== undefined) continue;
    if (next.kind === "text") deliver(wire, next.text);
    else if (next.kind === "ping") {
      wire.pings++;
      if (wire.answersPings) server.handlePong(now, next.socket);
    } else wire.closeCode = next.code;
  }
}

/** Writes what the portal wants to keep; says whether there was anything. */
function persist(world: World, disk: ReturnType<typeof createStateBuilder>): boolean {
  const write = world.hasDisk ? world.server.pollPersist() : undefined;
  if (write === undefined) return false;
  for (const change of write.changes) disk.apply(change);
  world.stored = disk.state();
  world.server.handlePersisted(world.now, write.revision);
  return true;
}

/** The stamp secret of a test's relay. */
export function secretOf(n: number): string {
  return toHex(new Uint8Array(32).fill(n));
}

function connect(
  world: World,
  wires: Wires,
  role: "client" | "gateway" | "relay",
  identity: Identity,
): AnyWire {
  const verdict = world.upgrade(role, identity);
  if (!verdict.ok) throw new Error(`refused: ${JSON.stringify(verdict.refusal)}`);
  const wire = createWire(world, role, verdict.socket);
  wires.set(verdict.socket, wire);
  if (identity.joins !== false) wire.frame("phx_join", {});
  return wire;
}

function createWire({ server, run }: World, role: "client" | "gateway" | "relay", socket: number): AnyWire {
  const channel = role === "client" ? clientChannel : gatewayChannel;
  const messages: { readonly kind: string }[] = [];
  const wire = {
    socket,
    log: [] as string[],
    frames: [] as { event: string; payload: unknown; ref: unknown }[],
    messages,
    closeCode: undefined as number | undefined,
    pings: 0,
    answersPings: true,
    raw: (text: string) => run((now) => server.handleText(now, socket, text)),
    frame: (event: string, payload: unknown, topic: string = role) =>
      wire.raw(toFrameText({ topic, event, payload, ref: wire.log.length })),
    close: () => run((now) => server.handleClose(now, socket)),
    send(request: never) {
      const { event, payload } = channel.toRequestEvent(request);
      wire.frame(event, payload);
    },
    last(kind: string) {
      const found = messages.findLast((message) => message.kind === kind);
      if (found === undefined) throw new Error(`no ${kind} among ${wire.log.join(", ")}`);
      return found;
    },
    answer() {
      const { ref } = wire.last("authorize-flow") as unknown as { ref: string };
      wire.send({ kind: "flow-authorized", ref } as never);
    },
  };
  return wire;
}

function deliver(wire: AnyWire, text: string): void {
  const frame = parseFrame(text);
  if (!frame.ok) throw new Error(`the portal sent ${text}`);
  const { topic, event, payload, ref } = frame.value;
  wire.frames.push({ event, payload, ref });
  if (event === "phx_reply") {
    const { status, response } = payload as { status: string; response: { reason?: string } };
    wire.log.push(`reply ${status === "ok" ? "ok" : response.reason}`);
    return;
  }
  wire.log.push(event);
  if (topic === "relay") return;
  const channel = topic === "client" ? clientChannel : gatewayChannel;
  const result = channel.parseMessage(event, payload);
  if (result.kind === "message") wire.messages.push(result.message);
  else if (event !== "disconnect") throw new Error(`the portal sent ${result.kind}: ${text}`);
}

export function requestOf(role: "client" | "gateway" | "relay", identity: Identity) {
  const query = new URLSearchParams({
    external_id: identity.id ?? `${role}-1`,
    name: identity.id ?? role,
    ...(role === "relay" ? { ipv4: "192.0.2.1" } : {}),
    public_key: toBase64(new Uint8Array(32).fill(identity.key ?? (role === "client" ? 1 : 2))),
    ...identity.query,
  });
  const component = role === "client" ? "headless-client" : role;
  return {
    path: `/${role}/websocket`,
    query,
    headers: {
      "x-authorization": `Bearer ${identity.token ?? TOKENS[role]}`,
      "user-agent": `Linux/6 ${component}/${identity.version ?? "1.5.0"} postern/0.1.0`,
      host: "portal.example",
      ...identity.headers,
    },
    remote: identity.remote ?? ip("198.51.100.7"),
  };
}

/** The id of a resource by its name. */
export function ridOf(client: ClientWire, name = "Office"): string {
  const { resources } = client.last("init");
  const found = resources.find((resource) => resource.name === name);
  if (found === undefined) throw new Error(`no resource ${name}`);
  return found.rid;
}

export function createFlow(rid: string, ...connectedGatewayIds: readonly string[]): ClientRequest {
  return { kind: "create-flow", rid, connectedGatewayIds };
}

function hashOf(text: string): string {
  const parsed = parseToken(text);
  if (parsed === undefined) throw new Error("no token");
  return toHex(hashToken(parsed));
}
