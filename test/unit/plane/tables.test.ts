import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BYTES, CONSTANTS, LAYOUT_HASH, OFFSETS, RECORDS } from "../../../bindings/memory/layout.ts";
import { placeFields, type RecordLayout } from "../../../bindings/memory/layout-record.ts";
import { createSharedMemory, type SharedMemory } from "../../../bindings/memory/shared-memory.ts";
import { createPlane, createPlaneMemory } from "../../../bindings/plane/plane.ts";
import { createPeerIndex } from "../../../bindings/table/peer-index.ts";
import { createQuiescence } from "../../../bindings/table/quiescence.ts";
import { equalBytes } from "../../../src/base/index.ts";
import { sealMessage } from "../../twin/plane/message.ts";
import { compileVariant } from "../crypto/modules.ts";
import { counting, udp } from "./packets.ts";
import {
  B,
  createPair,
  directPath,
  NET_A,
  NET_B,
  NOW,
  PEER_B,
  POLICIES,
  plainFrame,
  receiveOne,
  SLOT,
  sendAll,
  sessionKeys,
  testPlane,
} from "./pair.ts";

const ROUTED = { family: 4, source: NET_A.v4, destination: NET_B.v4 } as const;
const GOOD = udp(counting(64), ROUTED);
const { plane: PLANE, peer: PEER, session: SESSION, worker: WORKER, ring: RING } = OFFSETS;

function sharedOf(memory: WebAssembly.Memory): SharedMemory {
  return createSharedMemory(memory);
}

/** The number of a peer's current session, 0 for none. */
function currentRow(memory: WebAssembly.Memory, slot: number): number {
  const words = new Uint32Array(memory.buffer);
  const peers = words[(CONSTANTS.PLANE_ADDRESS + PLANE.peers) >> 2] ?? 0;
  return words[(peers + slot * BYTES.peer + PEER.current) >> 2] ?? 0;
}

describe("the layout (D-3)", () => {
  it("gives every field a place of its own, aligned, and lines to different writers", () => {
    for (const { fields } of Object.values(RECORDS)) {
      const record: RecordLayout = fields;
      const { offsets, bytes } = placeFields(record);
      let end = 0;
      for (const [name, field] of Object.entries(record)) {
        const at = offsets[name] ?? -1;
        expect(at).toBeGreaterThanOrEqual(end);
        const size = { u8: 1, u16: 2, u32: 4, i32: 4, u64: 8, bytes: 8 }[field.type];
        expect(at % size).toBe(0);
        if (field.line === true) expect(at % 64).toBe(0);
        end = at + (field.type === "bytes" ? (field.bytes ?? 0) : size) * (field.count ?? 1);
      }
      expect(bytes).toBeGreaterThanOrEqual(end);
      expect(bytes % 64).toBe(0);
    }
  });

  it("is the one that the module was made from", () => {
    const { memory } = createPlaneMemory();
    const instance = new WebAssembly.Instance(compileVariant("turbofan"), { env: { memory }, sys: NO_CALLS });
    const { layoutHash, constantsEnd } = instance.exports as Record<string, () => number>;
    expect((layoutHash?.() ?? 0) >>> 0).toBe(LAYOUT_HASH);
    expect(constantsEnd?.()).toBeLessThanOrEqual(CONSTANTS.PLANE_ADDRESS);
  });

  it("refuses a module of another build", () => {
    // The smallest module that has the two exports: other numbers.
    const bytes = new Uint8Array([
      0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 127, 3, 2, 1, 0, 7, 14, 1, 10, 108, 97, 121, 111, 117,
      116, 72, 97, 115, 104, 0, 0, 10, 6, 1, 4, 0, 65, 7, 11,
    ]);
    const { memory } = createPlaneMemory();
    const module = new WebAssembly.Module(bytes);
    expect(() => createPlane({ memory, module, mode: "plain", mtu: 1420 })).toThrow(
      expect.objectContaining({ code: "plane-layout" }),
    );
  });
});

