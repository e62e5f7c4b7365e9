/**
 * The portal of the simulated world: the product's own machine on a host, and the connections of its peers,
 * which are the product's own, too (TS-12). What lies between them, WebSockets over TCP, is a pair of queues
 * that keep their order and wait while the peer is cut off:
 *
 *     tunnel ── requests ──▶ connection ── texts ─▶ queue ─▶ portal
 */
import { type Instant, ip, SILENT } from "../../src/base/index.ts";
import {
  type Channel,
  type ConnectParams,
  createPortalConnection,
  type PortalConnection,
  type PortalEvent,
  type PortalTransmit,
  type PortalUrl,
} from "../../src/portal/protocol/index.ts";
import {
  createPortalServer,
  createStateBuilder,
  EMPTY_STATE,
  type PortalServer,
  type StateBuilder,
} from "../../src/portal/server/index.ts";
import { modelOf, OFFICE, TOKENS } from "../unit/portal/server-world.ts";
import type { Network } from "./network.ts";
import type { Host, World } from "./world.ts";

const ADDRESS = "203.0.113.250";
const URL: PortalUrl = { scheme: "ws", host: ADDRESS, port: 80, path: "" };
/** Before TCP sends again what did not arrive. */
const RESEND_MS = 200;
/** The end of TCP without a close frame. */
const CLOSE_ABNORMAL = 1006;

export interface SimulatedPortal {
  readonly world: World;
  server: PortalServer;
  /** What is on its disk. */
  readonly disk: StateBuilder;
  /** Its configuration file. */
  file: string;
  starts: number;
  /** One way. */
  delayMs: number;
  /** While it is not, connections are refused. */
  isUp: boolean;
  /** Hosts whose way to it is cut, but no other. */
  readonly cutOff: Set<Host>;
  readonly sockets: Map<number, { readonly wire: Wire; readonly attempt: number }>;
}

export interface LineOptions<M, R> {
  readonly host: Host;
  readonly role: Role;
  /** Default: the one of its role. */
  readonly token?: string;
  readonly channel: Channel<M, R>;
  readonly params: () => ConnectParams;
  readonly handleMessage: (message: M) => void;
}

/** A peer's connection to the portal. */
export interface PortalLine<R> {
  /** Names of all events but messages, in order. */
  readonly events: readonly string[];
  /** Connects, or anew with the present parameters. */
  connect(): void;
  send(request: R): void;
  handleTimeout(): void;
  pollTimeout(): Instant | undefined;
  /** The process or its host is gone: nothing is said any more, and the portal sees the end of TCP, or nothing. */
  vanish(isSeen: boolean): void;
}

type Role = "client" | "gateway" | "relay";

/** A peer as the network sees it. */
interface Wire {
  readonly host: Host;
  readonly role: Role;
  readonly token: string;
  readonly up: Queue;
  readonly down: Queue;
  readonly connection: Pick<
    PortalConnection<never, never>,
    "handleOpen" | "handleFailure" | "handleText" | "handleClose"
  >;
  /** Does what follows from an input. */
  settle(): void;
}

/** One direction of a TCP connection. */
interface Queue {
  readonly waiting: (() => void)[];
  isPumping: boolean;
}

export function addPortal(world: World, { delayMs = 20, model = OFFICE } = {}): SimulatedPortal {
  const host = world.addHost("portal", { addresses: [ADDRESS] });
  const disk = createStateBuilder(EMPTY_STATE);
  const portal: SimulatedPortal = {
    world,
    server: createServer(world, model, disk),
    disk,
    file: model,
    starts: 0,
    delayMs,
    isUp: true,
    cutOff: new Set(),
    sockets: new Map(),
  };
  host.program = {
    handleDatagram: () => {},
    handleTimeout: (now) => portal.server.handleTimeout(now),
    pollTimeout: () => portal.server.pollTimeout(),
    pollTransmit: () => undefined,
    drain: () => flushPortal(portal),
  };
  return portal;
}

function createServer(world: World, file: string, disk: StateBuilder, starts = 0): PortalServer {
  return createPortalServer({
    model: modelOf(file),
    state: disk.state(),
    now: world.now(),
    wallNow: world.unixNow(),
    random: world.random(starts === 0 ? "portal" : `portal/${starts}`),
    log: SILENT,
  });
}

