/** What is sent through an arm, and what is measured meanwhile. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { performance } from "node:perf_hooks";
import { PosternError, parseJson } from "../../base/index.ts";
import type { Child } from "../lab/index.ts";
import type { OpenArm } from "./arms.ts";
import { type Attempt, findLossFreeRate, UDP_BYTES } from "./loss-free.ts";
import { machineSeconds, processSeconds } from "./processor.ts";
import { spreadOf } from "./result.ts";

const START_MS = 10_000;
const SLACK_MS = 30_000;
const PINGS = 200;
const SEARCH_SECONDS = 1;
/** What the receiving program is late for is not the tunnel's loss. */
const SOCKET_BUFFER_BYTES = 4 << 20;

export interface Measured {
  readonly values: Readonly<Record<string, number>>;
  /** What neither tunnel nor load used of the processors, as a share of one. */
  readonly othersShare?: number;
}

export type Direction = "up" | "down";

/** Starts what the loads talk to, and wakes the tunnel. */
export async function openServer({ near, far, address }: OpenArm): Promise<Child> {
  const args = ["-s", "--forceflush", "-B", address];
  const server = far.start({ name: "iperf3", command: "iperf3", args });
  await server.waitForLine(/Server listening/, { withinMs: START_MS });
  await near.run("ping", ["-n", "-q", "-c", "2", "-i", "0.2", "-W", "3", address], { withinMs: START_MS });
  return server;
}

/** TCP streams: `rate` in Gbit/s that arrived, `cpu` in seconds of both tunnel programs per gigabyte. */
export async function tcp(
  arm: OpenArm,
  server: Child,
  of: { readonly streams: number; readonly direction: Direction; readonly seconds: number },
): Promise<Measured> {
  const { streams, direction, seconds } = of;
  const programs = (): number => arm.programs.reduce((sum, { pid }) => sum + processSeconds(pid), 0);
  const [before, machineBefore, serverBefore] = [programs(), machineSeconds(), processSeconds(server.pid)];
  const startedAt = performance.now();
  const end = await iperf(arm, seconds, [
    ...(streams > 1 ? ["-P", String(streams)] : []),
    ...(direction === "down" ? ["-R"] : []),
  ]);
  const elapsed = (performance.now() - startedAt) / 1000;
  const used = programs() - before;
  const ours =
    used +
    (processSeconds(server.pid) - serverBefore) +
    (numberAt(end, "cpu_utilization_percent", "host_total") / 100) * seconds;
  const bytes = numberAt(end, "sum_received", "bytes");
  return {
    values: {
      rate: numberAt(end, "sum_received", "bits_per_second") / 1e9,
      ...(used > 0 && bytes > 0 && arm.isInKernel !== true && { cpu: used / (bytes / 1e9) }),
    },
    othersShare: Math.max(0, (machineSeconds() - machineBefore - ours) / elapsed),
  };
}

/** The highest `rate` of UDP without loss, in Mbit/s. */
export async function udp(arm: OpenArm): Promise<Measured> {
  const bufferBytes = await grantedBuffer();
  const attempt = async (mbps: number): Promise<Attempt> => {
    const rate = mbps === 0 ? "0" : `${Math.round(mbps)}M`;
    const buffer = bufferBytes === undefined ? [] : ["-w", String(bufferBytes)];
    const args = ["-u", "-l", String(UDP_BYTES), "-b", rate, ...buffer];
    const end = await iperf(arm, SEARCH_SECONDS, args);
    const [packets, lost] = [numberAt(end, "sum", "packets"), numberAt(end, "sum", "lost_packets")];
    const bits = (packets - lost) * UDP_BYTES * 8;
    return { mbps: bits / numberAt(end, "sum", "seconds") / 1e6, loss: packets > 0 ? lost / packets : 1 };
  };
  return { values: { rate: await findLossFreeRate(attempt, 0) } };
}

/** As much of `SOCKET_BUFFER_BYTES` as the system grants: iperf3 ends where it is granted less than it asks for. */
export async function grantedBuffer(): Promise<number | undefined> {
  const socket = createSocket("udp4");
  try {
    socket.bind(0, "127.0.0.1");
    await once(socket, "listening");
    socket.setSendBufferSize(SOCKET_BUFFER_BYTES);
    socket.setRecvBufferSize(SOCKET_BUFFER_BYTES);
    // The kernel doubles the number for its own bookkeeping and reports it doubled.
    return Math.min(socket.getSendBufferSize(), socket.getRecvBufferSize()) / 2;
  } catch {
    // Not every runtime has these: what iperf3 has by default must do then.
    return undefined;
  } finally {
    socket.close();
  }
}

/** Round trips in ms: alone `idle`, and beside a TCP stream that takes all it can `loaded`. */
export async function roundTrips(arm: OpenArm): Promise<Measured> {
  const idle = await ping(arm);
  const load = arm.near.start({ name: "load", command: "iperf3", args: ["-c", arm.address, "-t", "60"] });
  try {
    await arm.near.run("sleep", ["1"]);
    return { values: { idle, loaded: await ping(arm) } };
  } finally {
    await load.stop();
  }
}

/** Asks until somebody answers. */
const UNTIL_ANSWERED =
  "for i in $(seq 1000); do ping -n -q -c 1 -W 1 $0 >/dev/null 2>&1 && exit 0; sleep 0.01; done; exit 1";

/** From the start of the near end's program to the first answer of the far end, in ms. */
export async function start(arm: OpenArm): Promise<Measured> {
  const { near, address, programs, startNear } = arm;
  if (startNear === undefined) return { values: {} };
  await programs[0]?.stop();
  const startedAt = performance.now();
  programs[0] = await startNear();
  await near.run("sh", ["-c", UNTIL_ANSWERED, address], { withinMs: SLACK_MS });
  return { values: { answer: performance.now() - startedAt } };
}

async function ping({ near, address }: OpenArm): Promise<number> {
  const args = ["-n", "-c", String(PINGS), "-i", "0.01", "-W", "2", address];
  const text = await near.run("ping", args, { withinMs: SLACK_MS });
  const times = [...text.matchAll(/time=([\d.]+) ms/g)].map((match) => Number(match[1]));
  const spread = spreadOf(times);
  if (spread === undefined)
    throw new PosternError("bench-ping", `no answer from ${address} through the tunnel`);
  return spread.median;
}

/** @returns what iperf3 says at its end */
async function iperf(arm: OpenArm, seconds: number, more: readonly string[]): Promise<unknown> {
  const args = ["-c", arm.address, "-t", String(seconds), "-J", "--connect-timeout", "5000", ...more];
  const text = await arm.near.run("iperf3", args, { withinMs: seconds * 1000 + SLACK_MS });
  const parsed = parseJson(text);
  if (!parsed.ok) throw new PosternError("bench-load", `iperf3 prints no JSON: ${text.trim().slice(-200)}`);
  const report = parsed.value;
  const error = at(report, "error");
  if (error !== undefined)
    throw new PosternError("bench-load", `iperf3 through ${arm.title}: ${String(error)}`);
  return at(report, "end");
}

function at(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, key) : undefined;
}

function numberAt(value: unknown, ...keys: readonly string[]): number {
  const found = keys.reduce<unknown>(at, value);
  if (typeof found === "number") return found;
  throw new PosternError("bench-load", `iperf3 says no ${keys.join(".")}`);
}
