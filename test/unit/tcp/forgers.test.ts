/** The rules of PG-127 as scripts: what forgers, old duplicates and broken peers get. */
import { describe, expect, it } from "vitest";
import { createSeededRandom, instant } from "../../../src/base/index.ts";
import { SENT_RANGES_MAX } from "../../../src/tcp/constants.ts";
import { encodeSegment } from "../../../src/tcp/encode.ts";
import { faceOf } from "../../../src/tcp/host.ts";
import { createHostState } from "../../../src/tcp/host-state.ts";
import { FULL_PROFILE } from "../../../src/tcp/index.ts";
import type { Segment } from "../../../src/tcp/segment.ts";
import { OPEN, OURS, PEER, runScript } from "./script.ts";

describe("forgers (RFC 5961)", () => {
  it("PG-127: a reset counts at exactly the next octet; in the window it is challenged, outside nothing", () => {
    runScript(`${OPEN}
      +0   < R 2:2(0)
      +0   > . 1:1(0) ack 1
      +0   < R 1048576:1048576(0)
      +0   > . 1:1(0) ack 1
      +0   < R 1048577:1048577(0)
      +0   < R 0:0(0)
      +0   < R 1:1(0)
      +0   * closed reset
    `);
  });

  it("PG-127: a SYN is challenged, wherever it lies (RFC 5961 §4)", () => {
    runScript(`${OPEN}
      +0   < S 1:1(0) win 100 <ts 1010 ecr 0>
      +0   > . 1:1(0) ack 1
      +0   < S 100000:100000(0) win 100 <ts 1010 ecr 0>
      +0   > . 1:1(0) ack 1
    `);
  });

  it("PG-127: an acknowledgement of what was never sent, or long ago, is challenged, and its data dropped", () => {
    runScript(`${OPEN}
      +0   < . 1:11(10) ack 2 win 512 <ts 1010 ecr 0>
      +0   > . 1:1(0) ack 1
      +0   < . 1:11(10) ack -70000 win 512 <ts 1010 ecr 0>
      +0   > . 1:1(0) ack 1
      +0   < . 1:11(10) ack -60000 win 512 <ts 1010 ecr 0>
      +0   * data 10
      +40  > . 1:1(0) ack 11
    `);
  });

  it("PG-127: ten challenges a second", () => {
    const forged = "+0 < R 2:2(0)\n";
    const host = runScript(`${OPEN}
      ${`${forged} +0 > . 1:1(0) ack 1\n`.repeat(10)}
      ${forged.repeat(5)}
      +500 wait
      ${`${forged} +0 > . 1:1(0) ack 1\n`.repeat(5)}
      ${forged}
    `);
    expect(host.counters().challenge_limit).toBe(6);
  });

  it("PG-127: data outside of the window are acknowledged and dropped", () => {
    runScript(`${OPEN}
      +0   < . 65536:65546(10) ack 1 win 512 <ts 1010 ecr 0>
      +0   > . 1:1(0) ack 1
      +0   < . 0:1(1) ack 1 win 512 <ts 1010 ecr 0>
      +0   > . 1:1(0) ack 1
    `);
  });
});

describe("time stamps (RFC 7323)", () => {
  it("PG-127: PAWS drops what is older than what came last, and says where we are", () => {
    const host = runScript(`${OPEN}
      +0   < . 1:11(10) ack 1 win 512 <ts 1009 ecr 0>
      +0   > . 1:1(0) ack 1 <ts 10 ecr 1010>
      +0   < . 1:11(10) ack 1 win 512 <ts 1010 ecr 0>
      +0   * data 10
      +40  > . 1:1(0) ack 11
    `);
    expect(host.counters().old_timestamp).toBe(1);
  });

  it("PG-127: but not after 24 days", () => {
    runScript(`${OPEN}
      +${24 * 24 * 3_600_000 + 1} < . 1:11(10) ack 1 win 512 <ts 5 ecr 0>
      +0   * data 10
      +40  > . 1:1(0) ack 11 <ts 2073600051 ecr 5>
    `);
  });

  it("PG-127: a segment without one is dropped once they are agreed upon", () => {
    const host = runScript(`${OPEN}
      +0   < . 1:11(10) ack 1 win 512
    `);
    expect(host.counters().no_timestamp).toBe(1);
  });

  it("PG-127: a reset needs none", () => {
    runScript(`${OPEN}
      +0   < R 1:1(0)
      +0   * closed reset
    `);
  });

  it("PG-127: what is echoed is the stamp of the oldest octet that is not acknowledged (§4.3)", () => {
    runScript(`${OPEN}
      +0   < . 1:101(100) ack 1 win 512 <ts 1020 ecr 0>
      +0   * data 100
      +5   < . 101:201(100) ack 1 win 512 <ts 1025 ecr 0>
      +0   * data 100
      +35  > . 1:1(0) ack 201 <ts 50 ecr 1020>
      +0   < . 301:401(100) ack 1 win 512 <ts 1060 ecr 0>
      +0   > . 1:1(0) ack 201 <ts 50 ecr 1020>
    `);
  });
});

