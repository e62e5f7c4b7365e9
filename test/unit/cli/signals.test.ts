import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createSignals } from "../../../src/cli/signals.ts";

/** A process that notes how it was ended. */
function setUp() {
  const handlers = new Map<string, (signal: string) => void>();
  const exits: number[] = [];
  const late = vi.fn();
  const process = {
    on: (name: string, handler: (signal: string) => void) => handlers.set(name, handler),
    exit: (code: number) => exits.push(code),
  };
  const signals = createSignals({ withinMs: 5000, onLate: late, process: process as never });
  return { signals, exits, late, send: (signal: string) => handlers.get(signal)?.(signal) };
}

describe("the end of a program", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ])("PG-15: the first %s reaches the program, the second ends the process with %i", (signal, code) => {
    const { signals, exits, send } = setUp();
    const heard: string[] = [];
    signals.onSignal((name) => heard.push(name));
    send(signal);
    expect({ heard, exits }).toEqual({ heard: [signal], exits: [] });
    send(signal);
    expect(exits).toEqual([code]);
  });

  it("PG-15: a stop that takes 5 s ends with 1, not a moment earlier", () => {
    const { signals, exits, late, send } = setUp();
    signals.onSignal(() => undefined);
    send("SIGTERM");
    vi.advanceTimersByTime(4999);
    expect(exits).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(exits).toEqual([1]);
    expect(late).toHaveBeenCalledOnce();
  });

  it("PG-16: SIGHUP and SIGUSR2 never end anything", () => {
    const { signals, exits, send } = setUp();
    const heard: string[] = [];
    signals.onSignal((name) => heard.push(name));
    for (const signal of ["SIGHUP", "SIGUSR2", "SIGHUP", "SIGUSR2"]) send(signal);
    vi.advanceTimersByTime(60_000);
    expect({ heard: heard.length, exits }).toEqual({ heard: 4, exits: [] });
  });

  it("PG-15: without a listener a stop signal ends the process", () => {
    const { signals, exits, send } = setUp();
    const unlisten = signals.onSignal(() => undefined);
    unlisten();
    send("SIGINT");
    expect(exits).toEqual([130]);
  });

  it("PG-18: after a defect the program is stopped cleanly, within the same bound, with 70", () => {
    const { signals, exits } = setUp();
    const heard: string[] = [];
    signals.onSignal((name) => heard.push(name));
    signals.stop(70);
    signals.stop(70);
    expect({ heard, exits }).toEqual({ heard: ["SIGTERM"], exits: [] });
    vi.advanceTimersByTime(5000);
    expect(exits).toEqual([70]);
  });

  it("PG-18: a defect before anybody listens ends the process at once", () => {
    const { signals, exits } = setUp();
    signals.stop(70);
    expect(exits).toContain(70);
  });
});
