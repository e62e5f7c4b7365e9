/**
 * One connection of our TCP in one process: from the application's octets to the application's octets.
 *
 *   npm run bench -- tcp [--pairs 7] [--ms 400] [--cipher NAME] [--json]
 *
 * Two cells. Machine to machine, by super-segments against packets of the MTU with whole checksums: the ratio says
 * what it gains that its cost is per super-segment. And through a plane that is its own peer, which splits, seals, opens
 * and joins, against the machines alone: the ratio is the share of TCP.
 */
import { parseArgs } from "node:util";
import { chooseCipher } from "../../build/bindings/cipher/index.js";
import { createPlane, createPlaneMemory } from "../../build/bindings/plane/index.js";
import { createSeededRandom, instant, ip, prefix } from "../../build/src/base/index.js";
import { createTcpHost, FRAME_BYTES_MAX } from "../../build/src/tcp/index.js";
import { settle, validSample } from "../lib/quiet.mjs";
import { beginResult, cellOf, endResult } from "../lib/result.mjs";
import { createDraw, shuffled } from "../lib/statistics.mjs";

/** A disturbed sample is repeated so often (TS-50). */
const ATTEMPTS = 10;
const MTU = 1280;
const CHUNK = new Uint8Array(1 << 18).fill(7);
const CLIENT = { address: ip("10.0.0.1"), port: 0 };
const SERVER = { address: ip("10.0.0.2"), port: 80 };
const OUTSIDE = ip("127.0.0.1");
const PORT = 51_820;
const PEER_ID = 0x123456;
const INDEX = PEER_ID * 256 + 1;

const OPTIONS = {
  pairs: { type: "string", default: "7" },
  ms: { type: "string", default: "400" },
  cipher: { type: "string" },
  seed: { type: "string", default: "1" },
  json: { type: "boolean", default: false },
};

/** How frames get from one host to the other: `carry` moves what `from` has to send, and says whether that was anything. */
const WAYS = {
  super() {
    const into = new Uint8Array(FRAME_BYTES_MAX);
    return (from, to, now) => {
      let moved = false;
      for (let length = from.pollFrame(into); length > 0; length = from.pollFrame(into)) {
        to.handleFrame(now, into.slice(0, length));
        moved = true;
      }
      return moved;
    };
  },
  packets() {
    return (from, to, now) => {
      let moved = false;
      for (let packet = from.pollPacket(); packet !== undefined; packet = from.pollPacket()) {
        to.handleFrame(now, framed(packet));
        moved = true;
      }
      return moved;
    };
  },
  plane(module) {
    const { memory } = createPlaneMemory();
    const plane = createPlane({ memory, module, mode: "plain", mtu: MTU, maxPeers: 4 });
    connectToItself(plane);
    const source = { from: { address: OUTSIDE, port: PORT }, local: OUTSIDE };
    return (from, to, now) => {
      let moved = false;
      const take = (sends) => {
        for (const { bytes, segmentBytes } of sends) {
          for (const frame of plane.drive.ingress(now, { ...source, bytes, segmentBytes })) {
            to.handleFrame(now, frame);
          }
        }
      };
      for (let length = 1; length > 0; ) {
        const sends = plane.drive.egressFrom(now, (into) => {
          length = from.pollFrame(into);
          return length;
        });
        take(sends);
        moved ||= length > 0;
      }
      take(plane.drive.flushEgress(now));
      for (const frame of plane.drive.flushIngress(now)) to.handleFrame(now, frame);
      return moved;
    };
  },
};

/** Behind an empty header: the checksum is verified. */
function framed(packet) {
  const frame = new Uint8Array(10 + packet.length);
  frame.set(packet, 10);
  return frame;
}

