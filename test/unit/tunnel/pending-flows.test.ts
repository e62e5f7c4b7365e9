import { describe, expect, it } from "vitest";
import { instant } from "../../../src/base/index.ts";
import { createPendingFlows } from "../../../src/tunnel/pending-flows.ts";

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

describe("pending flows", () => {
  it("TN-28: asks at once, not again before 2 s, and again at 2 s", () => {
    const flows = createPendingFlows();
    expect(flows.add(at(0), "r", numbered(1)).isIntentDue).toBe(true);
    expect(flows.add(at(1_999), "r", numbered(2)).isIntentDue).toBe(false);
    expect(flows.add(at(2_000), "r", numbered(3)).isIntentDue).toBe(true);
  });

  it("TN-28: two resources ask independently", () => {
    const flows = createPendingFlows();
    expect(flows.add(at(0), "r", numbered(1)).isIntentDue).toBe(true);
    expect(flows.add(at(0), "s", numbered(1)).isIntentDue).toBe(true);
  });

  it("TN-32: the dedup outlives a refused flow", () => {
    const flows = createPendingFlows();
    flows.add(at(0), "r", numbered(1));
    flows.take("r");
    expect(flows.add(at(1_000), "r", numbered(2)).isIntentDue).toBe(false);
    flows.take("r");
    expect(flows.add(at(2_000), "r", numbered(3)).isIntentDue).toBe(true);
  });

  it("TN-30: keeps 128 packets and lets the oldest go", () => {
    const flows = createPendingFlows();
    for (let n = 0; n < 128; n++) expect(flows.add(at(0), "r", numbered(n)).dropped).toBe(0);
    expect(flows.add(at(0), "r", numbered(128)).dropped).toBe(1);
    const kept = flows.take("r");
    expect(kept).toHaveLength(128);
    expect(kept[0]).toEqual(numbered(1));
    expect(kept[127]).toEqual(numbered(128));
  });

  it("TN-30: stores no duplicate, and a repeated SYN replaces the first in place", () => {
    const flows = createPendingFlows();
    flows.add(at(0), "r", tcp({ flags: 0x02, sequence: 7 }));
    flows.add(at(0), "r", numbered(1));
    flows.add(at(0), "r", numbered(1));
    flows.add(at(0), "r", tcp({ flags: 0x02, sequence: 7, window: 9 }));
    flows.add(at(0), "r", tcp({ flags: 0x12, sequence: 7, window: 9 }));
    expect(flows.take("r")).toEqual([
      tcp({ flags: 0x02, sequence: 7, window: 9 }),
      numbered(1),
      tcp({ flags: 0x12, sequence: 7, window: 9 }),
    ]);
  });

  it("TN-30: copies what it keeps", () => {
    const flows = createPendingFlows();
    const borrowed = numbered(1);
    flows.add(at(0), "r", borrowed);
    borrowed.fill(0);
    expect(flows.take("r")).toEqual([numbered(1)]);
  });

  it("TN-30: drops a flow 30 s after its last trigger, not before, and counts what it held", () => {
    const flows = createPendingFlows();
    flows.add(at(0), "r", numbered(1));
    flows.add(at(5_000), "r", numbered(2));
    expect(flows.pollTimeout()).toBe(35_000);
    expect(flows.handleTimeout(at(34_999))).toBe(0);
    expect(flows.has("r")).toBe(true);
    expect(flows.handleTimeout(at(35_000))).toBe(2);
    expect(flows.has("r")).toBe(false);
    expect(flows.pollTimeout()).toBeUndefined();
  });

  it("TN-33: after init every pending flow asks again at once", () => {
    const flows = createPendingFlows();
    flows.add(at(0), "r", numbered(1));
    flows.add(at(100), "s", numbered(1));
    expect(flows.restart(at(500))).toEqual(["r", "s"]);
    expect(flows.add(at(2_400), "r", numbered(2)).isIntentDue).toBe(false);
    expect(flows.add(at(2_500), "s", numbered(2)).isIntentDue).toBe(true);
  });

  it("TN-35: a reset clears the stamps and keeps the packets", () => {
    const flows = createPendingFlows();
    flows.add(at(0), "r", numbered(1));
    flows.clearStamps();
    expect(flows.add(at(1), "r", numbered(2)).isIntentDue).toBe(true);
    expect(flows.take("r")).toHaveLength(2);
  });
});
