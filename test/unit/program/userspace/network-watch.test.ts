import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type IpAddress, instant, ip } from "../../../../src/base/index.ts";
import { LOOK_EVERY_MS, watchOwnNetwork } from "../../../../src/program/userspace/network-watch.ts";

describe("a peer without a device watches its network and itself", () => {
  const HOME = [ip("192.0.2.1")];
  const ELSEWHERE = [ip("198.51.100.1")];
  let addresses: readonly IpAddress[] = HOME;
  /** How far the clock is ahead of the timers. */
  let stoodStillMs = 0;
  let heard: (string | number)[] = [];
  let watch = { close() {} };

  beforeEach(() => {
    vi.useFakeTimers();
    [addresses, stoodStillMs, heard] = [HOME, 0, []];
    watch = watchOwnNetwork({
      find: () => addresses,
      now: () => instant(Date.now() + stoodStillMs),
      onAddresses: () => heard.push("addresses"),
      onStandstill: (ms) => heard.push(ms),
    });
  });
  afterEach(() => {
    watch.close();
    vi.useRealTimers();
  });

  function passLook(): void {
    vi.advanceTimersByTime(LOOK_EVERY_MS);
  }

  it("PG-74: tells of a standstill of more than 5 s, once", () => {
    passLook();
    stoodStillMs += 5_000;
    passLook();
    expect(heard).toEqual([]);
    stoodStillMs += 5_001;
    passLook();
    passLook();
    expect(heard).toEqual([5_001]);
  });

  it("PG-74, PG-142: other addresses are a change of the network, whether it stood still or not", () => {
    addresses = ELSEWHERE;
    passLook();
    addresses = HOME;
    stoodStillMs += 60_000;
    passLook();
    passLook();
    expect(heard).toEqual(["addresses", "addresses"]);
  });

  it("PG-74: without an address there is nothing to do, and those that come back are the same", () => {
    addresses = [];
    passLook();
    addresses = HOME;
    passLook();
    expect(heard).toEqual([]);
  });

  it("PG-74: a standstill behind which there is no address at first is told with the first one, once", () => {
    addresses = [];
    stoodStillMs += 60_000;
    for (let i = 0; i < 3; i++) passLook();
    expect(heard).toEqual([]);
    addresses = HOME;
    for (let i = 0; i < 3; i++) passLook();
    expect(heard).toEqual([60_000]);
  });

  it("PG-130: looks no more once it is closed", () => {
    watch.close();
    addresses = ELSEWHERE;
    passLook();
    expect([heard, vi.getTimerCount()]).toEqual([[], 0]);
  });
});