function connectToItself(plane) {
  const key = new Uint8Array(32).fill(7);
  const far = instant(Number.MAX_SAFE_INTEGER / 2);
  const all = [prefix("0.0.0.0/0")];
  plane.execute({ kind: "add-peer", slot: 0, peerId: PEER_ID });
  plane.execute({
    kind: "set-path",
    slot: 0,
    path: {
      kind: "direct",
      destination: { address: OUTSIDE, port: PORT },
      ...{ headRoom: 0, isIdle: false, isBroken: false, generation: 1 },
    },
  });
  plane.execute({
    kind: "install",
    slot: 0,
    peerId: PEER_ID,
    session: {
      ...{ local: INDEX, remote: INDEX, generation: 1, isInitiator: true, sendKey: key, receiveKey: key },
      ...{ sendUntil: far, recvUntil: far },
    },
  });
  plane.execute({ kind: "set-current", slot: 0, local: INDEX });
  plane.publish({
    routes: all.map((range) => ({ prefix: range, target: { kind: "peer", slot: 0 } })),
    permits: [{ slot: 0, sources: all, refuseDestination: false }],
  });
}

/** A connection that never ends. @returns `run(ms)`: carries for so much of our processor's time; gigabits per second of it */
function createStream(carry) {
  const random = createSeededRandom(1);
  const client = createTcpHost({ random, admit: () => "refuse", mtu: MTU });
  const server = createTcpHost({ random, admit: () => "accept", mtu: MTU });
  let received = 0;
  const now = () => instant(performance.now());
  const id = client.connect(now(), CLIENT, SERVER);

  function fill() {
    while (client.send(now(), id, CHUNK) === CHUNK.length);
  }

  function hear() {
    for (let event = server.pollEvent(); event !== undefined; event = server.pollEvent()) {
      if (event.kind !== "data") continue;
      received += event.bytes.length;
      server.take(now(), event.id, event.bytes.length);
    }
    for (let event = client.pollEvent(); event !== undefined; event = client.pollEvent()) {
      if (event.kind === "closed") throw new Error(`the connection ended: ${event.reason}`);
    }
  }

  function turn() {
    fill();
    const isOut = carry(client, server, now());
    hear();
    const isBack = carry(server, client, now());
    hear();
    if (isOut || isBack) return;
    for (const host of [client, server])
      if ((host.pollTimeout() ?? Infinity) <= now()) host.handleTimeout(now());
  }

  return {
    run(milliseconds) {
      const before = received;
      const started = process.cpuUsage();
      const spentMs = () => {
        const { user, system } = process.cpuUsage(started);
        return (user + system) / 1000;
      };
      while (spentMs() < milliseconds) for (let i = 0; i < 50; i++) turn();
      return ((received - before) * 8) / spentMs() / 1e6;
    },
    again: () => client.counters().retransmitted,
  };
}

function cell(name, ways, values, draw) {
  const streams = Object.fromEntries(Object.entries(ways).map(([arm, way]) => [arm, createStream(way)]));
  const milliseconds = Number(values.ms);
  for (const stream of Object.values(streams)) stream.run(milliseconds);
  const samples = [];
  for (let pair = 0; pair < Number(values.pairs); pair++) {
    const arms = Object.entries(streams).map(([arm, stream]) => () => ({
      arm,
      pair,
      ...validSample(() => stream.run(milliseconds), ATTEMPTS),
    }));
    for (const measure of shuffled(arms, draw)) samples.push(measure());
  }
  for (const [arm, stream] of Object.entries(streams)) {
    if (stream.again() > 0) console.error(`${name}, ${arm}: ${stream.again()} segments were sent again`);
  }
  return cellOf({ name, params: { mtu: MTU }, unit: "Gbit/s", arms: Object.keys(ways), samples });
}

const { values } = parseArgs({ options: OPTIONS });
const { name, module } = chooseCipher({ cipher: values.cipher });
const result = beginResult(`tcp-${process.version.split(".")[0]}`, {
  topology: "one thread, in memory",
  pinning: `processor ${await settle()}`,
  seed: Number(values.seed),
  runtime: `${process.version}, V8 ${process.versions.v8}, cipher ${name}`,
  baselines: {},
});
const draw = createDraw(Number(values.seed));
result.cells.push(
  cell("machine to machine", { super: WAYS.super(), packets: WAYS.packets() }, values, draw),
  cell("through the plane", { plane: WAYS.plane(module), super: WAYS.super() }, values, draw),
);
for (const { name: what, arms } of result.cells) {
  const shown = Object.entries(arms).map(([arm, { median }]) => `${arm} ${median.toFixed(2)}`);
  console.error(`${what.padEnd(20)} ${shown.join(", ")} Gbit/s of processor time`);
}
endResult(result, values);