describe("ICMP errors (PG-124, RFC 5461, RFC 5927)", () => {
  it.each([
    ["3 13", "prohibited"],
    ["3 10", "prohibited"],
    ["3 3", "refused"],
    ["3 1", "unreachable"],
    ["11 0", "unreachable"],
  ])("PG-124: type and code %s end an attempt at once: %s", (error, reason) => {
    runScript(`
      +0   connect
      +0   > S 0:0(0)
      +5   icmp ${error}
      +0   * closed ${reason}
    `);
  });

  it("PG-124: on an open connection they are soft, and need a number that is under way", () => {
    runScript(`${OPEN}
      +0   send 100
      +0   > . 1:101(100) ack 1
      +5   icmp 3 1
      +0   * soft-error unreachable
      +5   icmp 3 13 seq 101
      +5   icmp 3 13 seq 0
      +5   icmp 0 0
      +100 < . 1:1(0) ack 101 win 512 <ts 1100 ecr 10>
    `);
  });

  it("PG-127: too big lowers the MSS and sends again; nonsense lowers it to 512 at most", () => {
    runScript(
      `${OPEN}
      +0   send 2456
      +0   > . 1:2457(2456) ack 1 gso 1228
      +5   icmp 3 4 1000
      +0   > . 1:2457(2456) ack 1 gso 948
      +5   icmp 3 4 68
      +0   > . 1:2457(2456) ack 1 gso 500
      +5   icmp 3 4 1400
      `,
      { isSuper: true },
    );
  });
});

describe("limits", () => {
  it("PG-127: 128 half-open connections per listener; more are dropped and counted", () => {
    const profile = { ...FULL_PROFILE, halfOpenMax: 0 };
    const host = runScript("+0 < S 0:0(0) win 65535 <mss 1240>", { profile });
    expect(host.counters().half_open_limit).toBe(1);
    expect(FULL_PROFILE.halfOpenMax).toBe(128);
  });

  it("PG-127: so many connections, and no more", () => {
    const profile = { ...FULL_PROFILE, connectionsMax: 0 };
    const host = runScript("+0 < S 0:0(0) win 65535 <mss 1240>\n +0 connect", { profile });
    expect(host.counters().connection_limit).toBe(2);
    expect(FULL_PROFILE.connectionsMax).toBe(65_536);
  });

  it("PG-127: SACK cuts what is under way into so many pieces at most", () => {
    const state = createHostState({ random: createSeededRandom(1), admit: () => "accept" });
    const host = faceOf(state);
    const now = instant(1_000);
    const say = (given: Partial<Segment>): void => {
      const plain = { isSyn: false, isAck: true, isFin: false, isRst: false, window: 65_535 };
      const segment = { seq: 1, ack: 0, ...plain, payload: new Uint8Array(0), ...given };
      host.handlePacket(now, encodeSegment(PEER, OURS, segment));
      while (host.pollPacket() !== undefined);
    };
    say({ seq: 0, isSyn: true, isAck: false, isSackPermitted: true, mss: 1_240 });
    const [entry] = state.byId.values();
    if (entry === undefined) throw new Error("no connection");
    const { iss, sender } = entry.connection;
    say({ ack: iss + 1 });
    host.send(now, 1, new Uint8Array(12_400));
    say({ ack: iss + 1 });
    expect(sender.nxt).toBe(12_400);
    // Every second octet of a flight.
    for (let i = 0; i < 3_000; i++) {
      const start = (iss + 2 + 2 * i) >>> 0;
      say({ ack: iss + 1, sacks: [{ start, end: (start + 1) >>> 0 }] });
    }
    expect(sender.sent.list.length).toBeGreaterThan(SENT_RANGES_MAX / 2);
    expect(sender.sent.list.length).toBeLessThanOrEqual(SENT_RANGES_MAX + 2);
  });

  it("PG-127: who is refused hears a reset, who is ignored nothing", () => {
    runScript("+0 < S 0:0(0) win 65535 <mss 1240>\n +0 > R. 0:0(0) ack 1", { admit: () => "refuse" });
    runScript("+0 < S 0:0(0) win 65535 <mss 1240>", { admit: () => "ignore" });
  });
});
