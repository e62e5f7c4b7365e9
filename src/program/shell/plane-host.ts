/**
 * The plane on a Linux host: cipher variant, TUN device, sockets and workers, opened and closed together.
 * `postern wg`, client and gateway differ in what they do with it, not in how it comes up.
 */
import type { CipherChoice } from "../../../bindings/cipher/index.ts";
import {
  type Kernel,
  type MtuQuestion,
  OFFLOADS_ALL,
  OFFLOADS_TCP,
  openKernel,
  openRtnetlink,
  openTun,
  type PortChoice,
  type Rtnetlink,
  readPathMtu,
  type Tun,
  type UdpOptions,
  type UdpSockets,
  VNET_HEADER_BYTES,
} from "../../../bindings/linux/index.ts";
import {
  createPlane,
  createPlaneMemory,
  type FlowOptions,
  type PairDescriptors,
  type Plane,
  type PlaneMode,
} from "../../../bindings/plane/index.ts";
import type { PlaneThreads } from "../../../bindings/thread/index.ts";
import type { Instant, Log } from "../../base/index.ts";
import { readClock } from "../../host/index.ts";
import { sharedChoice } from "../shared-choice.ts";
import type { ShellTransmit } from "./shell.ts";
import { createSocketErrors, type SocketErrors } from "./socket-errors.ts";
import {
  NO_SOCKETS,
  openTransportSockets,
  RECEIVE_BUFFER_BYTES,
  SEND_BUFFER_BYTES,
  sendControl,
} from "./transport-sockets.ts";

export interface PlaneHostOptions {
  readonly mode: PlaneMode;
  readonly mtu: number;
  readonly tunName: string;
  readonly port: PortChoice;
  /** SO_MARK of the sockets; absent: none. */
  readonly mark?: number;
  /** `--egress-interface`: the sockets are bound to it (PG-62). */
  readonly device?: string | undefined;
  readonly maxPeers?: number;
  /** Room for flow records; absent: none (`postern wg`). */
  readonly flows?: FlowOptions;
  /** `--cipher`; absent: the fastest that passes its test (D-26). */
  readonly cipher: string | undefined;
  /** Socket buffers to ask for; `undefined`: what PG §1 says. */
  readonly sendBufferBytes: number | undefined;
  readonly receiveBufferBytes: number | undefined;
  /** `--inc-buf`: raise the system's limits where the buffers are refused (PG-44). */
  readonly raisesLimits?: boolean;
  readonly features: PlaneFeatures;
  /** `--validate-checksums`. */
  readonly validatesChecksums: boolean;
  /** Pairs of workers, each with sockets and a queue of the device of its own (PG-176). */
  readonly pairs: number;
  /** Threads of the workers that are up already. */
  readonly threads: PlaneThreads;
  readonly log: Log;
}

/** What can be switched off for fault finding (PG-60, PG-118). */
export interface PlaneFeatures {
  readonly gso: boolean;
  readonly gro: boolean;
  readonly tunOffload: boolean;
  readonly enobufsRetry: boolean;
  /** A client asks for access again where a gateway says *prohibited* (TN-36). */
  readonly icmpErrorCreatesFlow: boolean;
}

export interface PlaneHost {
  readonly kernel: Kernel;
  readonly rtnetlink: Rtnetlink;
  readonly choice: CipherChoice;
  readonly plane: Plane;
  readonly tun: Tun;
  sockets(): UdpSockets;
  now(): Instant;
  /** Sends one datagram of control on the socket of its family, without blocking (D-10, PG-46). */
  send(transmit: ShellTransmit): "done" | "busy";
  /** The path's MTU as the kernel knows it, for what the sockets send (SN-150). */
  pathMtu(way: Pick<MtuQuestion, "source" | "destination">): number | undefined;
  /** Writes one packet to the TUN device; what the device does not take is lost, as on any link. */
  writeTun(packet: Uint8Array): void;
  /** Starts all workers. */
  start(): Promise<void>;
  /**
   * Ends the workers' loops, binds the sockets again and starts the loops (PG-66). `onBound` is called before
   * the start: the ports are known then, and what arrives waits in the sockets.
   */
  rebind(changes?: Partial<Pick<UdpOptions, "port" | "mark">>, onBound?: () => void): Promise<void>;
  /** Stops the workers; closes sockets and device. */
  close(): Promise<void>;
}

/** What is open; `udp` and `sockets` change when the sockets are bound again. */
interface OpenHost {
  readonly options: PlaneHostOptions;
  readonly kernel: Kernel;
  readonly rtnetlink: Rtnetlink;
  readonly plane: Plane;
  readonly tun: Tun;
  readonly errors: SocketErrors;
  udp: UdpOptions;
  sockets: UdpSockets;
}

/**
 * Opens everything but does not start the workers.
 *
 * @throws PosternError `privilege`, `host`, `cipher-unknown`, `cipher-unusable`; nothing is left open then
 */
export function openPlaneHost(options: PlaneHostOptions): PlaneHost {
  const choice = sharedChoice(options.cipher);
  reportChoice(choice, options.log);
  const host = openHost(options, choice);
  const { kernel, rtnetlink, plane, tun } = host;
  return {
    kernel,
    rtnetlink,
    choice,
    plane,
    tun,
    sockets: () => host.sockets,
    now: () => readClock(kernel),
    send: (transmit) => sendControl({ ...host, log: options.log }, transmit),
    pathMtu: (way) => readPathMtu(kernel, { ...way, mark: host.udp.mark, device: host.udp.device }),
    writeTun: (packet) => writeTun(host, packet),
    start: () => start(host),
    rebind: (changes = {}, onBound = () => {}) => rebind(host, changes, onBound),
    close: () => close(host),
  };
}

