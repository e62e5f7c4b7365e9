import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { type Log, PosternError, SILENT } from "../../../src/base/index.ts";
import { createRebinding } from "../../../src/program/shell/rebinding.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function rig() {
  const lines: string[] = [];
  const world = { error: undefined as unknown, isBoundFirst: false, bound: 0, retries: 0 };
  const log: Log = {
    ...SILENT,
    error: (event) => lines.push(`error ${event}`),
    info: (event) => lines.push(`info ${event}`),
  };
  const rebinding = createRebinding({
    async rebind(onBound) {
      if (world.isBoundFirst) onBound();
      if (world.error !== undefined) throw world.error;
      if (!world.isBoundFirst) onBound();
    },
    retry: () => {
      world.retries++;
    },
    log,
  });
  const run = () =>
    rebinding.run(() => {
      world.bound++;
    });
  return { ...rebinding, run, world, lines };
}

const none = new PosternError("host", "no UDP sockets available");

it("PG-41: without sockets one ERROR, and an attempt after 1, 2, 4 … 30 s; the portal is told each time", async () => {
  const { run, world, lines } = rig();
  world.error = none;
  for (const [i, waitMs] of [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000].entries()) {
    await run();
    expect(world.bound).toBe(i + 1);
    vi.advanceTimersByTime(waitMs - 1);
    expect(world.retries).toBe(i);
    vi.advanceTimersByTime(1);
    expect(world.retries).toBe(i + 1);
  }
  expect(lines).toEqual(["error no UDP sockets available"]);
  world.error = undefined;
  await run();
  expect(lines.at(-1)).toBe("info UDP sockets are there again");
  world.error = none;
  await run();
  expect(lines.at(-1)).toBe("error no UDP sockets available");
});

it("PG-41: the portal is told once where the sockets are bound, and their workers cannot be started", async () => {
  const { run, world } = rig();
  Object.assign(world, { error: none, isBoundFirst: true });
  await run();
  expect(world.bound).toBe(1);
  vi.advanceTimersByTime(1_000);
  expect(world.retries).toBe(1);
});

it("PG-41: a reset that comes before takes the place of the attempt", async () => {
  const { run, world } = rig();
  world.error = none;
  await run();
  vi.advanceTimersByTime(500);
  world.error = undefined;
  await run();
  vi.advanceTimersByTime(60_000);
  expect(world.retries).toBe(0);
});

it("PG-41: nothing is tried any more after the stop; what is no want of sockets ends the program", async () => {
  const { run, stop, world } = rig();
  world.error = none;
  await run();
  stop();
  vi.advanceTimersByTime(60_000);
  expect(world.retries).toBe(0);
  world.error = new PosternError("privilege", "cannot mark a socket");
  await expect(run()).rejects.toThrow("cannot mark");
});
