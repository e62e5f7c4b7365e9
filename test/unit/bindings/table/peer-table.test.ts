import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import {
  BYTES,
  CONSTANTS,
  createPlaneMemory,
  createSharedMemory,
  OFFSETS,
  type SharedMemory,
} from "../../../../bindings/memory/index.ts";
import { createPlane } from "../../../../bindings/plane/index.ts";
import { createPeerIndex, createQuiescence } from "../../../../bindings/table/index.ts";
import { createSeededRandom } from "../../../../src/base/index.ts";
import { TUNNEL_PEERS_MAX } from "../../../../src/plane/index.ts";
import fc from "../../../lib/property.ts";
import { sealMessage } from "../../../twin/plane/message.ts";
import { compileVariant } from "../../crypto/modules.ts";
import { counting, udp } from "../../plane/packets.ts";
import {
  B,
  createPair,
  directPath,
  NET_A,
  NET_B,
  PEER_B,
  POLICIES,
  plainFrame,
  receiveOne,
  SLOT,
  sendAll,
  sessionKeys,
  testPlane,
} from "../../plane/pair.ts";

const { plane: PLANE, peer: PEER, session: SESSION, worker: WORKER } = OFFSETS;
const ROUTED = { family: 4, source: NET_A.v4, destination: NET_B.v4 } as const;
const GOOD = udp(counting(64), ROUTED);

/** The number of a peer's current session, 0 for none. */
function currentRow(memory: WebAssembly.Memory, slot: number): number {
  const words = new Uint32Array(memory.buffer);
  const peers = words[(CONSTANTS.PLANE_ADDRESS + PLANE.peers) >> 2] ?? 0;
  return words[(peers + slot * BYTES.peer + PEER.current) >> 2] ?? 0;
}

describe("peers and sessions (WG-44, WG-52)", () => {
  it("finds peers by id through any churn (a map as twin)", () => {
    const ids = fc.integer({ min: 1, max: 40 }).map((n) => (n * 0x10) & 0xffffff);
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.boolean(), ids), { maxLength: 200 }), (steps) => {
        const shared = createSharedMemory(createPlaneMemory().memory);
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
    const shared = createSharedMemory(createPlaneMemory().memory);
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

  it("settles for what a few milliseconds bring, where it need not wait", () => {
    const shared = createSharedMemory(createPlaneMemory().memory);
    const { workers, set } = workersOf(shared);
    const quiescence = createQuiescence(shared, workers);
    set(0, WORKER.running, 1);
    let released = false;
    quiescence.after(() => {
      released = true;
    });
    quiescence.settle();
    expect(released).toBe(false);
    set(0, WORKER.parked, 1);
    quiescence.settle();
    expect(released).toBe(true);
  });

  it("WG-44: hurries a worker that does not come by itself, as one whose socket is full, and stops that", async () => {
    const shared = createSharedMemory(createPlaneMemory().memory);
    const { workers, set } = workersOf(shared);
    const quiescence = createQuiescence(shared, workers);
    set(0, WORKER.running, 1);
    let released = false;
    quiescence.after(() => {
      released = true;
    });
    const hurried = (CONSTANTS.PLANE_ADDRESS + PLANE.isHurried) >> 2;
    const epoch = ((workers[0] ?? 0) + WORKER.epoch) >> 2;
    const worker = new Worker(
      `const { memory, hurried, epoch } = require("node:worker_threads").workerData;
      const words = new Int32Array(memory.buffer);
      while (Atomics.load(words, hurried) === 0) Atomics.wait(words, hurried, 0, 10);
      Atomics.add(words, epoch, 1);`,
      { eval: true, workerData: { memory: shared.memory, hurried, epoch } },
    );
    await once(worker, "online");
    quiescence.drain();
    expect([released, Atomics.load(shared.words, hurried)]).toEqual([true, 0]);
    await once(worker, "exit");
  });

  it("waits for nobody when no worker runs", () => {
    const shared = createSharedMemory(createPlaneMemory().memory);
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

  it.each([
    ["the most flow records", { pairs: 1, flows: 524_288 }],
    ["the most pairs", { pairs: 16, flows: 131_072 }],
  ])("TN-52: a gateway's plane has 16,384 rows, and room for %s beside them", (_what, { pairs, flows }) => {
    const { memory } = createPlaneMemory();
    const plane = createPlane({
      ...{ memory, module: compileVariant("turbofan"), mode: "gateway", mtu: 1280, pairs },
      flows: { random: createSeededRandom(1), capacity: flows },
    });
    plane.execute({ kind: "add-peer", slot: TUNNEL_PEERS_MAX.gateway - 1, peerId: 0xffffff });
    expect(() =>
      plane.execute({ kind: "add-peer", slot: TUNNEL_PEERS_MAX.gateway, peerId: 0xfffffe }),
    ).toThrow("below 16384");
  });
});
