/**
 * Two planes of this process with real workers, each with a TUN device and sockets in a namespace of its own. What
 * runs is what the build made, because threads cannot load sources.
 *
 *     program ── tun ── plane A ══ UDP over veth ══ plane B ── tun ── program
 */
import { createSocket } from "node:dgram";
import { connect as connectTo, createServer } from "node:net";
import { Worker } from "node:worker_threads";
import type { Kernel, Tun, UdpSockets } from "../../bindings/linux/index.ts";
import type { Plane, PlaneDescriptors } from "../../bindings/plane/index.ts";
import type { PlaneThreads, ThreadBackEnd } from "../../bindings/thread/index.ts";
import { instant, ip, prefix } from "../../src/base/index.ts";
import { patient } from "../../src/program/lab/index.ts";
import { createNamespace, joinByVeth, type OwnNamespace } from "../system/own-namespace.ts";
import { compileVariant } from "../unit/crypto/modules.ts";
import { sessionKeys } from "../unit/plane/pair.ts";

type Built = typeof import("../../bindings/plane/index.ts") &
  typeof import("../../bindings/linux/index.ts") &
  typeof import("../../bindings/thread/index.ts");

const built = (path: string) => import(new URL(`../../build/bindings/${path}`, import.meta.url).href);
export const FAR_FUTURE = instant(Number.MAX_SAFE_INTEGER / 2);
export const SIDES = ["a", "b"] as const;
export type Side = (typeof SIDES)[number];
export const PORT = { a: 51820, b: 51821 } as const;
export const INNER = { a: "10.9.1.1", b: "10.9.2.1" } as const;
export const PEER = { a: 0x0b0b0b, b: 0x0a0a0a } as const;

/** Nothing more comes when nothing has come for so long. */
const QUIET_MS = 1000;
const LOOK_MS = 20;

export interface End {
  readonly host: OwnNamespace;
  readonly kernel: Kernel;
  readonly tun: Tun;
  readonly plane: Plane;
  /** Threads that the plane has asked for. */
  readonly taken: readonly string[];
  udp: UdpSockets;
  descriptors: PlaneDescriptors;
}

export interface PlaneEndsOptions {
  /** Of the workers' system calls, `CALL:NTH[+EVERY]:ERRNO,…` (TS-64); each thread counts for itself. */
  readonly faults?: string;
  /** Threads of an end before whose calls do not fail. */
  readonly faultlessThreads?: number;
  /** Of the sockets; default: as the programs ask for. */
  readonly sendBufferBytes?: number;
  /** Pairs of workers of each end; default 1. */
  readonly pairs?: number;
}

export interface PlaneEnds {
  readonly a: End;
  readonly b: End;
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Closes the sockets of an end whose loops are not running, and binds the same port again. */
  bindAgain(side: Side): void;
  /** Sends bytes through the tunnel by TCP, and resolves with their number at the other end. */
  transfer(bytes: number): Promise<number>;
  /**
   * Sends datagrams with running numbers through the tunnel, so many at most on their way at a time; resolves with the
   * numbers in their order.
   */
  numberedDatagrams(count: number, mostUnderWay?: number): Promise<readonly number[]>;
  close(): Promise<void>;
}

export async function createPlaneEnds(options: PlaneEndsOptions = {}): Promise<PlaneEnds> {
  const lib: Built = {
    ...(await built("plane/index.js")),
    ...(await built("linux/index.js")),
    ...(await built("thread/index.js")),
  };
  const hosts = { a: createNamespace(), b: createNamespace() };
  joinByVeth(hosts.a, hosts.b);
  const ends = { a: setUp(lib, "a", hosts.a, options), b: setUp(lib, "b", hosts.b, options) };
  return {
    ...ends,
    async start() {
      await Promise.all(SIDES.map((side) => ends[side].plane.start(ends[side].descriptors)));
    },
    async stop() {
      await Promise.all(SIDES.map((side) => ends[side].plane.stop()));
    },
    bindAgain(side) {
      const end = ends[side];
      end.udp.close();
      end.udp = openSockets(lib, end, side, options);
      end.descriptors = describe(end.tun, end.udp);
    },
    transfer: (bytes) => transfer(ends, bytes),
    numberedDatagrams: (count, mostUnderWay) => numberedDatagrams(ends, count, mostUnderWay),
    async close() {
      for (const { plane, udp, tun, host } of Object.values(ends)) {
        await plane.stop();
        udp.close();
        tun.close();
        host.close();
      }
    },
  };
}

