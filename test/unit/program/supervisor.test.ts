/** What the service manager is told, to a socket like its own (sd_notify(3)). */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { encodeUnixName, openKernel } from "../../../bindings/linux/index.ts";
import { AF_UNIX, SOCK_DGRAM, SOCK_NONBLOCK } from "../../../bindings/linux/socket-constants.ts";
import { type Log, SILENT } from "../../../src/base/index.ts";
import { takeSupervisor } from "../../../src/cli/environment.ts";
import { createSupervisor, livenessOf, superviseBy } from "../../../src/program/supervisor.ts";

describe("the environment", () => {
  it("PG-81: tells where and how often, and no child sees it", () => {
    const env = { NOTIFY_SOCKET: "/run/n", WATCHDOG_USEC: "60000000", WATCHDOG_PID: "7", OTHER: "stays" };
    expect(takeSupervisor(env, 7)).toEqual({ socket: "/run/n", watchdogMs: 60_000 });
    expect(env).toEqual({ OTHER: "stays" });
  });

  it.each([
    [{}, undefined],
    [{ WATCHDOG_USEC: "1000" }, undefined],
    [{ NOTIFY_SOCKET: "@a" }, { socket: "@a", watchdogMs: undefined }],
    [
      { NOTIFY_SOCKET: "@a", WATCHDOG_USEC: "x" },
      { socket: "@a", watchdogMs: undefined },
    ],
    [
      { NOTIFY_SOCKET: "@a", WATCHDOG_USEC: "2000", WATCHDOG_PID: "8" },
      { socket: "@a", watchdogMs: undefined },
    ],
    [
      { NOTIFY_SOCKET: "@a", WATCHDOG_USEC: "2000", WATCHDOG_PID: "" },
      { socket: "@a", watchdogMs: 2 },
    ],
  ])("PG-81: %j", (env, expected) => {
    expect(takeSupervisor(env, 7)).toEqual(expected);
  });
});

describe("the course of a program", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  function run(watchdogMs: number | undefined) {
    const sent: string[] = [];
    const program = { status: "one", isAlive: true };
    const supervisor = superviseBy((text) => sent.push(text), watchdogMs);
    supervisor.ready({ statusLine: () => program.status, isAlive: () => program.isAlive });
    return { supervisor, program, sent };
  }

  it("PG-81: readiness with the status, a changed one at most every 10 s, and the stop", () => {
    const { supervisor, program, sent } = run(undefined);
    expect(sent).toEqual(["READY=1\nSTATUS=one"]);
    program.status = "two\nREADY=0";
    vi.advanceTimersByTime(9_999);
    expect(sent).toHaveLength(1);
    vi.advanceTimersByTime(20_000);
    expect(sent.slice(1)).toEqual(["STATUS=two READY=0"]);
    supervisor.stopping();
    vi.advanceTimersByTime(60_000);
    expect(sent.slice(2)).toEqual(["STOPPING=1"]);
  });

  it("PG-81: signs of life at half the time, as long as it lives", () => {
    const { program, sent } = run(60_000);
    const signs = () => sent.filter((text) => text === "WATCHDOG=1").length;
    vi.advanceTimersByTime(29_999);
    expect(signs()).toBe(0);
    vi.advanceTimersByTime(1);
    expect(signs()).toBe(1);
    program.isAlive = false;
    vi.advanceTimersByTime(60_000);
    expect(signs()).toBe(1);
  });

  it("PG-81: a worker lives while its epoch moves, or while it waits", () => {
    const worker = { epoch: 1, isParked: false };
    const other = { epoch: 5, isParked: true };
    const isAlive = livenessOf(() => [{ ...worker }, { ...other }]);
    expect(isAlive()).toBe(true);
    expect(isAlive()).toBe(false);
    worker.epoch = 2;
    expect(isAlive()).toBe(true);
    worker.isParked = true;
    expect(isAlive()).toBe(true);
    other.isParked = false;
    expect(isAlive()).toBe(false);
  });
});

describe("the socket", () => {
  const kernel = openKernel();
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "notify-"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  /** Everything that is sent to `path` while `use` runs. */
  function listenAt(path: string, use: () => void): string {
    const { sys, scratch } = kernel;
    const fd = sys.socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    try {
      return scratch.frame((room) => {
        const name = encodeUnixName(path) ?? expect.fail(`bad name ${path}`);
        expect(sys.bind(fd, room.put(name), name.length)).toBe(0);
        use();
        const at = room.take(256);
        return new TextDecoder().decode(room.bytes(at, Math.max(0, sys.read(fd, at, 256))).slice());
      });
    } finally {
      sys.close(fd);
    }
  }

  const say = (socket: string, log: Log = SILENT) =>
    createSupervisor({ socket, watchdogMs: undefined }, log).stopping();

  it("PG-81: by its path, and by an abstract name", () => {
    const path = join(folder, "socket");
    expect(listenAt(path, () => say(path))).toBe("STOPPING=1");
    const abstract = `@postern-test-${process.pid}`;
    expect(listenAt(abstract, () => say(abstract))).toBe("STOPPING=1");
  });

  it("PG-81: what cannot be told is DEBUG", () => {
    const lines: unknown[] = [];
    const log: Log = { ...SILENT, debug: (_event, fields) => lines.push(fields) };
    say(join(folder, "nobody"), log);
    say("relative", log);
    say(`/${"x".repeat(108)}`, log);
    expect(lines).toEqual([{ reason: "ENOENT" }, { reason: "EINVAL" }, { reason: "EINVAL" }]);
  });

  it("PG-81: a name in bytes", () => {
    const bytes = (path: string) => [...(encodeUnixName(path) ?? [])];
    expect(bytes("/a")).toEqual([1, 0, 47, 97, 0]);
    expect(bytes("@a")).toEqual([1, 0, 0, 97]);
  });
});
