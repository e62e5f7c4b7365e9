import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Instant, instant, ip } from "../../../src/base/index.ts";
import type { DataPunt, PlaneEvent } from "../../../src/plane/index.ts";
import { createShell, type ShellMachine, type ShellTransmit } from "../../../src/program/shell/index.ts";

/** A machine that writes down what it is told; the ring and socket are arrays. */
function rig(held = createHeldFlows()) {
  const trace: string[] = [];
  const commands: ReturnType<ShellMachine["pollCommand"]>[] = [];
  const transmits: ShellTransmit[] = [];
  const { events, punts, otherPunts, ...rings } = createRings();
  const defects: unknown[] = [];
  let due: Instant | undefined;
  let [isBusy, published] = [false, 0];
  let wake = (): void => {};
  const start = Date.now();
  const now = (): Instant => instant(Date.now() - start);
  const shell = createShell({
    machine: {
      handlePlaneEvent: (_now, event) => trace.push(`event ${event.kind}`),
      handlePunt: (_now, punt) => trace.push(`punt ${punt.reason}`),
      handleTimeout(at) {
        trace.push(`timeout ${at}`);
        due = undefined;
      },
      pollTimeout: () => due,
      pollCommand: () => commands.shift(),
      handleCarriedOut: (_now, command) => trace.push(`done ${command.kind}`),
      pollTransmit: () => transmits.shift(),
    },
    plane: {
      execute: (command) => trace.push(`execute ${command.kind}`),
      publish: () => trace.push("publish"),
      published: () => published,
      releaseFlows: () => held.release(trace),
      ...rings,
      onWake(listener) {
        wake = listener;
        return () => {
          wake = () => {};
        };
      },
    },
    now,
    send({ bytes }) {
      if (isBusy) return "busy";
      trace.push(`send ${bytes[0]}`);
      return "done";
    },
    writeTun: () => trace.push("write-tun"),
    drainEvents: () => trace.push("events"),
    onDefect: (error) => defects.push(error),
  });
  return {
    shell,
    trace,
    commands,
    transmits,
    events,
    punts,
    otherPunts,
    defects,
    wake: () => wake(),
    setDue: (at: number) => {
      due = instant(at);
    },
    setPublished: (value: number) => {
      published = value;
    },
    setHeld: held.set,
    setBusy: (value: boolean) => {
      isBusy = value;
    },
  };
}

/** What two workers hand up. */
function createRings() {
  const events: PlaneEvent[] = [];
  const punts: DataPunt[] = [];
  const otherPunts: DataPunt[] = [];
  return {
    events,
    punts,
    otherPunts,
    hasInput: () => events.length + punts.length + otherPunts.length > 0,
    takeEvents: (limit: number) => events.splice(0, limit),
    // The limit is each ring's.
    takePunts: (limit: number) => [...punts.splice(0, limit), ...otherPunts.splice(0, limit)],
  };
}

/** Flows that are let go when they have been asked about so often. */
function createHeldFlows() {
  let held = 0;
  return {
    set(value: number) {
      held = value;
    },
    release(trace: string[]): boolean {
      if (held === 0) return false;
      trace.push("release flows");
      held--;
      return held > 0;
    },
  };
}

const transmit = (byte: number): ShellTransmit => ({
  destination: { address: ip("192.0.2.1"), port: 1 },
  bytes: Uint8Array.of(byte),
});

