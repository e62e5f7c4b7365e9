/**
 * The packet plane as programs see it. `createPlane` of `plane.ts` makes one; what control and plane say
 * to each other are the commands, events and punts of `src/plane`.
 *
 *     const { memory, scratch } = createPlaneMemory();
 *     const kernel = openKernel({ memory, area: scratch });      // TUN, sockets
 *     const plane = createPlane({ memory, module, sys: kernel.sys, mode: "plain", mtu: 1420 });
 *     plane.publish(tables);
 *     plane.onWake(turn);
 *     await plane.start({ tun, udp4, udp6, ... });
 *
 * One turn of control empties the rings: `takeEvents`, then `takePunts`, `plane.execute` for every
 * command of the machines. Both sides of a peer's order are kept as WG-46 wants it if commands are
 * executed in the order in which the machines gave them.
 */
import type { Instant, IpAddress, Random, SocketAddress } from "../../src/base/index.ts";
import type {
  DataPunt,
  PlaneCommand,
  PlaneEvent,
  PlaneFlows,
  PlaneRecords,
  PolicyTables,
} from "../../src/plane/index.ts";
import type { PlaneFrames, PlaneQueues } from "../ring/index.ts";
import type { SysCalls } from "../sys/index.ts";
import type { PlaneThreads } from "../thread/index.ts";
import type { PlaneDescriptors, PlaneEnd, WorkerCounters } from "../worker/index.ts";

export type PlaneMode = "plain" | "client" | "gateway";

export interface PlaneOptions {
  readonly memory: WebAssembly.Memory;
  /** The variant that `bindings/cipher/choice.ts` chose. */
  readonly module: WebAssembly.Module;
  /** The kernel on the same memory. Absent: the plane runs in process only. */
  readonly sys?: SysCalls;
  /** Threads for the workers that are up already (`bindings/thread/threads.ts`); by default `start` makes them. */
  readonly threads?: PlaneThreads;
  /**
   * `plain`: TN-4's lenient validation, padding, roaming, sources checked against the routes (WG-58).
   * `client`, `gateway`: strict validation, no padding, paths set by control only.
   */
  readonly mode: PlaneMode;
  /** MTU of the TUN device in bytes. */
  readonly mtu: number;
  /** Counts what is let in with a wrong checksum (`--validate-checksums`). */
  readonly validatesChecksums?: boolean;
  /** Whether a send is tried again for want of buffers (PG-46, PG-118); default true. */
  readonly retriesEnobufs?: boolean;
  /** Pairs of egress and ingress worker, 1 to 16; default 1 (PG-176). With `hasFrames` there is one. */
  readonly pairs?: number;
  /** Most peers at a time; default 16,384 on a gateway, else 1,024, at most 65,536. Slots are below it. */
  readonly maxPeers?: number;
  /** Most sessions at a time; default eight per peer, fewer from 5,120 peers on. */
  readonly maxSessions?: number;
  /** Room for flow records; absent: the plane has none (`postern wg`). */
  readonly flows?: FlowOptions;
  /** Frames go between the workers and `frames` instead of a TUN device (PG-122). */
  readonly hasFrames?: boolean;
  /** Message limits, lowered by tests only (WG-45). */
  readonly limits?: { readonly rekeyAfterMessages: bigint; readonly rejectAfterMessages: bigint };
}

export interface FlowOptions {
  /** Draws the secret of the hash (TN-75). */
  readonly random: Random;
  /** Most records at a time; default 16,384 on a client, 131,072 on a gateway. */
  readonly capacity?: number;
  /** Most records of one peer; default 16,384. */
  readonly mostPerPeer?: number;
}

export interface Plane {
  /** Reads and stamps that need no waiting (`PlaneRecords`). */
  readonly records: PlaneRecords;
  /** Flow records (TN-74). */
  readonly flows: PlaneFlows;
  /** What takes the TUN device's place; absent without `hasFrames`. */
  readonly frames: PlaneFrames | undefined;
  /** In process, without workers: benchmarks, tests, embedding (D-15). Not while workers run. */
  readonly drive: PlaneDrive;
  /** The same of each pair: `drive` is the first. */
  readonly drives: readonly PlaneDrive[];

  /** Carries out one command. Throws only on a defect of the caller, such as an unknown slot. */
  execute(command: PlaneCommand): void;
  /** Replaces the whole policy (WG-58). */
  publish(tables: PolicyTables): void;
  /**
   * How many publications are complete: no worker judges by earlier tables any more, and what was punted
   * by those has been taken. Asked after `takePunts`, when what that gave has been handled.
   */
  published(): number;

