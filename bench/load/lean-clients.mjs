/**
 * Many clients in one process that cost little: each has keys, a connection to the portal, a UDP socket at an address
 * of its own, and the machine of connections: ICE and WireGuard. There is no plane and no tunnel: they carry no data.
 *
 *   POSTERN_TOKEN=T1,T2,… node lean-clients.mjs PLAN      prints `signed in`, then `answer N {…}` to each order
 */
import { randomBytes } from "node:crypto";
import { createSocket } from "node:dgram";
import { connect as connectTcp } from "node:net";
import { formatIp, instant, ip, SILENT, secret, unixMs } from "../../build/src/base/index.js";
import { createConnections } from "../../build/src/connections/index.js";
import { NO_ACTIVITY } from "../../build/src/plane/index.js";
import { clientChannel, parsePortalUrl } from "../../build/src/portal/protocol/index.js";
import { createNodeCrypto } from "../../build/src/program/crypto-node.js";
import { createPortalSocket } from "../../build/src/program/portal-socket.js";
import { systemRandom } from "../../build/src/program/system-random.js";
import { obeyOrders, onceEach } from "./orders.mjs";

const plan = JSON.parse(process.argv[2]);
const tokens = process.env.POSTERN_TOKEN.split(",");
const SIGN_IN_AT_ONCE = 64;
/** Longer than the portal lets a client wait (PT-85.5), which says so itself: only what is lost is late. */
const CONNECT_WITHIN_MS = 330_000;
const FAILED = new Set(["connection-failed", "connection-closed"]);

const crypto = createNodeCrypto();
const url = parsePortalUrl(plan.url).value;
const now = () => instant(Math.floor(performance.now()));
const clients = [];

/** A client that has signed in. */
async function createLean(number) {
  const own = `10.10.${(number >> 8) + 1}.${number & 255}`;
  const udp = createSocket("udp4");
  await new Promise((resolve, reject) => udp.once("error", reject).bind(0, own, resolve));
  let counter = 0n;
  const connections = createConnections({
    role: "client",
    crypto,
    seed: randomBytes(32),
    now: now(),
    unixNow: unixMs(Date.now()),
    connectionsMax: 1,
    records: {
      activity: () => NO_ACTIVITY,
      takeCounter: () => counter++,
      noteSent: () => {},
      noteReceived: () => {},
      received: () => undefined,
    },
  });
  const lean = { connections, udp, portal: undefined, timer: undefined, rid: undefined, told: undefined };
  const local = { address: ip(own), port: udp.address().port };
  udp.on("message", (bytes, { address, port }) =>
    turn(lean, (at) =>
      connections.handleDatagram(at, { local, from: { address: ip(address), port }, bytes }),
    ),
  );
  turn(lean, (at) => connections.updateHostAddresses(at, [local]));
  await signIn(lean, own, number);
  return lean;
}

/** Resolves with the portal's `init`. */
function signIn(lean, own, number) {
  return new Promise((resolve, reject) => {
    lean.portal = createPortalSocket({
      url,
      channel: clientChannel,
      token: secret(tokens[number % tokens.length]),
      userAgent: "Linux/6 headless-client/1.5.0 bench",
      openTcp: openTcpFrom(own),
      now,
      wallNow: () => unixMs(Date.now()),
      random: systemRandom,
      log: SILENT,
      onEvent(event) {
        if (event.kind === "fatal") reject(new Error(JSON.stringify(event.error)));
        if (event.kind === "message") hear(lean, event.message, resolve);
      },
      onError: reject,
    });
    const id = `lean-${number}`;
    lean.portal.connect({ externalId: id, name: id, publicKey: lean.connections.publicKey() });
  });
}

function openTcpFrom(localAddress) {
  return ({ address, port }) =>
    new Promise((resolve, reject) => {
      const socket = connectTcp({ host: formatIp(address), port, localAddress });
      socket.once("error", reject);
      socket.once("connect", () => {
        socket.removeListener("error", reject);
        resolve(socket);
      });
    });
}

function hear(lean, message, greeted) {
  const { connections } = lean;
  switch (message.kind) {
    case "init":
      lean.rid = message.resources.find(({ name }) => name === plan.resourceName)?.rid;
      return greeted();
    case "flow-created":
      return turn(lean, (at) =>
        connections.upsertConnection(at, {
          id: message.gid,
          remoteKey: message.gatewayKey,
          presharedKey: message.presharedKey,
          localCredentials: message.clientCredentials,
          remoteCredentials: message.gatewayCredentials,
        }),
      );
    case "flow-creation-failed":
      return lean.told?.reject(new Error(`no access: ${message.reason}`));
    case "ice-candidates":
      return turn(lean, (at) => connections.addRemoteCandidates(at, message.gid, message.candidates));
  }
}

/** One input, and all that follows from it. */
function turn(lean, input) {
  const { connections, udp, portal } = lean;
  input(now());
  for (let next = connections.pollCommand(); next !== undefined; next = connections.pollCommand()) {
    if (next.kind !== "write-tun") connections.handleCarriedOut(now(), next);
  }
  for (let next = connections.pollTransmit(); next !== undefined; next = connections.pollTransmit()) {
    udp.send(next.bytes, next.destination.port, formatIp(next.destination.address));
  }
  const candidates = new Map();
  for (let event = connections.pollEvent(); event !== undefined; event = connections.pollEvent()) {
    if (event.kind === "candidate-added") {
      candidates.set(event.id, [...(candidates.get(event.id) ?? []), event.candidate]);
    }
    if (event.kind === "connection-established") lean.told?.resolve();
    if (FAILED.has(event.kind)) lean.told?.reject(new Error(event.reason ?? event.kind));
  }
  while (connections.pollChange() !== undefined);
  for (const [gid, texts] of candidates) {
    portal.send({ kind: "broadcast-ice-candidates", gids: [gid], candidates: texts });
  }
  clearTimeout(lean.timer);
  const due = connections.pollTimeout();
  if (due === undefined) return;
  lean.timer = setTimeout(
    () => turn(lean, (at) => connections.handleTimeout(at)),
    Math.max(0, due - performance.now()),
  );
}

/** Asks for access; resolves when the first handshake is done. */
function connect(lean) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error(`no session within ${CONNECT_WITHIN_MS / 1000} s`)),
      CONNECT_WITHIN_MS,
    );
    const end = (settle) => (value) => {
      clearTimeout(timer);
      lean.told = undefined;
      settle(value);
    };
    lean.told = { resolve: end(resolve), reject: end(reject) };
    lean.portal.send({ kind: "create-flow", rid: lean.rid, connectedGatewayIds: [] });
  });
}

const numbers = Array.from({ length: plan.size }, (_, i) => plan.first + i);
const { failed } = await onceEach(numbers, SIGN_IN_AT_ONCE, async (number) => {
  clients.push(await createLean(number));
});
if (failed > 0) throw new Error(`${failed} could not sign in`);
console.log("signed in");
await obeyOrders(plan, ({ order }) => {
  if (order !== "connect") throw new Error(`'${order}' is more than these clients can`);
  return onceEach(clients, plan.atOnce, connect);
});
