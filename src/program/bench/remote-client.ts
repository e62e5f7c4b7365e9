/** `postern bench HOST`: what the way to a remote end carries, whatever tunnel it takes (PG-204). */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import { PosternError } from "../../base/index.ts";
import { type Attempt, findLossFreeRate, UDP_BYTES } from "./loss-free.ts";
import { BENCH_PORT, drain, GREETING, type LineReader, pump, readLines, sign } from "./remote-protocol.ts";
import { type Better, type Cell, spreadOf } from "./result.ts";

const CONNECT_MS = 10_000;
const PINGS = 100;
const PING_PAUSE_MS = 10;
const UDP_SECONDS_MAX = 1;
/** Where the search begins: more than a program in JavaScript sends. */
const UDP_MBPS_FIRST = 1000;

export interface RemotePlan {
  /** A name or address, with a port or without. */
  readonly host: string;
  readonly secret: string;
  readonly seconds: number;
  readonly pairs: number;
  readonly streams: readonly number[];
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
}

interface Remote {
  readonly plan: RemotePlan;
  readonly host: string;
  readonly port: number;
  readonly control: Socket;
  readonly lines: LineReader;
}

/** @throws PosternError `bench-remote` when nobody is there, or the secret is another */
export async function measureAgainst(plan: RemotePlan): Promise<readonly Cell[]> {
  const { host, port } = readHost(plan.host);
  const { socket: control, lines } = await open(plan, host, port, "control");
  const onAbort = (): void => void control.destroy();
  plan.signal.addEventListener("abort", onAbort);
  try {
    const remote: Remote = { plan, host, port, control, lines };
    const cells = await run(remote);
    control.write("end\n");
    return cells;
  } finally {
    plan.signal.removeEventListener("abort", onAbort);
    control.end();
  }
}

function readHost(text: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(text);
  const host = match?.[1] ?? match?.[2] ?? (text.includes(":") ? text : undefined);
  const port = Number(match?.[3] ?? BENCH_PORT);
  if (host === undefined || port < 1 || port > 65_535)
    throw new PosternError("usage", `${text} is no host`, "write HOST, HOST:PORT or [IPV6]:PORT");
  return { host, port };
}

async function run(remote: Remote): Promise<readonly Cell[]> {
  const { streams, pairs, say } = remote.plan;
  const tasks = [
    ...streams.flatMap((count) =>
      (["up", "down"] as const).map((direction) => {
        const title = `TCP ${direction}, ${count} stream${count === 1 ? "" : "s"}`;
        const of = cell(`tcp-${direction}-${count}`, title, "Gbit/s", "higher");
        return { of, measure: () => (direction === "up" ? up(remote, count) : down(remote, count)) };
      }),
    ),
    {
      of: cell(`udp-${UDP_BYTES}`, `UDP, ${UDP_BYTES} bytes, without loss`, "Mbit/s", "higher"),
      measure: () => udp(remote),
    },
    { of: cell("ping-idle", "round trip, idle", "ms", "lower"), measure: () => ping(remote) },
    {
      of: cell("ping-loaded", "round trip beside a TCP stream", "ms", "lower"),
      measure: () => loadedPing(remote),
    },
  ];
  const cells: Cell[] = [];
  for (const { of, measure } of tasks) {
    const samples: Cell["samples"][number][] = [];
    for (let pair = 0; pair < pairs; pair++) {
      remote.plan.signal.throwIfAborted();
      say(`${of.title}: run ${pair + 1} of ${pairs}`);
      samples.push({ arm: "remote", pair, value: await measure() });
    }
    cells.push({ ...of, samples });
  }
  return cells;
}

function cell(name: string, title: string, unit: string, better: Better): Omit<Cell, "samples"> {
  return { name, title, unit, better };
}

