/** Stamps and a time of day that is set while the program runs (WG-8). */
import { describe, expect, it } from "vitest";
import { createSeededRandom, type Instant, instant, unixMs } from "../../../src/base/index.ts";
import { NO_ACTIVITY } from "../../../src/plane/index.ts";
import { createNodeCrypto } from "../../../src/program/crypto-node.ts";
import { createWgDevice, PLAIN_POLICY, type WgDevice } from "../../../src/wireguard/index.ts";

const START = instant(1_000_000);
const UNIX = Date.UTC(2026, 0, 1);
const HOUR_MS = 3_600_000;
/** Beyond every delay before a repeated initiation (WG-36). */
const NEXT_TRY_MS = 5_500;

const crypto = createNodeCrypto();

function createDevice(key: number, unix: number): WgDevice {
  return createWgDevice({
    now: START,
    unixMs: unixMs(unix),
    staticKey: new Uint8Array(32).fill(key),
    random: createSeededRandom(key),
    records: {
      activity: () => NO_ACTIVITY,
      takeCounter: () => 0n,
      noteSent: () => {},
      noteReceived: () => {},
      received: () => undefined,
    },
    crypto,
  });
}

function meet(one: WgDevice, other: WgDevice): void {
  const publicKey = other.publicKey() ?? new Uint8Array(0);
  const added = one.addPeer(START, { publicKey, policy: PLAIN_POLICY });
  if (!added.ok) throw new Error(added.reason);
  one.initiate(START, added.value);
}

/** Whether `to` takes what `from` has to send at that time. */
function answer(from: WgDevice, to: WgDevice, now: Instant): string {
  from.handleTimeout(now);
  const sent = from.pollTransmit();
  if (sent === undefined) throw new Error("nothing was sent");
  const outcome = to.handleHandshake(now, { datagram: sent.datagram });
  return outcome.kind === "dropped" ? outcome.reason : outcome.kind;
}

describe("WG-8: stamps follow the time of day", () => {
  /** Has answered an earlier run of the same key, whose clock was right. */
  function responder(): WgDevice {
    const other = createDevice(2, UNIX);
    const earlier = createDevice(1, UNIX);
    meet(other, earlier);
    meet(earlier, other);
    expect(answer(earlier, other, START)).toBe("accepted");
    return other;
  }

  it("forward at once: started an hour behind, then set right", () => {
    const other = responder();
    const late = createDevice(1, UNIX - HOUR_MS);
    meet(late, other);
    expect(answer(late, other, START)).toBe("wg_replayed_timestamp");
    const then = instant(START + NEXT_TRY_MS);
    late.handleWallClock(then, unixMs(UNIX + NEXT_TRY_MS));
    expect(answer(late, other, then)).toBe("accepted");
  });

  it("and never back: started an hour ahead, then set right", () => {
    const other = responder();
    const early = createDevice(1, UNIX + HOUR_MS);
    meet(early, other);
    const then = instant(START + NEXT_TRY_MS);
    expect(answer(early, other, then)).toBe("accepted");
    const later = instant(then + NEXT_TRY_MS);
    early.handleWallClock(later, unixMs(UNIX + 2 * NEXT_TRY_MS));
    expect(answer(early, other, later)).toBe("accepted");
  });

  it("also for a peer that is added after the clock was put back", () => {
    const other = responder();
    const early = createDevice(1, UNIX + NEXT_TRY_MS);
    early.handleWallClock(START, unixMs(UNIX - HOUR_MS));
    meet(early, other);
    const then = instant(START + NEXT_TRY_MS);
    expect(answer(early, other, then)).toBe("accepted");
  });
});
