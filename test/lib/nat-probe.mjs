/**
 * Measures a NAT by UDP (RFC 5780's questions, TS-29).
 *
 *   node nat-probe.mjs reflect OWN OTHER     answers at OWN:7001 and OWN:7002; OTHER is a second reflector
 *   node nat-probe.mjs probe A B             prints one line of JSON
 *   node nat-probe.mjs expiry A MS …         whether A reaches a mapping that has been silent for so long
 *
 * `map` is answered with the sender as it is seen. `port` is answered from the other port, `address` by the
 * other reflector, `later MS` after that time.
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";

const PORTS = [7001, 7002];
/** What does not come within this time does not come: nothing here takes a millisecond. */
const SILENCE_MS = 300;
const OWN_PORT = 40_404;

async function reflect(own, other) {
  const sockets = [];
  for (const port of PORTS) {
    const socket = createSocket("udp4").bind(port, own);
    await once(socket, "listening");
    sockets.push(socket);
  }
  sockets.forEach((socket, index) => {
    socket.on("message", (bytes, from) => {
      const [verb, address = from.address, port = from.port] = bytes.toString().split(" ");
      if (verb === "map") socket.send(`seen ${address} ${port}`, from.port, from.address);
      if (verb === "port") sockets[1 - index]?.send("from-port", from.port, from.address);
      if (verb === "address") socket.send(`tell ${address} ${port}`, PORTS[0], other);
      if (verb === "later") setTimeout(() => socket.send("later", from.port, from.address), Number(address));
      if (verb === "tell") socket.send("from-address", Number(port), address);
    });
  });
  console.log("reflecting");
}

async function open(port) {
  const socket = createSocket("udp4").bind(port);
  await once(socket, "listening");
  const heard = [];
  socket.on("message", (bytes, from) => heard.push({ text: bytes.toString(), from }));
  return { socket, heard, port };
}

/** The first datagram that comes after this one was sent. */
async function ask(end, text, address, port, withinMs = SILENCE_MS) {
  const before = end.heard.length;
  end.socket.send(text, port, address);
  await hears(end, withinMs);
  return end.heard[before];
}

async function hears({ socket }, withinMs) {
  await once(socket, "message", { signal: AbortSignal.timeout(withinMs) }).catch(() => {});
}

/** One exchange makes the mapping, then both sides are silent. */
async function expiry(a, ...silences) {
  const results = await Promise.all(
    silences.map(async (ms, index) => {
      const end = await open(OWN_PORT + 10 + index);
      await mapped(end, a, PORTS[0]);
      const answer = await ask(end, `later ${ms}`, a, PORTS[0], Number(ms) + SILENCE_MS);
      return [ms, answer === undefined ? "gone" : "kept"];
    }),
  );
  console.log(JSON.stringify(Object.fromEntries(results)));
  process.exit(0);
}

async function mapped(end, address, port) {
  const answer = await ask(end, "map", address, port);
  if (answer === undefined) throw new Error(`no answer from ${address}:${port}`);
  const [, seenAddress, seenPort] = answer.text.split(" ");
  return { address: seenAddress, port: Number(seenPort) };
}

async function probe(a, b) {
  const end = await open(OWN_PORT);
  const seen = {
    first: await mapped(end, a, PORTS[0]),
    otherPort: await mapped(end, a, PORTS[1]),
    otherAddress: await mapped(end, b, PORTS[0]),
  };
  const result = {
    mapping: mappingOf(seen),
    filtering: await filtering(a),
    isPortKept: seen.first.port === OWN_PORT,
    hairpin: await hairpin(a),
  };
  console.log(JSON.stringify(result));
  process.exit(0);
}

function mappingOf({ first, otherPort, otherAddress }) {
  if (first.port !== otherPort.port) return "address-and-port-dependent";
  return first.port === otherAddress.port ? "endpoint-independent" : "address-dependent";
}

/** With a socket that has spoken with one port of one address only. */
async function filtering(a) {
  const end = await open(OWN_PORT + 1);
  await mapped(end, a, PORTS[0]);
  if ((await ask(end, "address", a, PORTS[0])) !== undefined) return "endpoint-independent";
  const fromPort = await ask(end, "port", a, PORTS[0]);
  return fromPort === undefined ? "address-and-port-dependent" : "address-dependent";
}

/** One socket sends to the other's outside address. */
async function hairpin(a) {
  const [one, two] = [await open(OWN_PORT + 2), await open(OWN_PORT + 3)];
  const outside = await mapped(one, a, PORTS[0]);
  await mapped(two, a, PORTS[0]);
  const before = one.heard.length;
  two.socket.send("hello", outside.port, outside.address);
  await hears(one, SILENCE_MS);
  const heard = one.heard[before];
  if (heard === undefined) return "none";
  return heard.from.address === outside.address ? "outside" : "inside";
}

const [command, ...args] = process.argv.slice(2);
if (command === "reflect") await reflect(...args);
else if (command === "probe") await probe(...args);
else if (command === "expiry") await expiry(...args);
else throw new Error("nat-probe: reflect OWN OTHER | probe A B | expiry A MS …");
