import { describe, expect, it } from "vitest";
import { CONSTANTS, OFFSETS } from "../../../../bindings/memory/index.ts";
import { equalBytes } from "../../../../src/base/index.ts";
import fc from "../../../lib/property.ts";
import { counting, udp } from "../../plane/packets.ts";
import {
  createPair,
  NET_A,
  NET_B,
  NOW,
  plainFrame,
  receiveOne,
  SLOT,
  type testPlane,
} from "../../plane/pair.ts";

const { plane: PLANE, worker: WORKER, ring: RING } = OFFSETS;
const ROUTED = { family: 4, source: NET_A.v4, destination: NET_B.v4 } as const;
const GOOD = udp(counting(64), ROUTED);

describe("rings (D-10, PG-51)", () => {
  it("carry packets of every size in order, whatever their sizes (wrapping areas)", () => {
    const { a } = createPair();
    a.publish({
      routes: [{ prefix: { address: NET_B.v4, bits: 0 }, target: { kind: "punt" } }],
      permits: [],
    });
    let sent = 0;
    let received = 0;
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 500, max: 1390 }), { minLength: 20, maxLength: 60 }),
        fc.nat(80),
        (sizes, taken) => {
          for (const size of sizes) {
            const payload = counting(size, sent++);
            a.drive.egress(NOW, plainFrame(udp(payload, { ...ROUTED, ports: [sent & 0xffff, 1] })));
          }
          for (const { packet } of a.takePunts(taken)) {
            received++;
            const port = ((packet[20] ?? 0) << 8) | (packet[21] ?? 0);
            expect(port).toBe(received & 0xffff);
            expect(equalBytes(packet.subarray(28), counting(packet.length - 28, received - 1))).toBe(true);
          }
          if (sent - received > 1000) received += a.takePunts(900).length;
        },
      ),
      { numRuns: 80 },
    );
    expect(sent).toBeGreaterThan(2 * 1024);
    // No piece reaches beyond the area: what lies behind it is the input buffer, whose head nobody writes.
    const { memory } = a as ReturnType<typeof testPlane>;
    const words = new Uint32Array(memory.buffer);
    const egress = words[(CONSTANTS.PLANE_ADDRESS + PLANE.egress) >> 2] ?? 0;
    const ring = words[(egress + WORKER.dataRing) >> 2] ?? 0;
    const end = (words[(ring + RING.area) >> 2] ?? 0) + (words[(ring + RING.areaBytes) >> 2] ?? 0);
    expect(end).toBe(words[(egress + WORKER.input) >> 2]);
    const behind = new Uint8Array(memory.buffer).slice(end, end + CONSTANTS.BUFFER_LEAD);
    expect(behind.every((byte) => byte === 0)).toBe(true);
    expect(a.counters().egress.drops).toEqual({});
  });

  it("the inject ring carries injected packets of every size", () => {
    const { a } = createPair();
    for (let i = 0; i < 3000; i++) {
      a.execute({ kind: "inject", slot: SLOT, packets: [udp(counting((i * 37) % 1390), ROUTED)] });
      a.drive.flushEgress(NOW);
    }
    expect(a.counters()).toMatchObject({ injectFull: 0, egress: { counters: { packets_injected: 3000 } } });
  });

  it("gives up what does not fit into the inject ring, and says so", () => {
    const { a } = createPair();
    const packets = Array.from({ length: 2100 }, () => GOOD);
    a.execute({ kind: "inject", slot: SLOT, packets });
    expect(a.counters().injectFull).toBe(2100 - 2048);
    // Each packet of 92 bytes with the room for its tag, in eights.
    expect(a.counters().queues.inject).toEqual({ entries: 2048, bufferBytes: 2048 * 112 });
    expect(a.counters().queues.egress_data).toEqual({ entries: 0, bufferBytes: 0 });
    let datagrams = 0;
    for (const send of a.drive.flushEgress(NOW)) datagrams += send.bytes.length / send.segmentBytes;
    expect(datagrams).toBe(2048);
  });

  it("D-10: tell whether there is anything to be taken, of events and of packets", () => {
    const { a, b } = createPair();
    expect([a.hasInput(), b.hasInput()]).toEqual([false, false]);
    receiveOne(b, new Uint8Array([0xff]));
    expect(b.hasInput()).toBe(true);
    b.takePunts(100);
    expect(b.hasInput()).toBe(true);
    b.takeEvents(100);
    expect(b.hasInput()).toBe(false);
    a.publish({
      routes: [{ prefix: { address: NET_B.v4, bits: 0 }, target: { kind: "punt" } }],
      permits: [],
    });
    a.drive.egress(NOW, plainFrame(GOOD));
    expect(a.hasInput()).toBe(true);
    a.takeEvents(100);
    expect(a.hasInput()).toBe(true);
    a.takePunts(100);
    expect(a.hasInput()).toBe(false);
  });

  it("D-13, PG-54: wakes control once when a ring gets its first entry, and again after it was emptied", async () => {
    const { b } = createPair();
    let wakes = 0;
    const off = b.onWake(() => {
      wakes++;
    });
    // Who waited before us is told before us: a wake that is to come has come by then.
    const turn = async (): Promise<void> => {
      const word = new Int32Array(new SharedArrayBuffer(4));
      const told = Atomics.waitAsync(word, 0, 0);
      Atomics.notify(word, 0);
      await told.value;
      await new Promise((resolve) => setImmediate(resolve));
    };
    for (let i = 0; i < 5; i++) receiveOne(b, new Uint8Array([0xff]));
    await turn();
    expect(wakes).toBe(1);
    receiveOne(b, new Uint8Array([0xff]));
    await turn();
    expect(wakes).toBe(1);
    expect(b.takeEvents(100)).toHaveLength(6);
    receiveOne(b, new Uint8Array([0xff]));
    await turn();
    expect(wakes).toBe(2);
    off();
    b.takeEvents(100);
    receiveOne(b, new Uint8Array([0xff]));
    await turn();
    expect(wakes).toBe(2);
  });
});
