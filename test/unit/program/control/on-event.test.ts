/** The operator's command for events (PG-113), with real shells in a folder of the test's own. */

import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Log, SILENT } from "../../../../src/base/index.ts";
import { type ControlEvent, createEventBus, type EventBus } from "../../../../src/program/control/index.ts";
import { type EventCommands, runOnEvents } from "../../../../src/program/control/on-event.ts";
import { patient } from "../../../../src/program/lab/index.ts";

let folder: string;
let out: string;
let events: EventBus;
let warnings: { event: string; reason: unknown }[];
let commands: EventCommands | undefined;
/** Of the commands that start next. */
let env: Record<string, string | undefined>;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "on-event-"));
  out = join(folder, "out");
  events = createEventBus();
  warnings = [];
  env = { PATH: process.env["PATH"], OUT: out, FOLDER: folder };
});
afterEach(async () => {
  await commands?.close();
  commands = undefined;
  rmSync(folder, { recursive: true, force: true });
});

function run(command: string, runWithinMs?: number): void {
  const log: Log = {
    ...SILENT,
    warn: (event, fields) => warnings.push({ event, reason: fields?.["reason"] }),
  };
  commands = runOnEvents({
    command,
    events,
    env,
    log,
    ...(runWithinMs === undefined ? {} : { runWithinMs }),
  });
}

const reset = (n: number): ControlEvent => ({ event: "reset", data: { reason: String(n) } });
const written = (): string[] => (existsSync(out) ? readFileSync(out, "utf8").split("\n").slice(0, -1) : []);

describe("the command for events", () => {
  it("PG-113: gets each event as JSON on its input and its name in POSTERN_EVENT, one after the other", async () => {
    run('echo "$POSTERN_EVENT $(cat)" >> "$OUT"');
    events.emit(reset(1));
    events.emit({ event: "portal", data: { state: "connected" } });
    await expect
      .poll(written)
      .toEqual([
        'reset {"event":"reset","data":{"reason":"1"}}',
        'portal {"event":"portal","data":{"state":"connected"}}',
      ]);
    expect(warnings).toEqual([]);
  });

  it("TS-64: one that cannot be started at all is a warning, and so is the next", async () => {
    // More than the kernel takes (E2BIG), of which Node tells by throwing at once.
    run(`: ${"x".repeat(4 << 20)}`);
    events.emit(reset(1));
    events.emit(reset(2));
    await expect.poll(() => warnings.length).toBe(2);
    expect(warnings[0]?.reason).toMatch(/E2BIG/);
  });

  it("TS-64: behind one that cannot be started the next is tried at once", async () => {
    run('echo begun >> "$OUT"; until [ -e "$FOLDER/go" ]; do sleep 0.01; done');
    events.emit(reset(1));
    await expect.poll(written).toEqual(["begun"]);
    events.emit(reset(2));
    events.emit(reset(3));
    env["MUCH"] = "x".repeat(4 << 20);
    writeFileSync(join(folder, "go"), "");
    await expect.poll(() => warnings.length).toBe(2);
  });

  it("PG-113: one that fails, or cannot be found, is a warning, and the next event is told", async () => {
    run('cat >> "$OUT"; exit 3');
    events.emit(reset(1));
    events.emit(reset(2));
    await expect.poll(() => warnings.length).toBe(2);
    expect(warnings[0]).toEqual({ event: "the command for events failed", reason: "exit 3" });
    expect(written()).toHaveLength(2);
  });

  it("PG-113: one that takes too long is killed with all that it started", async () => {
    run('sleep 1000 & echo $! > "$FOLDER/pid"; wait', 200);
    events.emit(reset(1));
    await expect
      .poll(() => warnings)
      .toEqual([{ event: "the command for events failed", reason: "exit SIGKILL" }]);
    const pid = Number(readFileSync(join(folder, "pid"), "utf8"));
    await expect.poll(() => existsSync(`/proc/${pid}/cwd`)).toBe(false);
  });

  it("PG-113: 64 events wait; of more, the oldest are given up", async () => {
    run('while [ ! -e "$FOLDER/go" ]; do sleep 0.02; done; cat >> "$OUT"');
    for (let n = 0; n <= 66; n++) events.emit(reset(n));
    expect(warnings).toHaveLength(2);
    writeFileSync(join(folder, "go"), "");
    await expect.poll(() => written().length, { timeout: 10_000 }).toBe(65);
    const told = written().map((line) =>
      Number((JSON.parse(line) as { data: { reason: string } }).data.reason),
    );
    expect(told).toEqual([0, ...Array.from({ length: 64 }, (_, i) => i + 3)]);
  });

  it("PG-113, PG-15: at the end the last events are told, but not for longer than a second", async () => {
    run('cat >> "$OUT"');
    events.emit({ event: "stopping", data: {} });
    await commands?.close();
    expect(written()).toHaveLength(1);
    run("sleep 1000");
    events.emit(reset(1));
    const startedAt = performance.now();
    await commands?.close();
    expect(performance.now() - startedAt).toBeLessThan(patient(3_000));
  });
});
