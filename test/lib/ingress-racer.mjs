/** A thread that hands each of many datagrams of one length to an ingress worker's record, as its loop would. */
import { parentPort, workerData } from "node:worker_threads";

const { memory, module, worker, datagrams, bytes, gate, fields } = workerData;
const sys = Object.fromEntries(WebAssembly.Module.imports(module).map(({ name }) => [name, () => -1]));
const { exports } = new WebAssembly.Instance(module, { env: { memory }, sys });
const words = new Int32Array(memory.buffer);
const all = new Uint8Array(memory.buffer);
const from = new Uint8Array(datagrams);
const input = words[(worker + fields.input) >> 2] + fields.lead;
const count = (worker + fields.frames) >> 2;

// All threads begin together.
const start = new Int32Array(gate);
Atomics.add(start, 0, 1);
while (Atomics.load(start, 0) < fields.threads);
for (let at = 0; at < from.length; at += bytes) {
  // And stay together: what a thread is ahead, the others would find accepted long ago.
  Atomics.add(start, 1, 1);
  while (Atomics.load(start, 1) < fields.threads * (at / bytes + 1));
  all.set(from.subarray(at, at + bytes), input);
  exports.ingressBegin(worker, bytes, bytes);
  exports.ingressStep(worker);
  words[count] = 0;
}
parentPort.postMessage("done");
