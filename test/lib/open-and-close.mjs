/**
 * Opens clients and closes them again; what is left of them is printed as one line of JSON.
 *
 *   API_URL=… TOKEN=… node open-and-close.mjs GRADE COUNT AT_ONCE ADDRESS
 */
import { readdirSync } from "node:fs";
import { connectClient } from "../../build/src/index.js";

const { API_URL: apiUrl, TOKEN: token } = process.env;
const [, , sockets, count, atOnce, host] = process.argv;

async function use(id) {
  const client = await connectClient({ apiUrl, token, id, sockets, addresses: ["127.0.0.1"] });
  const { grade } = client.status().sockets;
  const socket = await client.dial({ host, port: 7 });
  const writer = socket.writable.getWriter();
  await writer.write(Uint8Array.of(1, 2, 3));
  await socket.readable.getReader().read();
  // What is open ends with the client.
  await client.close();
  return grade;
}

/** The runtime lets go of a handle a turn or two after it was closed. */
async function someTurns() {
  for (let i = 0; i < 4; i++) await new Promise((resolve) => setImmediate(resolve));
}

function left() {
  return {
    // The folder that is read is open meanwhile.
    descriptors: readdirSync("/proc/self/fd").length,
    threads: readdirSync("/proc/self/task").length,
    handles: process.getActiveResourcesInfo().filter((name) => !/^(TTY|Pipe)Wrap$/.test(name)),
    listeners: process.listenerCount("exit"),
  };
}

// What is loaded once, for all of them.
const grades = new Set([await use("first")]);
await someTurns();
const before = left();
for (let opened = 0; opened < Number(count); opened += Number(atOnce)) {
  const ids = Array.from({ length: Number(atOnce) }, (_, i) => `client-${opened + i}`);
  for (const grade of await Promise.all(ids.map(use))) grades.add(grade);
}
await someTurns();
console.log(JSON.stringify({ grades: [...grades], before, after: left() }));
