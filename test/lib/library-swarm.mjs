/**
 * Many clients of the library in one process: each fetches a page of BYTES from a resource, through a tunnel of its own.
 *
 *   node library-swarm.mjs URL TOKEN PAGE COUNT      prints `fetched N bytes B` and leaves when it is ended
 */
import { connectClient } from "../../build/src/index.js";

const [apiUrl = "", token = "", page = "", count = "0"] = process.argv.slice(2);
const SILENCE = ["offline", "timeout", "unreachable"];
const TRIES = 20;

/** The portal admits so many a second of one address (PT-72). */
async function join(id) {
  for (;;) {
    try {
      return await connectClient({ apiUrl, token, id, sockets: "plain" });
    } catch (error) {
      if (!/503|429|busy|rate/i.test(`${error.code} ${error.message}`)) throw error;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }
}

/** On a busy machine the gateway may be silent for longer than the portal waits for it (PT-85), or the client. */
async function fetchPage(client) {
  for (let tries = 1; ; tries++) {
    try {
      return await (await client.fetch(page)).arrayBuffer();
    } catch (error) {
      if (tries === TRIES || !SILENCE.includes(error.code)) throw error;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }
}

let bytes = 0;
const clients = [];
for (let n = 0; n < Number(count); n++) {
  const client = await join(`swarm-${process.pid}-${n}`);
  clients.push(client);
  bytes += (await fetchPage(client)).byteLength;
}
console.log(`fetched ${clients.length} bytes ${bytes}`);
process.on("SIGTERM", async () => {
  await Promise.all(clients.map((client) => client.close()));
  process.exit(0);
});
setInterval(() => {}, 60_000);
