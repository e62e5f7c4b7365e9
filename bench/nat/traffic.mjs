/** Packets of clients' sessions, sealed as a client seals them, and of the resources behind the gateway. */
import { createCipheriv } from "node:crypto";
import { CONSTANTS, instantiatePlane, OFFSETS } from "../../build/bindings/memory/index.js";
import { encodeUdp } from "../../build/src/packet/index.js";
import { clientAddress, FROM, keyOf, LOCAL, PROXY, realAddress, sessionIndex } from "./gateway.mjs";

const { plane: PLANE, worker: WORKER, ingress: INGRESS, coalesce: COALESCE } = OFFSETS;
const VNET_BYTES = 10;
const HEADER_BYTES = 16;
const TAG_BYTES = 16;
const FIRST_PORT = 40_000;
const SERVICE_PORT = 443;

/** Session `i` of client `n`: one source port each. */
export const sessionsOf = (clients, each) =>
  Array.from({ length: clients * each }, (_, i) => ({
    n: Math.floor(i / each),
    port: FIRST_PORT + (i % each),
  }));

/** A client's datagrams, each with the next counter. */
export function createSealer(payloadBytes) {
  const counters = new Map();
  const payload = new Uint8Array(payloadBytes).fill(0x5a);
  return ({ n, port }) => {
    const counter = counters.get(n) ?? 0;
    counters.set(n, counter + 1);
    const packet = udp({ address: clientAddress(n), port }, { address: PROXY, port: SERVICE_PORT }, payload);
    const nonce = new Uint8Array(12);
    new DataView(nonce.buffer).setBigUint64(4, BigInt(counter), true);
    const cipher = createCipheriv("chacha20-poly1305", keyOf(n), nonce, { authTagLength: TAG_BYTES });
    const message = new Uint8Array(HEADER_BYTES + packet.length + TAG_BYTES);
    const view = new DataView(message.buffer);
    view.setUint32(0, 4, true);
    view.setUint32(4, sessionIndex(n), true);
    view.setBigUint64(8, BigInt(counter), true);
    message.set(cipher.update(packet), HEADER_BYTES);
    cipher.final();
    message.set(cipher.getAuthTag(), HEADER_BYTES + packet.length);
    return message;
  };
}

/** What a resource answers in session `port` of client `n`, as the TUN device gives it. */
export function replyFrame({ n, port }, payloadBytes) {
  const payload = new Uint8Array(payloadBytes).fill(0xa5);
  const from = { address: realAddress(n), port: SERVICE_PORT };
  const packet = udp(from, { address: clientAddress(n), port }, payload);
  const frame = new Uint8Array(VNET_BYTES + packet.length);
  frame.set(packet, VNET_BYTES);
  return frame;
}

function udp(from, to, payload) {
  const made = encodeUdp(from, to, payload);
  if (!made.ok) throw new Error(made.reason);
  return made.value;
}

/** The plane's two steps without what `plane.drive` copies for tests. */
export function createSteps(module, { memory, now }) {
  const exports = instantiatePlane(module, memory);
  const words = new Uint32Array(memory.buffer);
  const longs = new BigUint64Array(memory.buffer);
  const bytes = new Uint8Array(memory.buffer);
  const egress = words[(CONSTANTS.PLANE_ADDRESS + PLANE.egress) >> 2];
  const ingress = words[(CONSTANTS.PLANE_ADDRESS + PLANE.ingress) >> 2];
  const inputOf = (worker) => words[(worker + WORKER.input) >> 2] + CONSTANTS.BUFFER_LEAD;
  for (const worker of [egress, ingress]) longs[(worker + WORKER.now) >> 3] = BigInt(now);
  words[(ingress + WORKER.fromBytes) >> 2] = 4;
  words[(ingress + WORKER.fromPort) >> 2] = FROM.port;
  words[(ingress + WORKER.localBytes) >> 2] = 4;
  bytes.set(FROM.address, ingress + WORKER.from);
  bytes.set(LOCAL, ingress + WORKER.local);
  const listed = (ingress + INGRESS.coalesce + COALESCE.count) >> 2;
  const takeFrames = () => {
    words[listed] = 0;
  };
  return {
    /** A datagram that arrives by itself. */
    receive(datagram) {
      bytes.set(datagram, inputOf(ingress));
      exports.ingressBegin(ingress, datagram.length, datagram.length);
      while (exports.ingressStep(ingress) !== 0) takeFrames();
      exports.ingressFlush(ingress);
      takeFrames();
    },
    /** A frame of the TUN device. */
    send(frame) {
      bytes.set(frame, inputOf(egress));
      exports.egressBegin(egress, frame.length);
      while (exports.egressStep(egress) !== 0) exports.sendDone(egress);
      while (exports.egressFlush(egress) !== 0) exports.sendDone(egress);
    },
  };
}