describe("the control thread's loop", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it("PG-52, WG-52: events, time, punts; commands before transmits, the machine's events last", () => {
    const it = rig();
    it.events.push({ kind: "activity", slot: 1 });
    it.punts.push({ reason: "first", packet: Uint8Array.of(0x45) });
    it.commands.push({ kind: "hold", slot: 1 }, { kind: "publish", tables: { routes: [], permits: [] } });
    it.transmits.push(transmit(7));
    it.setDue(0);
    it.wake();
    expect(it.trace).toEqual([
      "event activity",
      "execute hold",
      "done hold",
      "publish",
      "send 7",
      "timeout 0",
      "punt first",
      "events",
    ]);
  });

  it("SN-139: a publication is carried out when it is complete, behind what was punted before", () => {
    const it = rig();
    it.commands.push({ kind: "publish", tables: { routes: [], permits: [] } });
    it.shell.input(() => {});
    vi.advanceTimersByTime(3);
    expect(it.trace).not.toContain("done publish");
    it.trace.length = 0;
    it.setPublished(1);
    it.punts.push({ reason: "first", packet: Uint8Array.of(0x45) });
    vi.advanceTimersByTime(1);
    expect(it.trace).toEqual(["punt first", "done publish", "events"]);
    vi.advanceTimersByTime(100);
    expect(it.trace).toHaveLength(3);
  });

  it("TN-87: flows are let go behind all that was done, and again until none is held", () => {
    const it = rig();
    it.setHeld(2);
    it.punts.push({ reason: "flow", direction: "out", packet: Uint8Array.of(0x45) });
    it.commands.push({ kind: "inject", slot: 1, packets: [] });
    it.wake();
    expect(it.trace).toEqual(["execute inject", "done inject", "punt flow", "events", "release flows"]);
    vi.advanceTimersByTime(1);
    expect(it.trace.slice(-2)).toEqual(["events", "release flows"]);
    it.trace.length = 0;
    vi.advanceTimersByTime(100);
    expect(it.trace).toEqual([]);
  });

  it("wakes exactly when the machine asks for it, and not again", () => {
    const it = rig();
    it.setDue(500);
    it.shell.input(() => {});
    vi.advanceTimersByTime(499);
    expect(it.trace).toEqual(["events"]);
    vi.advanceTimersByTime(1);
    expect(it.trace).toEqual(["events", "timeout 500", "events"]);
    vi.advanceTimersByTime(100_000);
    expect(it.trace).toHaveLength(3);
  });

  it("PG-46: a datagram that found no room goes later, in order, and once", () => {
    const it = rig();
    it.setBusy(true);
    it.transmits.push(transmit(1), transmit(2));
    it.shell.input(() => {});
    expect(it.trace).not.toContain("send 1");
    it.setBusy(false);
    vi.advanceTimersByTime(1);
    expect(it.trace.filter((line) => line.startsWith("send"))).toEqual(["send 1", "send 2"]);
  });

  it("PG-52: more than a turn's worth goes on behind the runtime's other work", async () => {
    const it = rig();
    for (let i = 0; i < 1025; i++) it.punts.push({ reason: "first", packet: Uint8Array.of(0x45) });
    it.wake();
    expect(it.trace.filter((line) => line === "punt first")).toHaveLength(1024);
    await vi.advanceTimersByTimeAsync(0);
    expect(it.trace.filter((line) => line === "punt first")).toHaveLength(1025);
  });

  it("PG-52: what one ring has beyond a turn's worth is not forgotten because another had something, too", async () => {
    const it = rig();
    for (let i = 0; i < 1025; i++) it.punts.push({ reason: "first", packet: Uint8Array.of(0x45) });
    it.otherPunts.push({ reason: "first", packet: Uint8Array.of(0x45) });
    it.wake();
    expect(it.trace.filter((line) => line === "punt first")).toHaveLength(1025);
    // Nobody wakes us: the ring is not empty.
    await vi.advanceTimersByTimeAsync(0);
    expect(it.trace.filter((line) => line === "punt first")).toHaveLength(1026);
  });

  it("PG-18: a defect stops the loop and is reported once", () => {
    const it = rig();
    it.shell.input(() => {
      throw new Error("broken");
    });
    it.wake();
    it.shell.input(() => it.trace.push("input"));
    expect(it.defects).toHaveLength(1);
    expect(it.trace).toEqual([]);
  });

  it("does nothing after stop", () => {
    const it = rig();
    it.setDue(10);
    it.shell.input(() => {});
    it.shell.stop();
    it.events.push({ kind: "activity", slot: 1 });
    it.wake();
    vi.advanceTimersByTime(1_000);
    expect(it.trace).toEqual(["events"]);
  });
});