function openSockets(
  lib: Built,
  { host, kernel }: Pick<End, "host" | "kernel">,
  side: Side,
  { sendBufferBytes = 16 << 20, pairs = 1 }: PlaneEndsOptions,
): UdpSockets {
  // As the programs ask for: a worker that waits for a processor then loses nothing.
  const options = { gro: true, sendBufferBytes, receiveBufferBytes: 128 << 20, pairs };
  return host.enter(() =>
    lib.openUdpSockets(kernel, { port: { kind: "fixed", port: PORT[side] }, ...options }),
  );
}

function describe(tun: Tun, { v4, v6, others }: UdpSockets): PlaneDescriptors {
  if (v4 === undefined || v6 === undefined) throw new Error("both families are there");
  return {
    tun: tun.fd,
    udp4: v4.fd,
    udp6: v6.fd,
    others: tun.others.map((queue, i) => ({
      tun: queue,
      udp4: others[i]?.v4?.fd ?? -1,
      udp6: others[i]?.v6?.fd ?? -1,
    })),
    hasSegmentation: true,
    hasTcpOffload: true,
    hasUdpOffload: true,
  };
}

function setUp(lib: Built, side: Side, host: OwnNamespace, options: PlaneEndsOptions): End {
  const { memory, scratch } = lib.createPlaneMemory();
  const kernel = lib.openKernel({ memory, area: scratch });
  const tun = host.enter(() => lib.openTun(kernel, { name: "pt0", queues: options.pairs ?? 1 }));
  host.run("ip", "addr", "add", `${INNER[side]}/24`, "dev", "pt0");
  // Without a link-local address the kernel sends nothing of its own into the tunnel.
  host.run("ip", "link", "set", "pt0", "addrgenmode", "none");
  host.run("ip", "link", "set", "pt0", "mtu", "1400", "up");
  host.run("ip", "route", "add", "10.9.0.0/16", "dev", "pt0");
  const udp = openSockets(lib, { host, kernel }, side, options);
  const taken: string[] = [];
  const backEnd = options.faults === undefined ? undefined : faultyThreads(options.faults);
  const threads: PlaneThreads = {
    loaded: Promise.resolve(),
    take(kind) {
      taken.push(kind);
      const isFaulty = taken.length > (options.faultlessThreads ?? 0);
      return isFaulty ? lib.spawnThread(kind, backEnd) : lib.spawnThread(kind);
    },
    endSpare() {},
  };
  const settings = { mode: "plain", mtu: 1400, maxPeers: 4, pairs: options.pairs ?? 1 } as const;
  const module = compileVariant("turbofan");
  const plane = lib.createPlane({ memory, module, sys: kernel.sys, threads, ...settings });
  connectPeer(plane, side);
  return { host, kernel, tun, udp, plane, taken, descriptors: describe(tun, udp) };
}

