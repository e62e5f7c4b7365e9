/**
 * Clients of the library in one process, each a machine of its own to the gateway.
 *
 *   POSTERN_TOKEN=… node clients.mjs PLAN      prints `signed in`, then `answer N {…}` to each order of the plan's file
 */
import { setTimeout as sleep } from "node:timers/promises";
import { WebSocket } from "ws";
import { connectClient } from "../../build/src/index.js";
import { createConnection } from "../../build/src/library/node/index.js";
import { createDraw } from "../lib/statistics.mjs";
import { noteFailure, nothing, obeyOrders, onceEach } from "./orders.mjs";

const plan = JSON.parse(process.argv[2]);
const PORTS = { echo: 7, source: 19, http: 80, websocket: 81 };
const ONCE_WITHIN_MS = 30_000;
const BACK_WITHIN_MS = 90_000;
/** Percentiles need no more. */
const TIMES_MAX = 20_000;

const clients = [];
const draw = createDraw(plan.seed + plan.first);
/** Of each client: what its users are. */
const users = [];

async function signIn() {
  for (let i = 0; i < plan.size; ) {
    try {
      const options = { apiUrl: plan.url, token: process.env.POSTERN_TOKEN, id: `load-${plan.first + i}` };
      clients.push(
        await connectClient({ ...options, addresses: [plan.own], sockets: "plain", logFilter: "error" }),
      );
      const [fewest, most] = plan.users;
      users.push(fewest + Math.floor(draw() * (most - fewest + 1)));
      i++;
    } catch (error) {
      // The portal lets so many new devices in a second (PT-72).
      if (error.code !== "portal_unreachable") throw error;
      await sleep(500);
    }
  }
  console.log("signed in");
}

/** Asks the echo server for one byte. */
async function echoOnce(client, timeoutMs = ONCE_WITHIN_MS) {
  const socket = await client.dial({ host: plan.resource, port: PORTS.echo, timeoutMs });
  const writer = socket.writable.getWriter();
  await writer.write(Uint8Array.of(1));
  const reader = socket.readable.getReader();
  await reader.read();
  await writer.close();
  reader.cancel().catch(() => undefined);
}

/** One unit of a load, again and again; a user keeps what it has opened. */
const LOADS = {
  async http(client) {
    return async () => {
      const response = await client.fetch(`http://${plan.resource}/`);
      await response.arrayBuffer();
    };
  },
  async tcp(client) {
    return () => echoOnce(client);
  },
  async ping(client) {
    return () => client.ping(plan.resource, { timeoutMs: 5000 });
  },
  async dns(client) {
    let n = 0;
    return () => client.lookup(`host-${n++ % 1000}.load.example`, { family: 4 });
  },
  async websocket(client) {
    const socket = new WebSocket(`ws://${plan.resource}:${PORTS.websocket}/`, {
      createConnection: ({ host, port }) => createConnection(client, { host, port: Number(port) }),
    });
    await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
    return () =>
      new Promise((resolve, reject) => {
        socket.once("message", resolve).once("error", reject);
        socket.send("hello");
      });
  },
};

/** All users of all clients for that long. */
async function run(make, seconds) {
  const said = nothing();
  const end = performance.now() + seconds * 1000;
  const user = async (client) => {
    try {
      const once = await make(client);
      while (performance.now() < end) {
        const begun = performance.now();
        await once();
        said.done++;
        if (said.times.length < TIMES_MAX) said.times.push(performance.now() - begun);
      }
    } catch (error) {
      noteFailure(said, error);
    }
  };
  await Promise.all(clients.flatMap((client, i) => Array.from({ length: users[i] }, () => user(client))));
  return said;
}

/** What was open is gone: tries until there is an answer again. */
async function reconnect(client) {
  const end = performance.now() + BACK_WITHIN_MS;
  for (;;) {
    try {
      return await echoOnce(client, 2000);
    } catch (error) {
      if (performance.now() > end) throw error;
      await sleep(100);
    }
  }
}

/** Bytes that each client took. */
async function share(seconds) {
  const said = nothing();
  const end = performance.now() + seconds * 1000;
  const take = async (client) => {
    let bytes = 0;
    try {
      const socket = await client.dial({
        host: plan.resource,
        port: PORTS.source,
        timeoutMs: ONCE_WITHIN_MS,
      });
      const reader = socket.readable.getReader();
      while (performance.now() < end) bytes += (await reader.read()).value?.length ?? 0;
      await reader.cancel();
    } catch (error) {
      noteFailure(said, error);
    }
    said.bytes.push(bytes);
  };
  await Promise.all(clients.map(take));
  return said;
}

function obey({ order, seconds }) {
  if (order === "connect") return onceEach(clients, plan.atOnce, (client) => echoOnce(client));
  if (order === "reconnect") return onceEach(clients, plan.atOnce, reconnect);
  if (order === "share") return share(seconds);
  return run(LOADS[order], seconds);
}

await signIn();
await obeyOrders(plan, obey);
