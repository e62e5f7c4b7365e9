/**
 * A plane that is its own peer: what it seals it opens again, frame by frame, without system calls and
 * without a copy in between (the receive buffer of one worker is the send buffer of the other).
 */
import { CONSTANTS, instantiatePlane, OFFSETS } from "../../build/bindings/memory/index.js";
import { createPlane, createPlaneMemory } from "../../build/bindings/plane/index.js";
import { createSeededRandom, instant, ip, prefix } from "../../build/src/base/index.js";

const { plane: PLANE, worker: WORKER, egress: EGRESS, ingress: INGRESS, coalesce: COALESCE } = OFFSETS;
const PEER_ID = 0x123456;
const INDEX = PEER_ID * 256 + 1;
const SOURCE = ip("192.0.2.1");
const PORT = 51820;
const PAGE_BYTES = 65_536;
const SEED = createSeededRandom(1);

const all = [prefix("0.0.0.0/0"), prefix("::/0")];
const routes = all.map((range) => ({ prefix: range, target: { kind: "peer", slot: 0 } }));
/** Prefixes decide, and let everything pass. */
export const EVERYTHING = { routes, permits: [{ slot: 0, sources: all, refuseDestination: false }] };
/** A gateway with a resource like the client's own network, without filters: prefixes decide. */
const cidr = { slot: 0, sources: all, destinations: all, egressSources: all, refuseDestination: true };
export const CIDR = { routes, permits: [cidr] };
/** The same as a translated resource with filters: flows decide about all of it (TN-110). */
const byFlow = { destinations: all, egressSources: all, isTranslated: true };
export const BY_FLOW = { routes, permits: [{ ...cidr, destinations: [], egressSources: [], byFlow }] };

/**
 * @returns `run(frame)`: carries one frame as the TUN device gives it, `packets` in all, and returns the
 *   milliseconds spent on egress and on ingress, and the bytes of the frames that came out
 */
export function createLoopback(
  module,
  { mtu, mode = "plain", buffers = 1, tables = EVERYTHING, flows = [] },
) {
  const { memory } = createPlaneMemory();
  const plane = createPlane({ memory, module, mode, mtu, maxPeers: 4, flows: { random: SEED } });
  const exports = instantiatePlane(module, memory);
  connectToItself(plane, tables);
  for (const flow of flows) plane.flows.link(instant(0), flow);
  plane.releaseFlows();
  const spare = addBuffers(memory, buffers - 1);
  const words = new Uint32Array(memory.buffer);
  const bytes = new Uint8Array(memory.buffer);
  const egress = words[(CONSTANTS.PLANE_ADDRESS + PLANE.egress) >> 2];
  const ingress = words[(CONSTANTS.PLANE_ADDRESS + PLANE.ingress) >> 2];
  const pool = inTurn([words[(egress + WORKER.input) >> 2], ...spare]);
  words[(ingress + WORKER.input) >> 2] = words[(egress + WORKER.output) >> 2];
  words[(ingress + WORKER.fromBytes) >> 2] = 4;
  words[(ingress + WORKER.fromPort) >> 2] = PORT;
  words[(ingress + WORKER.localBytes) >> 2] = 4;
  bytes.set(SOURCE, ingress + WORKER.from);
  const times = { egressMs: 0, ingressMs: 0, outBytes: 0 };

  /** Hands the complete send to the other worker. */
  function turnRound() {
    const began = performance.now();
    const length = words[(egress + EGRESS.sendBytes) >> 2];
    exports.ingressBegin(ingress, length, Math.min(length, words[(egress + EGRESS.sendSegment) >> 2]));
    while (exports.ingressStep(ingress) !== 0) countFrames();
    countFrames();
    exports.sendDone(egress);
    times.ingressMs += performance.now() - began;
  }

  const countFrames = () => {
    times.outBytes += takeFrames(words, ingress + INGRESS.coalesce);
  };

  /** Runs the egress worker; its time is what the turns in between do not take. */
  function timed(step) {
    const [began, before] = [performance.now(), times.ingressMs];
    while (step() !== 0) turnRound();
    times.egressMs += performance.now() - began - (times.ingressMs - before);
  }

  return {
    counters: () => plane.counters(),
    run(frames) {
      Object.assign(times, { egressMs: 0, ingressMs: 0, outBytes: 0 });
      for (const frame of frames) {
        // Who chooses is not measured.
        const input = pool.next();
        words[(egress + WORKER.input) >> 2] = input;
        const began = performance.now();
        bytes.set(frame, input + CONSTANTS.BUFFER_LEAD);
        exports.egressBegin(egress, frame.length);
        times.egressMs += performance.now() - began;
        timed(() => exports.egressStep(egress));
      }
      if (exports.egressFlush(egress) !== 0) turnRound();
      const began = performance.now();
      exports.ingressFlush(ingress);
      countFrames();
      times.ingressMs += performance.now() - began;
      return { ...times };
    },
  };
}

/** Further buffers behind all that the plane has, as a pool would hand them out in turn (PG-56). */
function addBuffers(memory, count) {
  const pages = Math.ceil(CONSTANTS.BUFFER_BYTES / PAGE_BYTES);
  return Array.from({ length: count }, () => memory.grow(pages) * PAGE_BYTES);
}

function inTurn(buffers) {
  let turn = 0;
  return {
    next() {
      turn = turn + 1 < buffers.length ? turn + 1 : 0;
      return buffers[turn];
    },
  };
}

function connectToItself(plane, tables) {
  const key = new Uint8Array(32).fill(7);
  const far = instant(Number.MAX_SAFE_INTEGER / 2);
  const session = {
    local: INDEX,
    remote: INDEX,
    generation: 1,
    isInitiator: true,
    sendKey: key,
    receiveKey: key,
    sendUntil: far,
    recvUntil: far,
  };
  plane.execute({ kind: "add-peer", slot: 0, peerId: PEER_ID });
  plane.execute({
    kind: "set-path",
    slot: 0,
    path: {
      kind: "direct",
      destination: { address: SOURCE, port: PORT },
      headRoom: 0,
      isIdle: false,
      isBroken: false,
      generation: 1,
    },
  });
  plane.execute({ kind: "install", slot: 0, peerId: PEER_ID, session });
  plane.execute({ kind: "set-current", slot: 0, local: INDEX });
  plane.publish(tables);
}

/** Takes the listed frames as the loop does, which writes them: bytes of packets in them. */
function takeFrames(words, record) {
  const count = words[(record + COALESCE.count) >> 2];
  words[(record + COALESCE.count) >> 2] = 0;
  let bytes = 0;
  for (let i = 0; i < count; i++) bytes += words[((record + COALESCE.listBytes) >> 2) + i] - 10;
  return bytes;
}