/** Opens a connection and says what it is for. */
async function open(plan: RemotePlan, host: string, port: number, request: string) {
  const socket = connect({ host, port, noDelay: true });
  socket.on("error", () => {});
  const late = setTimeout(() => socket.destroy(new Error("no answer within 10 s")), CONNECT_MS);
  try {
    await once(socket, "connect");
    const lines = readLines(socket);
    const [greeting, nonce = ""] = (await lines.next()).split(" ");
    if (greeting !== GREETING) throw new Error("what listens there is no `postern bench serve`");
    socket.write(`${request} ${sign(plan.secret, nonce, request)}\n`);
    if (request === "control") {
      socket.write("ping\n");
      await lines.next().catch(() => Promise.reject(new Error("it refuses this secret")));
    }
    return { socket, lines };
  } catch (cause) {
    socket.destroy();
    const why = cause instanceof Error ? cause.message : String(cause);
    const hint = "start `postern bench serve` there, and set POSTERN_BENCH_SECRET to what it prints";
    throw new PosternError("bench-remote", `no benchmark with ${host}, port ${port}: ${why}`, hint, {
      cause,
    });
  } finally {
    clearTimeout(late);
  }
}

/** Gbit/s that the other end received. */
async function up({ plan, host, port }: Remote, count: number): Promise<number> {
  const streams = await Promise.all(Array.from({ length: count }, () => open(plan, host, port, "up")));
  const stops = streams.map(({ socket }) => pump(socket));
  await wait(plan.seconds * 1000);
  for (const stop of stops) stop();
  const counts = await Promise.all(streams.map(({ lines }) => lines.next()));
  return counts.reduce((sum, line) => {
    const [bytes, ms] = line.split(" ").map(Number);
    return sum + rate(bytes ?? 0, ms ?? 0);
  }, 0);
}

async function down({ plan, host, port }: Remote, count: number): Promise<number> {
  const requests = Array.from({ length: count }, () => open(plan, host, port, `down:${plan.seconds}`));
  const streams = await Promise.all(requests);
  const counts = await Promise.all(streams.map(({ socket }) => drain(socket)));
  for (const { socket } of streams) socket.destroy();
  return counts.reduce((sum, { bytes, ms }) => sum + rate(bytes, ms), 0);
}

function rate(bytes: number, ms: number): number {
  return ms > 0 ? (bytes * 8) / (ms * 1e6) : 0;
}

/** The median of round trips on the control connection, in ms. */
async function ping({ control, lines }: Remote): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < PINGS; i++) {
    const startedAt = performance.now();
    control.write("ping\n");
    await lines.next();
    times.push(performance.now() - startedAt);
    await wait(PING_PAUSE_MS);
  }
  return spreadOf(times)?.median ?? 0;
}

async function loadedPing(remote: Remote): Promise<number> {
  const { socket } = await open(remote.plan, remote.host, remote.port, "up");
  const stop = pump(socket);
  try {
    await wait(500);
    return await ping(remote);
  } finally {
    stop();
    socket.destroy();
  }
}

function udp(remote: Remote): Promise<number> {
  return findLossFreeRate((mbps) => sendDatagrams(remote, mbps), UDP_MBPS_FIRST);
}

async function sendDatagrams({ plan, host, port, control, lines }: Remote, mbps: number): Promise<Attempt> {
  const untilMs = Math.min(plan.seconds, UDP_SECONDS_MAX) * 1000;
  control.write("udp\n");
  const token = Buffer.from((await lines.next()).split(" ")[1] ?? "", "hex");
  const socket = createSocket(control.remoteFamily === "IPv6" ? "udp6" : "udp4");
  socket.on("error", () => {});
  const datagram = Buffer.concat([token, Buffer.alloc(UDP_BYTES - token.length)]);
  const perMs = (mbps * 1e6) / 8 / UDP_BYTES / 1000;
  const startedAt = performance.now();
  let sent = 0;
  for (let elapsed = 0; elapsed < untilMs; elapsed = performance.now() - startedAt) {
    while (sent < elapsed * perMs && performance.now() - startedAt < elapsed + 2) {
      socket.send(datagram, port, host);
      sent++;
    }
    await wait(1);
  }
  const elapsed = performance.now() - startedAt;
  await wait(200);
  socket.close();
  control.write("count\n");
  const arrived = Number((await lines.next()).split(" ")[1] ?? 0);
  return { mbps: (arrived * UDP_BYTES * 8) / (elapsed * 1000), loss: sent === 0 ? 1 : 1 - arrived / sent };
}
