/** coturn on loopback, and a relay client of ours on real UDP sockets. */
import { type ChildProcess, spawn } from "node:child_process";
import { createSocket, type Socket } from "node:dgram";
import { mkdtempSync, rmSync } from "node:fs";
import type { Socket as Stream } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  createSeededRandom,
  formatIp,
  type Instant,
  instant,
  ip,
  type Log,
  type SocketAddress,
  unixMs,
} from "../../src/base/index.ts";
import { openBridge } from "../../src/program/stream/index.ts";
import {
  CHANNEL_LAST,
  createRelayClient,
  encodeChannelData,
  parseChannelData,
  parseTurn,
  type RelayClient,
  type RelayClientEvent,
  type RelayServers,
} from "../../src/turn/index.ts";

export const USER = { username: "anna", password: "secret" };
export const OTHER_USER = { username: "berta", password: "secret too" };
const REALM = "postern.example";
const VECTORS = join(import.meta.dirname, "../vectors/portal/localhost");
const LOOPBACK = ["127.0.0.1", "::1"] as const;

export interface Coturn {
  /** Of UDP and TCP. */
  readonly port: number;
  readonly tlsPort: number;
  close(): Promise<void>;
}

/** @param options of turnserver besides those that every test needs */
export async function startCoturn(options: readonly string[] = []): Promise<Coturn> {
  const folder = mkdtempSync(join(tmpdir(), "postern-coturn-"));
  const [port, tlsPort] = [await freePort(), await freePort()];
  const users = [USER, OTHER_USER].flatMap(({ username, password }) => ["-u", `${username}:${password}`]);
  const addresses = LOOPBACK.flatMap((address) => ["-L", address, "-E", address]);
  const child = spawn(
    "turnserver",
    [
      ...["-n", "--no-cli", "--no-dtls", "--lt-cred-mech", "-r", REALM, "-p", `${port}`],
      ...["--tls-listening-port", `${tlsPort}`, "--cert", `${VECTORS}.crt`, "--pkey", `${VECTORS}.key`],
      ...["--userdb", join(folder, "turndb"), "--pidfile", join(folder, "pid"), "--log-file", "stdout"],
      ...["--allow-loopback-peers", "--denied-peer-ip", "127.0.0.9", ...users, ...addresses, ...options],
    ],
    { stdio: ["ignore", "pipe", "pipe"], cwd: folder },
  );
  const close = async (): Promise<void> => {
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await isAnswering(child, port);
  } catch (error) {
    await close();
    throw error;
  }
  return { port, tlsPort, close };
}

/** Asks by Binding until both families answer. */
async function isAnswering(child: ChildProcess, port: number): Promise<void> {
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on("data", (data: Buffer) => {
      output = `${output}${data}`.slice(-4_000);
    });
  }
  const client = await openRelayClient(port);
  try {
    const kinds = () =>
      client.events.map((event) => (event.kind === "added" ? event.candidate.base.address.length : 0));
    // Requests are repeated for eight seconds; a client that is freed by then says so.
    await client.until(() => kinds().includes(4) && kinds().includes(16), 8_000);
  } catch (error) {
    throw new Error(`coturn does not answer:\n${output}`, { cause: error });
  } finally {
    await client.close();
  }
}

export interface LiveRelayClient {
  readonly machine: RelayClient;
  readonly events: RelayClientEvent[];
  /** Codes of the error answers so far. */
  readonly codes: number[];
  /** What came by channels, as text. */
  readonly received: { readonly peer: SocketAddress; readonly text: string }[];
  run<T>(input: (machine: RelayClient, now: Instant) => T): T;
  /** Binds a channel and sends right behind the request (RL-101). */
  send(peer: SocketAddress, text: string): void;
  until(condition: () => boolean, withinMs: number): Promise<void>;
  close(): Promise<void>;
}

/** By UDP. @param families over which coturn is asked: with both, the first answer decides anew at each restart (RL-80) */
export async function openRelayClient(
  port: number,
  credentials = USER,
  families: "both" | "v4" = "both",
): Promise<LiveRelayClient> {
  const v4 = { address: ip("127.0.0.1"), port };
  const servers = families === "v4" ? { v4 } : { v4, v6: { address: ip("::1"), port } };
  return createLiveClient(await Promise.all(LOOPBACK.map(openSocket)), servers, credentials);
}

/** By a stream that is open, through the bridge that client and gateway have (RL-210). */
export async function openStreamClient(stream: Stream): Promise<LiveRelayClient> {
  const sockets = await Promise.all(LOOPBACK.map(openSocket));
  const own = { address: ip("127.0.0.1"), port: sockets[0]?.address().port ?? 0 };
  const bridge = await openBridge({
    stream,
    address: "127.128.0.9",
    peer: () => own,
    now,
    onEnd: () => {},
  });
  const client = createLiveClient(sockets, { v4: bridge.udp }, USER);
  return {
    ...client,
    async close() {
      bridge.close();
      await client.close();
    },
  };
}

