/** TURN clients for the loads of a relay: our own client's machine on a socket of Node. */
import { createSocket } from "node:dgram";
import { formatIp, instant, ip, unixMs } from "../../build/src/base/index.js";
import { systemRandom } from "../../build/src/program/system-random.js";
import { createRelayClient, parseTurn } from "../../build/src/turn/index.js";

const WITHIN_MS = 10_000;

const now = () => instant(Math.floor(performance.now()));

export async function openSocket(address, port = 0) {
  const socket = createSocket("udp4");
  await new Promise((resolve) => socket.bind(port, address, resolve));
  return socket;
}

/**
 * Makes an allocation and binds a channel to each peer; the machine goes on refreshing them.
 * @param plan `{ server, username, password, realm, peers }`, ends as `{ address, port }` with text addresses
 * @returns the channels, the relayed address, and `bind(peer)` for one more channel, which gives the milliseconds that it took
 */
export async function allocate(socket, { server, username, password, realm, peers }) {
  let waitingForBind;
  const machine = createRelayClient({
    servers: { v4: { address: ip(server.address), port: server.port } },
    credentials: { username, password },
    realm,
    dialect: "rfc",
    software: "postern/bench",
    log: answerLog((rttMs) => waitingForBind?.(rttMs)),
    random: systemRandom,
    now: now(),
    unixNow: unixMs(Date.now()),
  });
  const client = { machine, socket, timer: undefined, waiting: new Set() };
  const { address, port } = socket.address();
  socket.on("message", (bytes, from) => {
    const message = parseTurn(Uint8Array.from(bytes));
    if (!message.ok) return;
    const sender = { address: ip(from.address), port: from.port };
    machine.handleStun(now(), {
      from: sender,
      local: { address: ip(address), port },
      message: message.value,
    });
    settle(client);
  });
  settle(client);
  await until(client, () => machine.relayed(4) !== undefined, "allocation");
  const to = peers.map((peer) => ({ address: ip(peer.address), port: peer.port }));
  for (const one of to) machine.bindChannel(now(), one);
  settle(client);
  const channels = () => to.map((one) => machine.channelTo(now(), one));
  await until(client, () => channels().every((channel) => channel !== undefined), "channel");
  return {
    channels: channels(),
    relayed: machine.relayed(4),
    bind: (peer) =>
      new Promise((resolve) => {
        waitingForBind = resolve;
        machine.bindChannel(now(), { address: ip(peer.address), port: peer.port });
        settle(client);
      }),
  };
}

/** The machine says of each answered request how long it took. */
function answerLog(onBound) {
  const log = {
    debug(event, { method, rttMs } = {}) {
      if (event === "TURN response" && method === "bind") onBound(rttMs);
    },
    scope: () => log,
  };
  return log;
}

function settle(client) {
  const { machine, socket, waiting } = client;
  for (let next = machine.pollTransmit(); next !== undefined; next = machine.pollTransmit()) {
    socket.send(next.datagram, next.to.port, formatIp(next.to.address));
  }
  while (machine.pollEvent() !== undefined);
  clearTimeout(client.timer);
  const due = machine.pollTimeout();
  if (due !== undefined) {
    client.timer = setTimeout(
      () => {
        machine.handleTimeout(now());
        settle(client);
      },
      Math.max(1, due - now()),
    );
  }
  for (const look of [...waiting]) look();
}

/** Looks after every answer and every timeout. */
function until(client, condition, what) {
  return new Promise((resolve, reject) => {
    const bound = setTimeout(() => {
      client.waiting.delete(look);
      reject(new Error(`no ${what} within ${WITHIN_MS} ms`));
    }, WITHIN_MS);
    const look = () => {
      if (!condition()) return;
      clearTimeout(bound);
      client.waiting.delete(look);
      resolve();
    };
    client.waiting.add(look);
    look();
  });
}
