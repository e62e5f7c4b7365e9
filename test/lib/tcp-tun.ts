/** Our TCP on a TUN device: the machine at one end, the kernel's TCP at the other, nothing but the device between. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import {
  type Kernel,
  OFFLOADS_TCP,
  openKernel,
  openTun,
  POLLIN,
  pollOne,
  VNET_HEADER_BYTES,
} from "../../bindings/linux/index.ts";
import { createSeededRandom, type Instant, instant, randomBelow } from "../../src/base/index.ts";
import {
  createTcpHost,
  FRAME_BYTES_MAX,
  type TcpEvent,
  type TcpHost,
  type TcpHostOptions,
} from "../../src/tcp/index.ts";
import type { OwnNamespace } from "../system/own-namespace.ts";

const PEER = fileURLToPath(new URL("./tcp-peer.mjs", import.meta.url));
/** The octets that both ends know. */
export const pattern: {
  readonly patternAt: (position: number, length: number) => Uint8Array;
  readonly isPattern: (position: number, bytes: Uint8Array) => boolean;
} = await import(new URL("./tcp-pattern.mjs", import.meta.url).href);
/** Frames that are taken in one turn: then others have theirs. */
const TURN_FRAMES = 64;
const WAIT_MS = 2;

export interface TcpTunOptions extends Partial<TcpHostOptions> {
  /** False: no super-frames, so that what is lost is one packet. */
  readonly offloads?: boolean;
  /** Of the packets in each direction, in percent: lost, doubled, late. */
  readonly loss?: number;
  readonly seed?: number;
}

export interface TcpTun {
  readonly host: TcpHost;
  now(): Instant;
  /** Turns until `isDone`, and hands events to `hear`. Throws after `withinMs`. */
  run(isDone: () => boolean, hear: (event: TcpEvent) => void, withinMs: number): Promise<void>;
  /** Frames that went either way; super-frames are one. */
  readonly frames: { in: number; out: number };
  /** Nothing passes any more. */
  cut(): void;
  close(): void;
}

/** The kernel is 10.9.0.1 and fd09::1, we are every other address of those networks. */
export function openTcpTun(namespace: OwnNamespace, options: TcpTunOptions = {}): TcpTun {
  const { offloads = true, loss = 0, seed = 1, ...given } = options;
  const kernel = openKernel();
  const tun = namespace.enter(() =>
    openTun(kernel, { name: "pt0", offloads: offloads ? [OFFLOADS_TCP] : [] }),
  );
  namespace.run("sysctl", "-qw", "net.ipv6.conf.pt0.addr_gen_mode=1");
  namespace.run("ip", "addr", "add", "10.9.0.1/24", "dev", "pt0");
  namespace.run("ip", "addr", "add", "fd09::1/64", "dev", "pt0", "nodad");
  namespace.run("ip", "link", "set", "pt0", "mtu", "1280", "up");
  const random = createSeededRandom(seed);
  const host = createTcpHost({ random, admit: () => "accept", ...given });
  const now = (): Instant => instant(performance.now());
  const frames = { in: 0, out: 0 };
  const chance = (percent: number): boolean => percent > 0 && randomBelow(random, 1_000) < percent * 10;
  let isCut = false;

  const turn = (hear: (event: TcpEvent) => void): boolean => {
    const received = readFrames(kernel, tun.fd, (frame) => {
      frames.in++;
      if (isCut || chance(loss)) return;
      host.handleFrame(now(), frame);
      for (let event = host.pollEvent(); event !== undefined; event = host.pollEvent()) hear(event);
    });
    const due = host.pollTimeout();
    if (due !== undefined && due <= now()) host.handleTimeout(now());
    for (let event = host.pollEvent(); event !== undefined; event = host.pollEvent()) hear(event);
    const passes = (): boolean => !isCut && !chance(loss);
    const sent = offloads
      ? writeFrames(kernel, tun.fd, host, passes)
      : writePackets(kernel, tun.fd, host, passes);
    frames.out += sent;
    return received + sent > 0;
  };

  return {
    host,
    now,
    frames,
    async run(isDone, hear, withinMs) {
      const end = performance.now() + withinMs;
      for (let turns = 1; !isDone(); turns++) {
        const isBusy = turn(hear);
        if (!isBusy) pollOne(kernel, tun.fd, POLLIN, WAIT_MS);
        if (!isBusy || turns % 32 === 0) await new Promise((resolve) => setImmediate(resolve));
        if (performance.now() > end) throw new Error(`not done within ${withinMs} ms`);
      }
      // What the last event made to be sent.
      turn(hear);
    },
    cut: () => {
      isCut = true;
    },
    close: () => tun.close(),
  };
}

function readFrames({ sys, scratch }: Kernel, fd: number, take: (frame: Uint8Array) => void): number {
  return scratch.frame((room) => {
    const at = room.take(FRAME_BYTES_MAX + 64);
    for (let count = 0; count < TURN_FRAMES; count++) {
      const length = sys.read(fd, at, FRAME_BYTES_MAX + 64);
      if (length <= 0) return count;
      take(room.bytes(at, length).slice());
    }
    return TURN_FRAMES;
  });
}

function writeFrames({ sys, scratch }: Kernel, fd: number, host: TcpHost, passes: () => boolean): number {
  return scratch.frame((room) => {
    const at = room.take(FRAME_BYTES_MAX);
    const into = room.bytes(at, FRAME_BYTES_MAX);
    for (let count = 0; count < TURN_FRAMES; count++) {
      const length = host.pollFrame(into);
      if (length === 0) return count;
      if (passes()) sys.write(fd, at, length);
    }
    return TURN_FRAMES;
  });
}

/** Packets of the MTU, each behind an empty header. */
function writePackets({ sys, scratch }: Kernel, fd: number, host: TcpHost, passes: () => boolean): number {
  return scratch.frame((room) => {
    const at = room.take(FRAME_BYTES_MAX);
    for (let count = 0; count < TURN_FRAMES; count++) {
      const packet = host.pollPacket();
      if (packet === undefined) return count;
      const frame = room.bytes(at, VNET_HEADER_BYTES + packet.length);
      frame.fill(0, 0, VNET_HEADER_BYTES);
      frame.set(packet, VNET_HEADER_BYTES);
      if (passes()) sys.write(fd, at, frame.length);
    }
    return TURN_FRAMES;
  });
}

/** What a peer says at its end (`tcp-peer.mjs`). */
export interface PeerReport {
  readonly received: number;
  readonly isRight: boolean;
  readonly hasEnded: boolean;
  readonly error?: string;
}

export interface KernelPeer {
  /** It listens; a peer that connects is ready at once. */
  readonly isReady: () => boolean;
  readonly report: () => PeerReport | undefined;
  stop(): void;
}

/** Starts the kernel's side inside the namespace. */
export function startPeer(namespace: OwnNamespace, order: Readonly<Record<string, unknown>>): KernelPeer {
  const child = namespace.enter(() =>
    spawn(process.execPath, [PEER, JSON.stringify(order)], { stdio: ["ignore", "pipe", "inherit"] }),
  );
  let isReady = order["listen"] === undefined;
  let report: PeerReport | undefined;
  createInterface({ input: child.stdout }).on("line", (line) => {
    if (line === "listening") isReady = true;
    else report = JSON.parse(line);
  });
  return { isReady: () => isReady, report: () => report, stop: () => void child.kill("SIGKILL") };
}