const noCall = () => 0;
const NO_CALLS = {
  read: noCall,
  write: noCall,
  sendmsg: noCall,
  recvmsg: noCall,
  poll: noCall,
  clock_gettime: noCall,
  sched_yield: noCall,
  errno: noCall,
};

describe("peers and sessions (WG-44, WG-52)", () => {
  it("finds peers by id through any churn (a map as twin)", () => {
    const ids = fc.integer({ min: 1, max: 40 }).map((n) => (n * 0x10) & 0xffffff);
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.boolean(), ids), { maxLength: 200 }), (steps) => {
        const shared = sharedOf(createPlaneMemory().memory);
        const index = createPeerIndex(shared, 8);
        const model = new Map<number, number>();
        for (const [isInsert, id] of steps) {
          if (isInsert && !model.has(id) && model.size < 8) {
            model.set(id, id % 7);
            index.insert(id, id % 7);
          } else if (!isInsert) {
            model.delete(id);
            index.remove(id);
          }
          const entries = shared.longs.subarray(index.address >> 3, (index.address >> 3) + index.mask + 1);
          for (let wanted = 1; wanted <= 40; wanted++) {
            const key = (wanted * 0x10) & 0xffffff;
            expect(probe(entries, key)).toBe(model.get(key));
          }
          // Unknown ids end their search: a table of removed entries only would be searched in full.
          if (model.size === 0) expect(entries.every((entry) => entry === 0n)).toBe(true);
        }
      }),
      { numRuns: 60 },
    );
  });

  it("a session that was retired opens nothing and sends nothing, and its keys are zeroed", () => {
    const { a } = createPair();
    const memory = (a as unknown as { memory: WebAssembly.Memory }).memory;
    const words = new Uint32Array(memory.buffer);
    const row = words[(CONSTANTS.PLANE_ADDRESS + PLANE.sessions) >> 2] ?? 0;
    const number = currentRow(memory, SLOT);
    const at = row + (number - 1) * BYTES.session;
    const keys = () => new Uint8Array(memory.buffer).slice(at + SESSION.sendKey, at + SESSION.sendKey + 64);
    expect(keys().some((byte) => byte !== 0)).toBe(true);
    a.execute({ kind: "retire", slot: SLOT, local: sessionKeys("a").local });
    expect(keys().every((byte) => byte === 0)).toBe(true);
    expect(currentRow(memory, SLOT)).toBe(0);
    expect(sendAll(a, plainFrame(GOOD))).toEqual([]);
  });

  it("never runs out of rows while sessions come and go (WG-15: eight per peer)", () => {
    const { a } = createPair({ maxPeers: 4, maxSessions: 9 });
    for (let number = 2; number < 600; number++) {
      const session = sessionKeys("a", number % 256, { generation: number });
      a.execute({ kind: "install", slot: SLOT, peerId: PEER_B, session });
      expect(a.records.received(SLOT, session.local)).toEqual({ packets: 0, highest: 0 });
    }
  });

  it("a removed peer is gone at once; its slot serves another with clean numbers", () => {
    const { a, b } = createPair();
    sendAll(a, plainFrame(GOOD));
    b.execute({ kind: "remove-peer", slot: SLOT });
    const { remote, sendKey } = sessionKeys("a");
    expect(receiveOne(b, sealMessage(sendKey, remote, 9n, GOOD))).toEqual([]);
    expect(b.counters().ingress.drops).toEqual({ wg_unknown_index: 1 });
    b.execute({ kind: "add-peer", slot: SLOT, peerId: 0x777777 });
    expect(b.records.activity(SLOT)).toMatchObject({ recvAny: 0, rxBytes: 0 });
    expect(sendAll(a, plainFrame(GOOD))).toHaveLength(1);
  });

  it("refuses commands for a slot without peer: the caller is wrong", () => {
    const plane = testPlane();
    expect(() => plane.execute({ kind: "arm-watch", slot: 1 })).toThrow(/slot 1 has a peer/);
    expect(() => plane.execute({ kind: "set-path", slot: 16, path: directPath(B) })).toThrow(/below 16/);
    // Machines may ask before their command has been carried out: nothing has happened there yet.
    expect(plane.records.activity(2)).toMatchObject({ sentAny: 0, rxBytes: 0 });
  });
});

