import { describe, expect, it } from "vitest";
import { instant } from "../../../src/base/index.ts";
import {
  type AccessTable,
  accessTo,
  askedFor,
  authorisedOn,
  createAccessTable,
  endAccess,
  forgetGrants,
  gatewayOf,
  grantAccess,
  handleAccessTimeout,
  lastServedBy,
  loseGateway,
  pollAccessTimeout,
  refuseAccess,
  restartIntents,
  takeDueIntents,
  wantAccess,
} from "../../../src/tunnel/access.ts";

const at = (ms: number) => instant(ms);

/** A minimal IPv4 TCP header with the given flags, sequence and one distinguishing window byte. */
function tcp(options: {
  readonly flags: number;
  readonly sequence: number;
  readonly window?: number;
}): Uint8Array {
  const packet = new Uint8Array(40);
  packet.set([0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6]);
  packet.set([100, 64, 0, 2, 172, 20, 0, 9], 12);
  packet.set([0xc0, 0, 0, 80], 20);
  new DataView(packet.buffer).setUint32(24, options.sequence);
  packet[32] = 0x50;
  packet[33] = options.flags;
  packet[35] = options.window ?? 0;
  return packet;
}

const numbered = (n: number): Uint8Array => tcp({ flags: 0x10, sequence: n });

const want = (table: AccessTable, ms: number, rid: string, packet?: Uint8Array) =>
  wantAccess(table, at(ms), packet === undefined ? { rid } : { rid, packet });

describe("access that is asked for", () => {
  it("TN-28: asks at once, not again before 2 s, and again at 2 s", () => {
    const table = createAccessTable();
    expect(want(table, 0, "r", numbered(1)).isIntentDue).toBe(true);
    expect(want(table, 1_999, "r", numbered(2)).isIntentDue).toBe(false);
    expect(want(table, 2_000, "r", numbered(3)).isIntentDue).toBe(true);
  });

  it("TN-28: a new wish soon after an answer is asked for when 2 s are over, without another packet", () => {
    const table = createAccessTable();
    want(table, 0, "r", numbered(1));
    refuseAccess(table, "r");
    expect(want(table, 500, "r", numbered(2)).isIntentDue).toBe(false);
    expect(pollAccessTimeout(table)).toBe(at(2_000));
    expect(takeDueIntents(table, at(1_999))).toEqual([]);
    expect(takeDueIntents(table, at(2_000))).toEqual(["r"]);
    expect(takeDueIntents(table, at(2_001))).toEqual([]);
    expect(pollAccessTimeout(table)).toBe(at(30_500));
    expect(grantAccess(table, "r", "g1")).toHaveLength(1);
  });

  it("TN-28: what was answered meanwhile is not asked for again", () => {
    const table = createAccessTable();
    want(table, 0, "r", numbered(1));
    refuseAccess(table, "r");
    want(table, 500, "r", numbered(2));
    grantAccess(table, "r", "g1");
    expect(takeDueIntents(table, at(2_000))).toEqual([]);
    expect(pollAccessTimeout(table)).toBeUndefined();
  });

  it("TN-28: two resources ask independently", () => {
    const table = createAccessTable();
    expect(want(table, 0, "r", numbered(1)).isIntentDue).toBe(true);
    expect(want(table, 0, "s", numbered(1)).isIntentDue).toBe(true);
  });

  it("TN-32: the dedup outlives a refusal", () => {
    const table = createAccessTable();
    want(table, 0, "r", numbered(1));
    expect(refuseAccess(table, "r")).toEqual([numbered(1)]);
    expect(accessTo(table, "r")).toEqual({ kind: "refused" });
    expect(want(table, 1_000, "r", numbered(2)).isIntentDue).toBe(false);
    refuseAccess(table, "r");
    expect(want(table, 2_000, "r", numbered(3)).isIntentDue).toBe(true);
  });

  it("TN-30: keeps 128 packets and lets the oldest go", () => {
    const table = createAccessTable();
    for (let n = 0; n < 128; n++) expect(want(table, 0, "r", numbered(n)).dropped).toBe(0);
    expect(want(table, 0, "r", numbered(128)).dropped).toBe(1);
    const kept = grantAccess(table, "r", "g");
    expect(kept).toHaveLength(128);
    expect(kept[0]).toEqual(numbered(1));
    expect(kept[127]).toEqual(numbered(128));
  });

  it("TN-30: stores no duplicate, and a repeated SYN replaces the first in place", () => {
    const table = createAccessTable();
    want(table, 0, "r", tcp({ flags: 0x02, sequence: 7 }));
    want(table, 0, "r", numbered(1));
    want(table, 0, "r", numbered(1));
    want(table, 0, "r", tcp({ flags: 0x02, sequence: 7, window: 9 }));
    want(table, 0, "r", tcp({ flags: 0x12, sequence: 7, window: 9 }));
    expect(grantAccess(table, "r", "g")).toEqual([
      tcp({ flags: 0x02, sequence: 7, window: 9 }),
      numbered(1),
      tcp({ flags: 0x12, sequence: 7, window: 9 }),
    ]);
  });

  it("TN-30: copies what it keeps", () => {
    const table = createAccessTable();
    const borrowed = numbered(1);
    want(table, 0, "r", borrowed);
    borrowed.fill(0);
    expect(grantAccess(table, "r", "g")).toEqual([numbered(1)]);
  });

  it("TN-30: gives up 30 s after the last trigger, not before, and counts what waited", () => {
    const table = createAccessTable();
    want(table, 0, "r", numbered(1));
    want(table, 5_000, "r", numbered(2));
    expect(pollAccessTimeout(table)).toBe(35_000);
    expect(handleAccessTimeout(table, at(34_999))).toBe(0);
    expect(askedFor(table)).toEqual(["r"]);
    expect(handleAccessTimeout(table, at(35_000))).toBe(2);
    expect(askedFor(table)).toEqual([]);
    expect(pollAccessTimeout(table)).toBeUndefined();
  });

  it("TN-33: after init everything that waits asks again at once", () => {
    const table = createAccessTable();
    want(table, 0, "r", numbered(1));
    want(table, 100, "s", numbered(1));
    expect(restartIntents(table, at(500))).toEqual(["r", "s"]);
    expect(want(table, 2_400, "r", numbered(2)).isIntentDue).toBe(false);
    expect(want(table, 2_500, "s", numbered(2)).isIntentDue).toBe(true);
  });
});