function connectPeer(plane: Plane, side: Side): void {
  const other = side === "a" ? "b" : "a";
  const destination = { address: ip(side === "a" ? "10.0.0.2" : "10.0.0.1"), port: PORT[other] };
  const path = { kind: "direct", headRoom: 0, isIdle: false, isBroken: false, generation: 1 } as const;
  plane.execute({ kind: "add-peer", slot: 0, peerId: PEER[side] });
  plane.execute({ kind: "set-path", slot: 0, path: { ...path, destination } });
  const session = sessionKeys(side, 1, { sendUntil: FAR_FUTURE, recvUntil: FAR_FUTURE });
  plane.execute({ kind: "install", slot: 0, peerId: PEER[side], session });
  plane.execute({ kind: "set-current", slot: 0, local: session.local });
  plane.publish({
    routes: [{ prefix: prefix(`${INNER[other]}/24`), target: { kind: "peer", slot: 0 } }],
    permits: [],
  });
}

/** Threads of Node whose system calls fail by script. */
function faultyThreads(script: string): ThreadBackEnd {
  const preload = new URL("faulty-library.mjs", import.meta.url).pathname;
  return {
    start(url, name) {
      const worker = new Worker(url, {
        workerData: "postern thread",
        name,
        execArgv: ["--import", preload],
        env: { ...process.env, POSTERN_TEST_FAULTS: script },
      });
      const failed = new Promise<never>((_, reject) => worker.once("error", reject));
      failed.catch(() => undefined);
      return {
        exited: new Promise<void>((resolve) => worker.once("exit", () => resolve())),
        failed,
        post: (message) => worker.postMessage(message),
        onMessage: (handle) => void worker.on("message", handle),
        keepAlive: () => worker.ref(),
      };
    },
    port: () => undefined,
  };
}

type Ends = Readonly<Record<Side, End>>;

async function transfer({ a, b }: Ends, bytes: number): Promise<number> {
  let received = 0;
  const server = createServer((socket) =>
    socket.on("data", (chunk) => {
      received += chunk.length;
    }),
  );
  await b.host.enterUntil(
    () => new Promise<void>((resolve) => server.listen(7000, INNER.b, () => resolve())),
  );
  const socket = await a.host.enterUntil(
    () =>
      new Promise<ReturnType<typeof connectTo>>((resolve, reject) => {
        const opened = connectTo({ host: INNER.b, port: 7000 }, () => resolve(opened)).on("error", reject);
      }),
  );
  socket.end(new Uint8Array(bytes));
  await new Promise((resolve) => socket.on("close", resolve));
  await new Promise((resolve) => server.close(resolve));
  return received;
}

async function numberedDatagrams(
  { a, b }: Ends,
  count: number,
  mostUnderWay = Number.POSITIVE_INFINITY,
): Promise<readonly number[]> {
  const arrived: number[] = [];
  const receiver = createSocket("udp4").on("message", (bytes) => arrived.push(bytes.readUInt32BE(0)));
  await b.host.enterUntil(
    () => new Promise<void>((resolve) => receiver.bind(7001, INNER.b, () => resolve())),
  );
  const sender = createSocket("udp4");
  await a.host.enterUntil(() => new Promise<void>((resolve) => sender.bind(0, INNER.a, () => resolve())));
  for (let i = 0; i < count; i++) {
    const bytes = new Uint8Array(100);
    new DataView(bytes.buffer).setUint32(0, i);
    sender.send(bytes, 7001, INNER.b);
    if (i % 10 === 9) await new Promise((resolve) => setTimeout(resolve, 0));
    // One that got lost would hold up all the others.
    if (!(await haveCome(() => arrived.length, i + 1 - mostUnderWay, 1))) break;
  }
  await haveCome(() => arrived.length, count);
  receiver.close();
  sender.close();
  return arrived;
}

/** Waits until so many have arrived, or none has for a while. */
async function haveCome(arrived: () => number, wanted: number, lookMs = LOOK_MS): Promise<boolean> {
  for (let before = -1, since = performance.now(); arrived() < wanted; ) {
    if (arrived() !== before) since = performance.now();
    else if (performance.now() - since > patient(QUIET_MS)) return false;
    before = arrived();
    await new Promise((resolve) => setTimeout(resolve, lookMs));
  }
  return true;
}
