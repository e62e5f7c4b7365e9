/** Two ingress workers of one session on two threads, with the same datagrams at the same time (PG-176). */
import { Worker } from "node:worker_threads";
import { expect, it } from "vitest";
import { CONSTANTS, OFFSETS } from "../../../bindings/memory/index.ts";
import { sealMessage } from "../../twin/plane/message.ts";
import { compileVariant } from "../crypto/modules.ts";
import { A, B, directPath, install, NOW, PEER_A, SLOT, sessionKeys, testPlane } from "./pair.ts";

const THREADS = 2;
const DATAGRAMS = 30_000;
const BYTES = 32;
const { worker: WORKER, ingress: INGRESS, coalesce: COALESCE } = OFFSETS;

it("PG-176, WG-48: two threads that get the same datagrams accept each of them once", {
  timeout: 60_000,
}, async () => {
  const b = testPlane({ pairs: THREADS });
  b.execute({ kind: "add-peer", slot: SLOT, peerId: PEER_A });
  b.execute({ kind: "set-path", slot: SLOT, path: directPath(A) });
  install(b, "b", 1);
  const { sendKey, remote } = sessionKeys("a");
  const datagrams = new SharedArrayBuffer(DATAGRAMS * BYTES);
  const bytes = new Uint8Array(datagrams);
  for (let i = 0; i < DATAGRAMS; i++) {
    bytes.set(sealMessage(sendKey, remote, BigInt(i), new Uint8Array()), i * BYTES);
  }
  const gate = new SharedArrayBuffer(8);
  const fields = {
    threads: THREADS,
    input: WORKER.input,
    lead: CONSTANTS.BUFFER_LEAD,
    frames: INGRESS.coalesce + COALESCE.count,
  };
  await Promise.all(
    b.drives.map(({ ingress, records }) => {
      // Source and time, for all that follow; the datagram itself is nothing.
      ingress(NOW, { from: A, local: B.address, bytes: Uint8Array.of(4, 0, 0, 0) });
      return race({ worker: records.ingress, datagrams, bytes: BYTES, gate, fields, memory: b.memory });
    }),
  );
  const { workers, ingress } = b.counters();
  expect(ingress.counters.packets_passed).toBe(DATAGRAMS);
  expect(ingress.drops["wg_replay"]).toBe(DATAGRAMS);
  expect(b.records.received(SLOT, sessionKeys("b").local)).toEqual({
    packets: DATAGRAMS,
    highest: DATAGRAMS - 1,
  });
  // Both have had some of them: otherwise nothing was tried.
  const each = [1, 3].map((i) => workers[i]?.counters.packets_passed ?? 0);
  expect(Math.min(...each)).toBeGreaterThan(0);
});

function race(data: object): Promise<void> {
  const url = new URL("../../lib/ingress-racer.mjs", import.meta.url);
  const thread = new Worker(url, { workerData: { ...data, module: compileVariant("turbofan") } });
  return new Promise((resolve, reject) => {
    thread.once("message", () => resolve()).once("error", reject);
  });
}
