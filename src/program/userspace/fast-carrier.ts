/**
 * Grade `fast` (PG-122): the workers of the programs with a TUN device, on sockets of our own with GSO and GRO, which
 * need no privilege. Instead of the device there are rings of frames between them and the stack.
 *
 *     sockets ──▶ ingress worker ──ring──▶ stack        sockets ◀── egress worker ◀──ring── stack
 */
import { type Kernel, openKernel, readPathMtu, type UdpSockets } from "../../../bindings/linux/index.ts";
import { createPlane, createPlaneMemory, type Plane } from "../../../bindings/plane/index.ts";
import { type PlaneThreads, spawnPlaneThreads, TUNNEL_WORKERS } from "../../../bindings/thread/index.ts";
import { type IpAddress, PosternError, type SocketAddress } from "../../base/index.ts";
import { readClock } from "../../host/index.ts";
import { sharedChoice } from "../shared-choice.ts";
import {
  createSocketErrors,
  NO_SOCKETS,
  openTransportSockets,
  type PlaneFeatures,
  RECEIVE_BUFFER_BYTES,
  readFeatures,
  SEND_BUFFER_BYTES,
  type SocketErrors,
  sendControl,
  TURN_INPUTS,
  watchPlane,
} from "../shell/index.ts";
import { systemRandom } from "../system-random.ts";
import { type Carrier, type CarrierOptions, TUNNEL_MTU } from "./carrier.ts";

interface State {
  readonly options: CarrierOptions;
  readonly kernel: Kernel;
  readonly plane: Plane;
  readonly features: PlaneFeatures;
  readonly errors: SocketErrors;
  addresses: readonly IpAddress[];
  sockets: UdpSockets;
}

/** @throws PosternError `host` where there is no FFI, no thread or no socket; `cipher-unusable` */
export async function openFastCarrier(options: CarrierOptions): Promise<Carrier> {
  const { memory, scratch } = createPlaneMemory();
  const kernel = openKernel({ memory, area: scratch });
  const features = readFeatures(options.env, options.log);
  const sockets = openSockets(kernel, options, features, options.port);
  const threads = spawnPlaneThreads();
  let plane: Plane | undefined;
  try {
    // No thread may be compiling while the choice changes V8's flags (D-26).
    await threads.loaded.catch(noThreads);
    const choice = sharedChoice(options.cipher);
    plane = createPlane({
      ...{ memory, module: choice.module, sys: kernel.sys, threads, mode: options.mode, mtu: TUNNEL_MTU },
      ...{ hasFrames: true, retriesEnobufs: features.enobufsRetry, flows: { random: systemRandom } },
    });
    const errors = createSocketErrors({
      read: plane.counters,
      port: () => (state.sockets.v4 ?? state.sockets.v6)?.port,
      log: options.log,
    });
    const { addresses } = options;
    const state: State = { options, kernel, plane, features, errors, addresses, sockets };
    watchPlane(plane, { socketFailed: options.socketFailed, fail: options.onDefect });
    plane.onWake(options.wake);
    await start(state);
    options.log.info?.("packet plane in workers", { cipher: choice.name, port: own(state)[0]?.port });
    return faceOf(state, choice);
  } catch (error) {
    await plane?.stop();
    sockets.close();
    release(threads);
    throw error;
  }
}

/** Where the package was taken apart, for one: a bundle has no file for them. */
function noThreads(cause: unknown): never {
  const reason = cause instanceof Error ? cause.message : String(cause);
  throw new PosternError("host", `the plane's threads do not start: ${reason}`, undefined, { cause });
}

/** Threads that nobody has given a loop. */
function release(threads: PlaneThreads): void {
  for (const kind of TUNNEL_WORKERS) threads.take(kind).end();
}

function openSockets(
  kernel: Kernel,
  { log }: Pick<CarrierOptions, "log">,
  { gro }: PlaneFeatures,
  port: number,
): UdpSockets {
  const udp = {
    ...{ gro, sendBufferBytes: SEND_BUFFER_BYTES, receiveBufferBytes: RECEIVE_BUFFER_BYTES },
    port: port === 0 ? ({ kind: "any" } as const) : ({ kind: "preferred", port } as const),
  };
  return openTransportSockets(kernel, udp, { log });
}

async function start({ plane, sockets, features, errors }: State): Promise<void> {
  errors.start();
  await plane.start({
    ...(sockets.v4 && { udp4: sockets.v4.fd, port4: sockets.v4.port }),
    ...(sockets.v6 && { udp6: sockets.v6.fd, port6: sockets.v6.port }),
    ...{ hasSegmentation: features.gso, hasTcpOffload: true, hasUdpOffload: true },
  });
}

function own({ addresses, sockets }: State): readonly SocketAddress[] {
  return addresses.flatMap((address) => {
    const port = (address.length === 4 ? sockets.v4 : sockets.v6)?.port;
    return port === undefined ? [] : [{ address, port }];
  });
}

function faceOf(state: State, choice: Carrier["choice"]): Carrier {
  const { options, kernel, plane } = state;
  const { frames } = plane;
  if (frames === undefined) throw new Error("the plane was made with rings of frames");
  return {
    ...{ grade: "fast", choice, plane, counters: plane.counters },
    now: () => readClock(kernel),
    pathMtu: (way) => readPathMtu(kernel, way),
    own: () => own(state),
    receive: (take) => frames.take(TURN_INPUTS, take) === TURN_INPUTS,
    transmit(poll) {
      let put = frames.put(poll);
      const hasPut = put === "put";
      while (put === "put") put = frames.put(poll);
      if (hasPut) frames.nudge();
      return put === "full" ? "full" : "all";
    },
    isDrained: frames.isDrained,
    send: (transmit) => sendControl({ ...state, log: options.log }, transmit),
    rebind: (addresses) => rebind(state, addresses),
    async close() {
      state.errors.stop();
      await plane.stop();
      state.sockets.close();
      state.sockets = NO_SOCKETS;
    },
  };
}

async function rebind(state: State, addresses: readonly IpAddress[]): Promise<void> {
  const { plane, kernel, options, features } = state;
  const port = own(state)[0]?.port ?? options.port;
  await plane.pause();
  state.sockets.close();
  // If binding fails, nobody may close these descriptors again: they are others' by then.
  state.sockets = NO_SOCKETS;
  state.sockets = openSockets(kernel, options, features, port);
  state.addresses = addresses;
  await start(state);
}
