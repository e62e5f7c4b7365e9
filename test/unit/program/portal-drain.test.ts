import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createSeededRandom } from "../../../src/base/index.ts";
import { drain } from "../../../src/program/portal/drain.ts";
import { connectPeer, startPortal } from "./portal-peer.ts";

const PEERS = 1_000;

function start(withinMs: number, peers = PEERS) {
  const closedAtMs: number[] = [];
  const began = Date.now();
  const draining = drain(
    Array.from({ length: peers }, () => ({ close: () => closedAtMs.push(Date.now() - began) })),
    withinMs,
    createSeededRandom(7),
  );
  let isOver = false;
  void draining.over.then(() => {
    isOver = true;
  });
  return { draining, closedAtMs, isOver: () => isOver };
}

describe("who goes when", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it("PT-190: each peer is sent away at a random instant of the time, then it is over", async () => {
    const { closedAtMs, isOver } = start(10_000);
    await vi.advanceTimersByTimeAsync(9_999);
    expect(isOver()).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    expect(isOver()).toBe(true);
    expect(closedAtMs).toHaveLength(PEERS);
    for (let second = 0; second < 10; second++) {
      const share = closedAtMs.filter((ms) => Math.floor(ms / 1000) === second).length;
      expect(share, `second ${second}`).toBeGreaterThan(PEERS / 20);
      expect(share, `second ${second}`).toBeLessThan(PEERS / 5);
    }
  });

  it("PT-190: it is over with the last peer, and nobody is closed twice", async () => {
    const { draining, closedAtMs, isOver } = start(10_000);
    await vi.advanceTimersByTimeAsync(5_000);
    const before = closedAtMs.length;
    draining.left(false);
    await vi.advanceTimersByTimeAsync(0);
    expect(isOver()).toBe(false);
    draining.left(true);
    await vi.advanceTimersByTimeAsync(0);
    expect(isOver()).toBe(true);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(closedAtMs).toHaveLength(before);
  });

  it("PT-190: nobody there, or no time, is over at once", async () => {
    const [nobody, noTime] = [start(10_000, 0), start(0)];
    await vi.advanceTimersByTimeAsync(0);
    expect([nobody.isOver(), noTime.isOver()]).toEqual([true, true]);
    expect(vi.getTimerCount()).toBe(0);
  });
});

it("PT-190: peers are sent away one by one within --drain, and nobody new is let in meanwhile", async () => {
  const portal = await startPortal({ drain: 60_000 });
  const peers = await Promise.all(
    ["a", "b"].map((id) => connectPeer(portal.url, { role: "gateway", token: portal.tokens.gateway, id })),
  );
  for (const peer of peers) await peer.next("init");
  const stopped = portal.stop();
  const ready = await fetch(`${portal.url.replace("ws:", "http:")}/readyz`);
  expect(ready.status).toBe(503);
  await expect(
    connectPeer(portal.url, { role: "gateway", token: portal.tokens.gateway, id: "c" }),
  ).rejects.toThrow();
  // Whoever is still there is served.
  const alive = peers[0];
  alive?.send("heartbeat", {}, "7", "phoenix");
  await alive?.next("phx_reply");
  // When the last has gone by itself there is nobody to wait for.
  for (const { socket } of peers) socket.close();
  expect(await stopped).toBe(0);
});
