/**
 * The packet plane as tests drive it, in process: the WebAssembly or its readable twin, behind one
 * interface. One packet that goes in can be followed until it comes out.
 */

import type { Counter, Reason } from "../../bindings/memory/index.ts";
import type { PlaneMode, PlaneOptions, PlaneReceive } from "../../bindings/plane/index.ts";
import type { Instant } from "../../src/base/index.ts";
import type {
  DataPunt,
  PlaneCommand,
  PlaneEvent,
  PlaneFlows,
  PlaneRecords,
  PolicyTables,
} from "../../src/plane/index.ts";
import { datagramsOf, plainFrame, testPlane } from "../unit/plane/pair.ts";
import type { SealedDatagram } from "./plane/egress.ts";
import { splitFrame } from "./plane/split.ts";
import { createPlaneTwin } from "./plane/twin.ts";

export type { PlaneReceive } from "../../bindings/plane/index.ts";
export type { SealedDatagram } from "./plane/egress.ts";

export interface DrivenPlane {
  readonly records: PlaneRecords;
  readonly flows: PlaneFlows;
  execute(command: PlaneCommand): void;
  publish(tables: PolicyTables): void;
  /** How many publications are complete (SN-139). */
  published(): number;
  /** All that was taken has been handled: flows are let go (TN-87). */
  releaseFlows(): boolean;
  /** From both workers, the oldest first; default: all. */
  takeEvents(limit?: number): readonly PlaneEvent[];
  takePunts(limit?: number): readonly DataPunt[];
  /** A frame as the TUN device gives it; absent: only what control has injected leaves. */
  egress(now: Instant, frame?: Uint8Array): readonly SealedDatagram[];
  /** A receive; returns the IP packets for the TUN device. */
  ingress(now: Instant, batch: PlaneReceive): readonly Uint8Array[];
  tallies(): { readonly egress: WorkerTally; readonly ingress: WorkerTally };
}

export interface WorkerTally {
  readonly counters: Readonly<Record<TwinCounter, number>>;
  readonly drops: Readonly<Partial<Record<Reason, number>>>;
}

/** Counters that do not depend on how datagrams and packets are joined. */
export type TwinCounter = Extract<
  Counter,
  "packets_in" | "packets_passed" | "packets_punted" | "packets_injected" | "keepalives" | "events_deferred"
>;

export interface DrivenPlaneOptions extends Pick<PlaneOptions, "mode" | "limits" | "maxPeers"> {
  readonly mtu?: number;
}

export type PlaneKind = "twin" | "WebAssembly";

/** Both kinds, for `describe.each`. */
export const PLANE_KINDS: readonly PlaneKind[] = ["twin", "WebAssembly"];

/** What tests run on that do not name a kind: `POSTERN_TEST_PLANE=WebAssembly` chooses the other. */
export const DEFAULT_PLANE: PlaneKind =
  process.env["POSTERN_TEST_PLANE"] === "WebAssembly" ? "WebAssembly" : "twin";

export function createDrivenPlane(kind: PlaneKind, options: DrivenPlaneOptions): DrivenPlane {
  return kind === "twin" ? createPlaneTwin(options) : driveWebAssembly(options);
}

/** A packet as from the TUN device, without offloads. */
export function frameOf(packet: Uint8Array): Uint8Array {
  return plainFrame(packet);
}

function driveWebAssembly({ mode, mtu = defaultMtu(mode), ...options }: DrivenPlaneOptions): DrivenPlane {
  const plane = testPlane({ mode, mtu, maxPeers: 256, ...options });
  const { drive } = plane;
  return {
    records: plane.records,
    flows: plane.flows,
    execute: (command) => plane.execute(command),
    publish: (tables) => plane.publish(tables),
    published: () => plane.published(),
    releaseFlows: () => plane.releaseFlows(),
    takeEvents: (limit = Number.POSITIVE_INFINITY) => plane.takeEvents(limit),
    takePunts: (limit = Number.POSITIVE_INFINITY) => plane.takePunts(limit),
    egress(now, frame) {
      const sends = [...(frame === undefined ? [] : drive.egress(now, frame)), ...drive.flushEgress(now)];
      return sends.flatMap((send) => {
        const { slot, to, source, ecn } = send;
        return datagramsOf(send).map((bytes) => ({ slot, to, source, ecn, bytes }));
      });
    },
    ingress: (now, batch) => [...drive.ingress(now, batch), ...drive.flushIngress(now)].flatMap(packetsOf),
    tallies: () => plane.counters(),
  };
}

function defaultMtu(mode: PlaneMode): number {
  return mode === "plain" ? 1420 : 1280;
}

/** The packets that were joined to a frame. */
export function packetsOf(frame: Uint8Array): readonly Uint8Array[] {
  const packets = splitFrame(frame, { limitBytes: 65_535, mode: "plain" });
  if (!packets.ok) throw new Error(`the plane wrote an unreadable frame: ${packets.reason}`);
  return packets.value;
}
