/** What control does with workers, on threads that only say what they are told to. */
import { describe, expect, it } from "vitest";
import { BYTES, createPlaneMemory, createSharedMemory, OFFSETS } from "../../../../bindings/memory/index.ts";
import type { SysCalls } from "../../../../bindings/sys/index.ts";
import type { PlaneThread, PlaneThreads, WorkerReport } from "../../../../bindings/thread/index.ts";
import { createPlaneWorkers } from "../../../../bindings/worker/index.ts";

const { worker: WORKER } = OFFSETS;
const DESCRIPTORS = { tun: 3, udp4: 4, hasSegmentation: true, hasTcpOffload: true, hasUdpOffload: true };
/** What control asks of the kernel for workers: an eventfd each. */
const CALLS = { eventfd: () => 9, write: () => 8, close: () => 0, errno: () => 0 };

/** A thread whose loop begins when it is told to, and ends when it is asked for. */
function scriptedThreads(): PlaneThreads & { end(): void } {
  const handles: ((report: WorkerReport) => void)[] = [];
  const say = (report: WorkerReport): void => {
    for (const handle of handles) handle(report);
  };
  const thread: PlaneThread = {
    run: () => say({ kind: "ready" }),
    end: () => {},
    onReport: (handle) => void handles.push(handle),
    exited: new Promise(() => {}),
    failed: new Promise(() => {}),
  };
  const loaded = Promise.resolve();
  return { loaded, take: () => thread, endSpare: () => {}, end: () => say({ kind: "ended", code: 1 }) };
}

describe("workers of the plane", () => {
  it("PG-47, PG-66: what was counted of a socket is not held against the one that is bound in its place", async () => {
    const { memory } = createPlaneMemory();
    const shared = createSharedMemory(memory);
    const ingress = shared.allocate(BYTES.ingress);
    const threads = scriptedThreads();
    const workers = createPlaneWorkers({
      shared,
      module: new WebAssembly.Module(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0])),
      // The calls that are made.
      sys: CALLS as unknown as SysCalls,
      threads,
      pairs: [{ ingress }],
    });
    const counted = [WORKER.overflow, WORKER.overflow6, WORKER.errors];
    await workers.start(DESCRIPTORS);
    for (const field of counted) shared.words[(ingress + field) >> 2] = 101;
    const paused = workers.pause();
    threads.end();
    await paused;
    await workers.start(DESCRIPTORS);
    expect(counted.map((field) => shared.words[(ingress + field) >> 2])).toEqual([0, 0, 0]);
  });
});