function openHost(options: PlaneHostOptions, choice: CipherChoice): OpenHost {
  const opened: Closable[] = [];
  try {
    return openParts(options, choice, (part) => {
      opened.push(part);
      return part;
    });
  } catch (error) {
    for (const part of opened.reverse()) part.close();
    throw error;
  }
}

interface Closable {
  close(): void;
}

/** @param keep is given what is to be closed if what follows fails */
function openParts(
  options: PlaneHostOptions,
  { module }: CipherChoice,
  keep: <T extends Closable>(part: T) => T,
): OpenHost {
  const { features, log } = options;
  const { memory, scratch } = createPlaneMemory();
  const kernel = openKernel({ memory, area: scratch });
  const tun = keep(
    openTun(kernel, {
      name: options.tunName,
      queues: options.pairs,
      ...(features.tunOffload ? {} : { offloads: [] }),
    }),
  );
  const udp = toUdpOptions(options);
  const sockets = keep(openTransportSockets(kernel, udp, options));
  const rtnetlink = keep(openRtnetlink(kernel));
  const plane = createPlane({
    memory,
    module,
    sys: kernel.sys,
    threads: options.threads,
    pairs: options.pairs,
    mode: options.mode,
    mtu: options.mtu,
    validatesChecksums: options.validatesChecksums,
    retriesEnobufs: features.enobufsRetry,
    ...(options.maxPeers === undefined ? {} : { maxPeers: options.maxPeers }),
    ...(options.flows === undefined ? {} : { flows: options.flows }),
  });
  reportOffloads(tun, features, log);
  const errors = createSocketErrors({
    read: plane.counters,
    port: () => (host.sockets.v4 ?? host.sockets.v6)?.port,
    log,
  });
  const host: OpenHost = { options, kernel, rtnetlink, plane, tun, errors, udp, sockets };
  return host;
}

function toUdpOptions(options: PlaneHostOptions): UdpOptions {
  return {
    port: options.port,
    mark: options.mark,
    device: options.device,
    gro: options.features.gro,
    pairs: options.pairs,
    sendBufferBytes: options.sendBufferBytes ?? SEND_BUFFER_BYTES,
    receiveBufferBytes: options.receiveBufferBytes ?? RECEIVE_BUFFER_BYTES,
  };
}

function start({ options, plane, tun, sockets, errors }: OpenHost): Promise<void> {
  errors.start();
  return plane.start({
    ...pairOf(tun.fd, sockets),
    others: tun.others.map((queue, i) => pairOf(queue, sockets.others[i] ?? {})),
    ...(sockets.v4 === undefined ? {} : { port4: sockets.v4.port }),
    ...(sockets.v6 === undefined ? {} : { port6: sockets.v6.port }),
    hasSegmentation: options.features.gso,
    hasTcpOffload: (tun.offloads & OFFLOADS_TCP) === OFFLOADS_TCP,
    hasUdpOffload: (tun.offloads & OFFLOADS_ALL) === OFFLOADS_ALL,
  });
}

function pairOf(tun: number, { v4, v6 }: Pick<UdpSockets, "v4" | "v6">): PairDescriptors {
  return {
    tun,
    ...(v4 === undefined ? {} : { udp4: v4.fd }),
    ...(v6 === undefined ? {} : { udp6: v6.fd }),
  };
}

async function rebind(
  host: OpenHost,
  changes: Partial<Pick<UdpOptions, "port" | "mark">>,
  onBound: () => void,
): Promise<void> {
  host.udp = { ...host.udp, ...changes };
  await host.plane.pause();
  host.sockets.close();
  // If binding fails, nobody may close these descriptors again: they are others' by then.
  host.sockets = NO_SOCKETS;
  host.sockets = openTransportSockets(host.kernel, host.udp, host.options);
  onBound();
  await start(host);
}

async function close(host: OpenHost): Promise<void> {
  host.errors.stop();
  await host.plane.stop();
  host.sockets.close();
  host.rtnetlink.close();
  host.tun.close();
}

function writeTun({ kernel, tun }: OpenHost, packet: Uint8Array): void {
  kernel.scratch.frame((room) => {
    const headerBytes = tun.hasVnetHeader ? VNET_HEADER_BYTES : 0;
    const frame = new Uint8Array(headerBytes + packet.length);
    frame.set(packet, headerBytes);
    kernel.sys.write(tun.fd, room.put(frame), frame.length);
  });
}

function reportChoice(choice: CipherChoice, log: Log): void {
  for (const candidate of choice.candidates) {
    if (!candidate.ok)
      log.warn?.("cipher variant unusable", { cipher: candidate.name, reason: candidate.reason });
  }
  log.info?.("cipher variant chosen", { cipher: choice.name, set_up_ms: Math.round(choice.setUpMs) });
}

/** Everything works, slower, where an offload is refused, and says so once (D-6). */
function reportOffloads(tun: Tun, features: PlaneFeatures, log: Log): void {
  log.info?.("offloads", {
    tun: `0x${tun.offloads.toString(16)}`,
    gso: features.gso,
    gro: features.gro,
  });
}