/** Another configuration, as after `SIGHUP` (PT-114). */
export function reloadPortal(portal: SimulatedPortal, file: string): void {
  portal.file = file;
  portal.server.handleModel(portal.world.now(), modelOf(file));
  flushPortal(portal);
}

/** A stopped portal begins again as another process, from what is on its disk (PT-115). */
export function startPortal(portal: SimulatedPortal): void {
  portal.starts++;
  portal.server = createServer(portal.world, portal.file, portal.disk, portal.starts);
  portal.isUp = true;
  flushPortal(portal);
}

/** Closes every connection, and refuses new ones until it is up again. */
export function stopPortal(portal: SimulatedPortal): void {
  const { world, server, sockets } = portal;
  portal.isUp = false;
  for (const [socket, { wire, attempt }] of sockets) {
    server.handleClose(world.now(), socket);
    carry(portal, wire, wire.down, () => wire.connection.handleClose(world.now(), attempt, CLOSE_ABNORMAL));
  }
  sockets.clear();
  flushPortal(portal);
}

export function dial<M, R>(portal: SimulatedPortal, options: LineOptions<M, R>): PortalLine<R> {
  const { world } = portal;
  const { host, role, token = TOKENS[role], channel, params, handleMessage } = options;
  const random = world.random(`line/${host.name}`);
  const connection = createPortalConnection<M, R>({ url: URL, channel, random, log: SILENT });
  const events: string[] = [];
  const wire: Wire = {
    host,
    role,
    token,
    connection,
    up: { waiting: [], isPumping: false },
    down: { waiting: [], isPumping: false },
    settle() {
      for (let next = connection.pollTransmit(); next !== undefined; next = connection.pollTransmit()) {
        carryOut(portal, wire, next);
      }
      for (let event = connection.pollEvent(); event !== undefined; event = connection.pollEvent()) {
        if (event.kind === "message") handleMessage(event.message);
        else if (event.kind === "resolve") connection.handleAddresses(world.now(), [ip(ADDRESS)]);
        else events.push(nameOf(event));
      }
      world.flush(host);
    },
  };
  const turn = (input: () => void): void => {
    input();
    wire.settle();
  };
  return {
    events,
    connect: () => turn(() => connection.connect(world.now(), params())),
    send: (request) => turn(() => connection.send(world.now(), request)),
    handleTimeout: () => turn(() => connection.handleTimeout(world.now())),
    pollTimeout: () => connection.pollTimeout(),
    vanish: (isSeen) => vanish(portal, wire, isSeen),
  };
}

function nameOf<M>(event: PortalEvent<M>): string {
  if (event.kind === "hiccup" || event.kind === "fatal") return `${event.kind} ${event.error.kind}`;
  return event.kind;
}

function carryOut(portal: SimulatedPortal, wire: Wire, transmit: PortalTransmit): void {
  const { world } = portal;
  const { attempt } = transmit;
  const toServer = (input: (socket: number) => void): void =>
    carry(portal, wire, wire.up, () => {
      const socket = socketOf(portal, wire, attempt);
      if (socket === undefined) return;
      input(socket);
      flushPortal(portal);
    });
  switch (transmit.kind) {
    case "open":
      return carry(portal, wire, wire.up, () => open(portal, wire, transmit));
    case "text":
      return toServer((socket) => portal.server.handleText(world.now(), socket, transmit.text));
    case "close":
    case "drop":
      return toServer((socket) => {
        portal.server.handleClose(world.now(), socket);
        portal.sockets.delete(socket);
        if (transmit.kind === "close") {
          carry(portal, wire, wire.down, () =>
            wire.connection.handleClose(world.now(), attempt, transmit.code),
          );
        }
      });
  }
}