/** The search of `assembly/table/session.ts`. */
function probe(entries: BigUint64Array, peerId: number): number | undefined {
  for (let i = 0; i < entries.length; i++) {
    const entry = entries[(peerId + i) % entries.length] ?? 0n;
    if (entry === 0n) return undefined;
    if (entry >> 32n === BigInt(peerId)) return Number(entry & 0xffff_ffffn);
  }
  return undefined;
}

describe("quiescence (WG-44, D-11)", () => {
  function workersOf(shared: SharedMemory) {
    const workers = [shared.allocate(BYTES.worker), shared.allocate(BYTES.worker)];
    const set = (i: number, field: number, value: number) =>
      Atomics.store(shared.words, ((workers[i] ?? 0) + field) >> 2, value);
    return { workers, set };
  }

  it("waits for every running worker to raise its epoch or to park", () => {
    const shared = sharedOf(createPlaneMemory().memory);
    const { workers, set } = workersOf(shared);
    const quiescence = createQuiescence(shared, workers);
    set(0, WORKER.running, 1);
    set(1, WORKER.running, 1);
    let released = "";
    quiescence.after(() => {
      released += "a";
    });
    expect(released).toBe("");
    set(0, WORKER.epoch, 1);
    quiescence.reclaim();
    expect(released).toBe("");
    quiescence.after(() => {
      released += "b";
    });
    set(1, WORKER.parked, 1);
    quiescence.reclaim();
    expect(released).toBe("a");
    set(0, WORKER.epoch, 2);
    quiescence.reclaim();
    expect(released).toBe("ab");
  });

  it("waits for nobody when no worker runs", () => {
    const shared = sharedOf(createPlaneMemory().memory);
    const quiescence = createQuiescence(shared, workersOf(shared).workers);
    let released = false;
    quiescence.after(() => {
      released = true;
    });
    expect(released).toBe(true);
  });

  it("policies are published a thousand times in the room of a few", () => {
    const plane = testPlane();
    const before = plane.memory.buffer.byteLength;
    for (let i = 0; i < 1000; i++) plane.publish(i % 2 === 0 ? POLICIES.a : POLICIES.b);
    for (let i = 0; i < 1000; i++) {
      if (i === 0) plane.execute({ kind: "add-peer", slot: SLOT, peerId: PEER_B });
      plane.execute({ kind: "set-path", slot: SLOT, path: directPath(B) });
    }
    expect(plane.memory.buffer.byteLength).toBe(before);
  });

  it("a plane for the most peers fits into the memory", () => {
    const plane = testPlane({ maxPeers: 65_536 });
    plane.execute({ kind: "add-peer", slot: 65_535, peerId: 0xffffff });
    expect(plane.records.activity(65_535)).toMatchObject({ sentAny: 0 });
  });
});

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

  it("the settle ring carries injected packets of every size", () => {
    const { a } = createPair();
    for (let i = 0; i < 3000; i++) {
      a.execute({ kind: "inject", slot: SLOT, packets: [udp(counting((i * 37) % 1390), ROUTED)] });
      a.drive.flushEgress(NOW);
    }
    expect(a.counters()).toMatchObject({ settleFull: 0, egress: { counters: { packets_injected: 3000 } } });
  });

  it("gives up what does not fit into the settle ring, and says so", () => {
    const { a } = createPair();
    const packets = Array.from({ length: 2100 }, () => GOOD);
    a.execute({ kind: "inject", slot: SLOT, packets });
    expect(a.counters().settleFull).toBe(2100 - 2048);
    let datagrams = 0;
    for (const send of a.drive.flushEgress(NOW)) datagrams += send.bytes.length / send.segmentBytes;
    expect(datagrams).toBe(2048);
  });

  it("D-13, PG-54: wakes control once when a ring gets its first entry, and again after it was emptied", async () => {
    const { b } = createPair();
    let wakes = 0;
    const off = b.onWake(() => {
      wakes++;
    });
    const turn = () => new Promise((resolve) => setTimeout(resolve, 20));
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
