/** Being woken by workers (PG-52). */
import { describe, expect, it } from "vitest";
import { createPlaneMemory, createSharedMemory } from "../../../../bindings/memory/index.ts";
import { listenForWakes } from "../../../../bindings/ring/index.ts";

function raise({ memory }: ReturnType<typeof createSharedMemory>, address: number): void {
  const words = new Int32Array(memory.buffer);
  Atomics.add(words, address >> 2, 1);
  Atomics.notify(words, address >> 2);
}

describe("a word that wakes control", () => {
  it("PG-52: also wakes for what was raised before anybody listened, and no more once that is ended", async () => {
    const shared = createSharedMemory(createPlaneMemory().memory);
    const address = shared.allocate(64);
    raise(shared, address);
    let wakes = 0;
    let heard = (): void => {};
    const next = (): Promise<void> =>
      new Promise((resolve) => {
        heard = resolve;
      });
    const first = next();
    const end = listenForWakes(shared, address, () => {
      wakes++;
      heard();
    });
    await first;
    const second = next();
    raise(shared, address);
    await second;
    expect(wakes).toBe(2);
    const others = new Promise<void>((resolve) => {
      let turns = 0;
      const endOthers = listenForWakes(shared, address, () => {
        raise(shared, address);
        if (++turns < 10) return;
        endOthers();
        resolve();
      });
    });
    end();
    await others;
    expect(wakes).toBe(2);
  });

  it("PG-52: one that is raised in each turn again leaves room for sockets and timers", async () => {
    const shared = createSharedMemory(createPlaneMemory().memory);
    const address = shared.allocate(64);
    let wakes = 0;
    let wakesBefore: number | undefined;
    const end = listenForWakes(shared, address, () => {
      wakes++;
      // Enough for whoever waits for others.
      if (wakes < 1_000) raise(shared, address);
    });
    raise(shared, address);
    await new Promise<void>((resolve) => {
      const look = (): void => {
        if (wakes === 0) return void setImmediate(look);
        wakesBefore = wakes;
        resolve();
      };
      setImmediate(look);
    });
    end();
    expect(wakesBefore).toBeLessThan(10);
  });
});
