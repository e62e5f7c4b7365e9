/** A wire between two namespaces with delay, loss and the like, for tests and benchmarks (TS-23). */
import { once } from "node:events";
import { connect } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { programCommand, rootFile } from "../../../bindings/runtime/index.ts";
import { bringUp, type Lab, type Port } from "./namespaces.ts";

/** It is there in a clone only. */
const WIRE = fileURLToPath(rootFile("scripts/wire.mjs"));
const WIRE_WITHIN_MS = 20_000;

/** What is absent stays as it is; at first nothing is delayed, lost or limited. */
export interface WireSettings {
  /** `out` is from the first port to the second. Absent: both. */
  readonly direction?: "out" | "in" | "both";
  readonly delayMs?: number;
  readonly jitterMs?: number;
  /** Shares of all packets, 0 to 1. */
  readonly loss?: number;
  readonly duplicate?: number;
  readonly reorder?: number;
  /** 0: no limit. */
  readonly rateMbps?: number;
  /** What may wait for the line, in units of 1,000 bytes; 0: no limit. Without a rate nothing waits. */
  readonly queueKb?: number;
  /** Nothing passes. */
  readonly cut?: boolean;
}

/** Counts of packets; of super-frames where the devices take such. `refused`: the device was down. */
export type WireCounters = Readonly<
  Record<"passed" | "bytes" | "lost" | "late" | "full" | "refused", number>
>;

export interface Wire {
  /** Of the program that carries. */
  readonly pid: number;
  /** Changes settings while packets pass. */
  set(settings: WireSettings): Promise<Readonly<Record<"out" | "in", WireCounters>>>;
}

export interface WireOptions extends WireSettings {
  /** False: no super-frames, so that what is lost is one packet. Default: true. */
  readonly offloads?: boolean;
  /** Of the losses. */
  readonly seed?: number;
}

/**
 * Joins two namespaces as `Lab.connect` does, but by TUN devices with a program between them. There is no
 * link layer: routes name the device only.
 */
export async function addWire(lab: Lab, near: Port, far: Port, options: WireOptions = {}): Promise<Wire> {
  const middle = await lab.add(`wire-${near.namespace.role}`);
  const args = ["near", "far", JSON.stringify(options)];
  const child = middle.start({ name: "wire", ...programCommand(WIRE, args) });
  await child.waitForLine(/^wired$/, { withinMs: WIRE_WITHIN_MS });
  for (const [end, port] of [
    ["near", near],
    ["far", far],
  ] as const) {
    await middle.ip(`link set ${end} netns ${port.namespace.name} name ${port.device}`);
    await bringUp(port);
  }
  const path = join(middle.runFolder, "wire.sock");
  return { pid: child.pid, set: (settings) => command(path, settings) };
}

async function command(path: string, settings: WireSettings): Promise<Record<"out" | "in", WireCounters>> {
  const socket = connect(path);
  try {
    socket.write(`${JSON.stringify(settings)}\n`);
    const [line] = await once(createInterface({ input: socket }), "line");
    return JSON.parse(line as string) as Record<"out" | "in", WireCounters>;
  } finally {
    socket.destroy();
  }
}