function open(
  portal: SimulatedPortal,
  wire: Wire,
  { attempt, url }: Extract<PortalTransmit, { kind: "open" }>,
): void {
  const { world, server, isUp, sockets } = portal;
  const { connection, role, token } = wire;
  if (!isUp) {
    return carry(portal, wire, wire.down, () =>
      connection.handleFailure(
        world.now(),
        attempt,
        { kind: "unreachable", code: "ECONNREFUSED" },
        world.unixNow(),
      ),
    );
  }
  const [path, query] = url.slice(`ws://${ADDRESS}`.length).split("?");
  const verdict = server.handleUpgrade(world.now(), {
    path: path ?? "",
    query: new URLSearchParams(query),
    headers: {
      "x-authorization": `Bearer ${token}`,
      "user-agent": `Linux/6 ${role === "client" ? "headless-client" : role}/1.5.0 postern/0.1.0`,
      host: ADDRESS,
    },
    remote: outsideOf(wire.host),
  });
  if (verdict.ok) sockets.set(verdict.socket, { wire, attempt });
  carry(portal, wire, wire.down, () => {
    if (verdict.ok) return connection.handleOpen(world.now(), attempt);
    const status = verdict.refusal.status;
    connection.handleFailure(
      world.now(),
      attempt,
      { kind: "refused-upgrade", status, body: "" },
      world.unixNow(),
    );
  });
  flushPortal(portal);
}

/** Brings to the peers what the portal has for them. */
function flushPortal(portal: SimulatedPortal): void {
  const { world, server, sockets, disk } = portal;
  for (let write = server.pollPersist(); write !== undefined; write = server.pollPersist()) {
    for (const change of write.changes) disk.apply(change);
    server.handlePersisted(world.now(), write.revision);
  }
  for (let next = server.pollTransmit(); next !== undefined; next = server.pollTransmit()) {
    const transmit = next;
    const { wire, attempt } = sockets.get(transmit.socket) ?? {};
    if (wire === undefined || attempt === undefined) continue;
    if (transmit.kind === "close") sockets.delete(transmit.socket);
    carry(portal, wire, wire.down, () => {
      const now = world.now();
      if (transmit.kind === "text") wire.connection.handleText(now, attempt, transmit.text);
      else if (transmit.kind === "close") wire.connection.handleClose(now, attempt, transmit.code);
      else carry(portal, wire, wire.up, () => portal.server.handlePong(world.now(), transmit.socket));
    });
  }
}

/** One message, behind those before it, as soon as the way is open. */
function carry(portal: SimulatedPortal, wire: Wire, queue: Queue, arrive: () => void): void {
  queue.waiting.push(arrive);
  if (!queue.isPumping) pump(portal, wire, queue);
}

function pump(portal: SimulatedPortal, wire: Wire, queue: Queue): void {
  queue.isPumping = true;
  const count = queue.waiting.length;
  portal.world.at(portal.delayMs, () => {
    if (!isReachable(portal, wire.host)) return portal.world.at(RESEND_MS, () => pump(portal, wire, queue));
    for (const arrive of queue.waiting.splice(0, count)) arrive();
    if (queue === wire.down) wire.settle();
    queue.isPumping = false;
    if (queue.waiting.length > 0) pump(portal, wire, queue);
  });
}

function vanish(portal: SimulatedPortal, wire: Wire, isSeen: boolean): void {
  wire.up.waiting.length = 0;
  wire.down.waiting.length = 0;
  for (const [socket, { wire: other }] of portal.sockets) {
    if (other !== wire) continue;
    portal.sockets.delete(socket);
    if (!isSeen) continue;
    portal.world.at(portal.delayMs, () => {
      portal.server.handleClose(portal.world.now(), socket);
      flushPortal(portal);
    });
  }
}

function socketOf({ sockets }: SimulatedPortal, wire: Wire, attempt: number): number | undefined {
  for (const [socket, of] of sockets) if (of.wire === wire && of.attempt === attempt) return socket;
  return undefined;
}

/** TCP takes the same links as everything else. */
function isReachable({ cutOff }: SimulatedPortal, host: Host): boolean {
  const { link, network } = host;
  if (cutOff.has(host)) return false;
  for (let at: Network = network; ; ) {
    if (link.isDown || at.router?.link.isDown) return false;
    if (at.router === undefined) return true;
    at = at.router.above;
  }
}

/** The address that the Internet sees. */
function outsideOf(host: Host): Uint8Array {
  let outside = host.addresses;
  for (let { router } = host.network; router !== undefined; router = router.above.router) {
    if (router.nat !== undefined) outside = router.outside;
  }
  return outside[0] ?? ip("0.0.0.0");
}
