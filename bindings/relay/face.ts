/** The relay's data path as its program uses it. */
import type { IpAddress, Log, Random, SocketAddress } from "../../src/base/index.ts";
import type { IpFamily, RelayPlane } from "../../src/plane/index.ts";
import type { Kernel } from "../linux/index.ts";
import type { PlaneThreads } from "../thread/index.ts";
import type { PlaneEnd, WorkerCounters } from "../worker/index.ts";

export interface RelayPlaneOptions {
  readonly memory: WebAssembly.Memory;
  readonly module: WebAssembly.Module;
  readonly kernel: Kernel;
  /** Threads of the workers that are up already. */
  readonly threads?: PlaneThreads;
  readonly listenPort: number;
  /** Where sockets are bound; a family without address is not served. */
  readonly bind: Readonly<Partial<Record<IpFamily, IpAddress>>>;
  readonly bindingsMax: number;
  readonly random: Random;
  readonly log: Log;
}

/** A control message of a client. */
export interface ControlMessage {
  readonly datagram: Uint8Array;
  readonly client: SocketAddress;
  readonly local: IpAddress;
}

export interface RelayDataPath extends RelayPlane {
  start(): Promise<void>;
  /** Stops the workers and closes all sockets. */
  close(): Promise<void>;
  /** Messages that clients have sent to control, oldest first. */
  takeMessages(limit: number): readonly ControlMessage[];
  /** Calls `wake` when there are some; returns how to end that. */
  onWake(wake: () => void): () => void;
  /** Sends one datagram from a listening socket, without blocking. `busy`: it may be sent again later. */
  send(to: SocketAddress, datagram: Uint8Array, from: IpAddress | undefined): "done" | "busy";
  /** A worker has ended by itself. */
  onEnd(ended: (end: PlaneEnd) => void): void;
  counters(): { readonly client: WorkerCounters; readonly peer: WorkerCounters };
  /** What is there now, for statistics. */
  sizes(): { readonly bindings: number; readonly sockets: number };
}