describe("access that is granted", () => {
  function granted(...grants: readonly (readonly [string, string])[]): AccessTable {
    const table = createAccessTable();
    for (const [rid, gid] of grants) grantAccess(table, rid, gid);
    return table;
  }

  it("TN-31: a resource that moves leaves its former gateway", () => {
    const table = granted(["r", "g1"], ["q", "g1"]);
    grantAccess(table, "r", "g2");
    expect(authorisedOn(table, "g1")).toEqual(["q"]);
    expect(authorisedOn(table, "g2")).toEqual(["r"]);
  });

  it("TN-26: ended access is none, and says nothing about others", () => {
    const table = granted(["r", "g1"], ["q", "g1"]);
    endAccess(table, "r");
    expect(accessTo(table, "r")).toEqual({ kind: "none" });
    expect(gatewayOf(table, "q")).toBe("g1");
  });

  it("TN-34: a lost gateway takes its authorisations with it, and who served last is remembered", () => {
    const table = granted(["r", "g1"], ["q", "g2"]);
    loseGateway(table, "g1");
    expect(gatewayOf(table, "r")).toBeUndefined();
    expect(gatewayOf(table, "q")).toBe("g2");
    expect(lastServedBy(table, "r")).toBe("g1");
  });

  it("TN-35: a reset ends all grants, clears the stamps, keeps the packets", () => {
    const table = granted(["q", "g1"]);
    want(table, 0, "r", numbered(1));
    forgetGrants(table, at(1), new Set());
    expect(gatewayOf(table, "q")).toBeUndefined();
    expect(askedFor(table)).toEqual(["r"]);
    expect(want(table, 1, "r", numbered(2)).isIntentDue).toBe(true);
    expect(grantAccess(table, "r", "g1")).toHaveLength(2);
  });

  it("TN-35: what went by a gateway in use is asked for by itself, and only that", () => {
    const table = granted(["q", "g1"], ["s", "g2"]);
    forgetGrants(table, at(5), new Set(["g2"]));
    expect(restartIntents(table, at(6))).toEqual(["s"]);
    expect(gatewayOf(table, "s")).toBeUndefined();
  });

  it("TN-105: access stays while another gateway is asked for: refused, given up, or lost meanwhile", () => {
    const table = granted(["r", "g1"]);
    want(table, 0, "r");
    expect(gatewayOf(table, "r")).toBe("g1");
    refuseAccess(table, "r");
    expect(accessTo(table, "r")).toEqual({ kind: "granted", gid: "g1" });
    want(table, 3_000, "r");
    handleAccessTimeout(table, at(33_000));
    expect(accessTo(table, "r")).toEqual({ kind: "granted", gid: "g1" });
    want(table, 40_000, "r");
    loseGateway(table, "g1");
    expect(gatewayOf(table, "r")).toBeUndefined();
    expect(askedFor(table)).toEqual(["r"]);
  });
});