function createLiveClient(
  sockets: readonly Socket[],
  servers: RelayServers,
  credentials: typeof USER,
): LiveRelayClient {
  const codes: number[] = [];
  const client: Mutable = {
    machine: createRelayClient({
      servers,
      credentials,
      realm: REALM,
      dialect: "rfc",
      software: "postern/test",
      random: createSeededRandom(servers.v4?.port ?? 0),
      now: now(),
      unixNow: unixMs(Date.now()),
      acceptsLoopback: true,
      log: codeLog(codes),
    }),
    sockets,
    timer: undefined,
    waiting: new Set(),
    events: [],
    codes,
    received: [],
    run(input) {
      const result = input(client.machine, now());
      settle(client);
      return result;
    },
    send(peer, text) {
      client.run((machine, at) => machine.bindChannel(at, peer));
      const channel = client.machine.channelTo(now(), peer);
      const to = client.machine.activeSocket();
      if (channel === undefined || to === undefined) throw new Error("no channel");
      const into = new Uint8Array(200);
      const length = encodeChannelData(into, { channel, data: new TextEncoder().encode(text) });
      transmit(client, to, into.slice(0, length));
      client.run((machine, at) => machine.noteChannelDataSent(at, channel));
    },
    until: (condition, withinMs) => until(client, condition, withinMs),
    async close() {
      clearTimeout(client.timer);
      await Promise.all(
        sockets.map((socket) => new Promise<void>((resolve) => socket.close(() => resolve()))),
      );
    },
  };
  for (const socket of sockets) socket.on("message", (bytes, from) => receive(client, socket, bytes, from));
  settle(client);
  return client;
}

/** A socket that answers every datagram with the same in capitals. */
export async function openEcho(address: string): Promise<{ readonly at: SocketAddress; close(): void }> {
  const socket = await openSocket(address);
  socket.on("message", (bytes, from) => socket.send(bytes.toString().toUpperCase(), from.port, from.address));
  return { at: { address: ip(address), port: socket.address().port }, close: () => socket.close() };
}

interface Mutable extends LiveRelayClient {
  readonly sockets: readonly Socket[];
  readonly waiting: Set<() => void>;
  timer: NodeJS.Timeout | undefined;
}

function now(): Instant {
  return instant(Math.floor(performance.now()));
}

function receive(
  client: Mutable,
  socket: Socket,
  datagram: Uint8Array,
  sender: { readonly address: string; readonly port: number },
): void {
  const from = { address: ip(sender.address), port: sender.port };
  const own = socket.address();
  const bytes = Uint8Array.from(datagram);
  const channelData = parseChannelData(bytes, CHANNEL_LAST);
  client.run((machine, at) => {
    if (channelData.ok) {
      const peer = machine.peerOf(at, channelData.value.channel);
      if (peer !== undefined) {
        client.received.push({ peer, text: new TextDecoder().decode(channelData.value.data) });
      }
      return;
    }
    const message = parseTurn(bytes);
    const local = { address: ip(own.address), port: own.port };
    if (message.ok) machine.handleStun(at, { from, local, message: message.value });
  });
}

function settle(client: Mutable): void {
  const { machine, events } = client;
  for (let next = machine.pollTransmit(); next !== undefined; next = machine.pollTransmit()) {
    transmit(client, next.to, next.datagram);
  }
  for (let next = machine.pollEvent(); next !== undefined; next = machine.pollEvent()) events.push(next);
  clearTimeout(client.timer);
  const due = machine.pollTimeout();
  if (due !== undefined) {
    client.timer = setTimeout(() => client.run((one, at) => one.handleTimeout(at)), Math.max(1, due - now()));
  }
  for (const look of [...client.waiting]) look();
}

function transmit({ sockets }: Mutable, to: SocketAddress, datagram: Uint8Array): void {
  sockets[to.address.length === 4 ? 0 : 1]?.send(datagram, to.port, formatIp(to.address));
}

/** Looks after every datagram and every timeout of the machine. */
function until(client: Mutable, condition: () => boolean, withinMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = (settleBy: () => void): void => {
      clearTimeout(bound);
      client.waiting.delete(look);
      settleBy();
    };
    const look = (): void => {
      if (condition()) end(resolve);
    };
    const state = () => `${client.machine.state()}, answers ${client.codes.join()}`;
    const bound = setTimeout(
      () => end(() => reject(new Error(`not within ${withinMs} ms: ${state()}`))),
      withinMs,
    );
    client.waiting.add(look);
    look();
  });
}

function openSocket(address: string): Promise<Socket> {
  const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
  return new Promise((resolve, reject) => {
    socket.once("error", reject);
    socket.bind(0, address, () => resolve(socket));
  });
}

async function freePort(): Promise<number> {
  const socket = await openSocket("127.0.0.1");
  const { port } = socket.address();
  await new Promise<void>((resolve) => socket.close(() => resolve()));
  return port;
}

/** The lines of `wire.turn` name the code of each error answer (RL-120). */
function codeLog(codes: number[]): Log {
  const log: Log = {
    debug(_event, fields = {}) {
      const { code } = fields;
      if (typeof code === "number") codes.push(code);
    },
    scope: () => log,
  };
  return log;
}
