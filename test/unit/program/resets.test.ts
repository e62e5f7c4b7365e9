import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createResets, MERGE_MS } from "../../../src/program/endpoint/resets.ts";

describe("network resets", () => {
  const begun: string[] = [];
  const failures: unknown[] = [];
  /** Ends the reset that runs. */
  let finish: (error?: unknown) => void = () => {};

  beforeEach(() => {
    vi.useFakeTimers();
    begun.length = 0;
    failures.length = 0;
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  function create() {
    const reset = (reason: string): Promise<void> => {
      begun.push(reason);
      return new Promise((resolve, reject) => {
        finish = (error) => (error === undefined ? resolve() : reject(error));
      });
    };
    return createResets(reset, (error) => failures.push(error));
  }

  async function finishAndWait(ms: number): Promise<void> {
    finish();
    await vi.advanceTimersByTimeAsync(ms);
  }

  it("PG-75: the first begins at once", () => {
    create().request("SIGHUP");
    expect(begun).toEqual(["SIGHUP"]);
  });

  it("PG-76: those within a second become one, a second after the first, not before", async () => {
    const resets = create();
    resets.request("a");
    resets.request("b");
    await finishAndWait(MERGE_MS - 1);
    resets.request("c");
    expect(begun).toEqual(["a"]);
    await vi.advanceTimersByTimeAsync(1);
    expect(begun).toEqual(["a", "c"]);
    await finishAndWait(10 * MERGE_MS);
    expect(begun).toEqual(["a", "c"]);
  });

  it("PG-76: later than a second is a reset of its own, at once", async () => {
    const resets = create();
    resets.request("a");
    await finishAndWait(MERGE_MS);
    resets.request("b");
    expect(begun).toEqual(["a", "b"]);
  });

  it("PG-76: the second counts from the beginning of a reset, not from its end", async () => {
    const resets = create();
    resets.request("a");
    await vi.advanceTimersByTimeAsync(700);
    resets.request("b");
    await finishAndWait(MERGE_MS - 701);
    expect(begun).toEqual(["a"]);
    await vi.advanceTimersByTimeAsync(1);
    expect(begun).toEqual(["a", "b"]);
  });

  it("PG-66: never two at a time, however long one takes", async () => {
    const resets = create();
    resets.request("slow");
    await vi.advanceTimersByTimeAsync(100 * MERGE_MS);
    resets.request("next");
    expect(begun).toEqual(["slow"]);
    await finishAndWait(MERGE_MS);
    expect(begun).toEqual(["slow", "next"]);
  });

  it("PG-15: stop waits for the one that runs, and lets none follow", async () => {
    const resets = create();
    resets.request("a");
    resets.request("b");
    let isStopped = false;
    void resets.stop().then(() => {
      isStopped = true;
    });
    await vi.advanceTimersByTimeAsync(MERGE_MS);
    expect(isStopped).toBe(false);
    await finishAndWait(10 * MERGE_MS);
    expect({ isStopped, begun }).toEqual({ isStopped: true, begun: ["a"] });
  });

  it("PG-14: one that fails is told once, and none follows", async () => {
    const resets = create();
    resets.request("a");
    resets.request("b");
    finish("no sockets");
    await vi.advanceTimersByTimeAsync(10 * MERGE_MS);
    expect({ failures, begun }).toEqual({ failures: ["no sockets"], begun: ["a"] });
    await resets.stop();
  });
});