  /**
   * Everything that `takePunts` gave has been handled, and what follows from it carried out: flows whose packets came
   * that way are let go (TN-87). Returns whether some have to wait; then it is asked again soon.
   */
  releaseFlows(): boolean;

  /** Whether `takeEvents` or `takePunts` has something. */
  hasInput(): boolean;
  /** Up to `limit` events from the control rings, oldest first per worker. */
  takeEvents(limit: number): readonly PlaneEvent[];
  /**
   * Up to `limit` packets from the data rings, in the order in which they were put (TN-85). What comes
   * behind a packet `no-session` is let go by a `release` that counts it (WG-46).
   */
  takePunts(limit: number): readonly DataPunt[];
  /**
   * Calls `wake` soon after a ring went from empty to not empty (D-13). One listener at a time; the
   * returned function removes it. It does not keep the process alive.
   */
  onWake(wake: () => void): () => void;

  /** Starts all workers; resolves when their loops run. */
  start(descriptors: PlaneDescriptors): Promise<void>;
  /** Ends all loops; descriptors may be closed afterwards, and `start` is a matter of a millisecond. */
  pause(): Promise<void>;
  /** Ends all loops and their threads; descriptors may be closed afterwards (PF-23). */
  stop(): Promise<void>;
  /** Called once per loop that ended without `stop`. */
  onEnd(ended: (end: PlaneEnd) => void): void;

  counters(): PlaneCounters;
}

export interface PlaneCounters {
  /** Of all workers of a direction together. */
  readonly egress: WorkerCounters;
  readonly ingress: WorkerCounters;
  /** Of each worker. */
  readonly workers: readonly WorkerCounters[];
  /** Packets that `inject` gave up because the inject ring stayed full. */
  readonly injectFull: number;
  readonly queues: PlaneQueues;
}

/** What one `sendmsg` would have sent. */
export interface PlaneSend {
  readonly slot: number;
  readonly to: SocketAddress;
  readonly source: IpAddress | undefined;
  readonly ecn: number;
  /** One or more datagrams of `segmentBytes`; the last may be shorter. A copy. */
  readonly bytes: Uint8Array;
  readonly segmentBytes: number;
}

/** What one `recvmsg` would have brought. */
export interface PlaneReceive {
  readonly from: SocketAddress;
  /** Address on which it arrived; absent: `udp_bad_meta` (PG-48). */
  readonly local?: IpAddress;
  readonly ecn?: number;
  readonly bytes: Uint8Array;
  /** Length of each datagram but the last; absent: one datagram. */
  readonly segmentBytes?: number;
}

/** Datagrams from one place to one. */
export interface PlaneDatagrams extends Omit<PlaneReceive, "bytes" | "segmentBytes"> {
  readonly datagrams: readonly Uint8Array[];
}

export interface PlaneDrive {
  /** Addresses of the records that are driven, for who drives them from another thread. */
  readonly records: { readonly egress: number; readonly ingress: number };
  /** One frame with its virtio_net_hdr, as the TUN device gives it. Returns finished sends. */
  egress(now: Instant, frame: Uint8Array): readonly PlaneSend[];
  /** The same, written where the plane reads it: `write` returns the frame's length, or 0 for none. */
  egressFrom(now: Instant, write: (into: Uint8Array) => number): readonly PlaneSend[];
  /** What is left when the TUN device has nothing more; takes injected packets first. */
  flushEgress(now: Instant): readonly PlaneSend[];
  /** One receive. Returns finished frames with their virtio_net_hdr. */
  ingress(now: Instant, batch: PlaneReceive): readonly Uint8Array[];
  /**
   * The same of datagrams that have not been joined, all of one length but for a shorter last one. Lends each frame
   * to `take` for the time of the call, in which the plane is not to be driven.
   */
  ingressOf(now: Instant, batch: PlaneDatagrams, take: (frame: Uint8Array) => void): void;
  /** The cookie replies to the batch driven last, for its source. */
  takeReplies(): readonly Uint8Array[];
  /** The frame under construction, when the sockets have nothing more. */
  flushIngress(now: Instant): readonly Uint8Array[];
  /** The same, lent as by `ingressOf`. */
  flushIngressTo(now: Instant, take: (frame: Uint8Array) => void): void;
}
