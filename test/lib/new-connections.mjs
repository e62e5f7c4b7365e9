/**
 * New connections, one after the other, and whom each reached.
 *
 *   node new-connections.mjs tell PORT                                 TCP; tells whoever connects where, and who he is
 *   node new-connections.mjs open NAME PORT SECONDS AT_ONCE LOCAL_PORT prints `{ proxies, opened, said, failed, medianMs, lateMs }`
 *
 * Local ports count upwards from LOCAL_PORT, so that several machines use the same ones.
 */
import { lookup } from "node:dns/promises";
import { connect, createServer } from "node:net";

const SILENCE_MS = 15_000;

function tell(port) {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.end(`${socket.localAddress} ${socket.remoteAddress}`);
  });
  server.listen({ port, host: "::", backlog: 4096 }, () => console.log("listening"));
}

/** What the other end says; an error's code instead. */
function ask(options) {
  return new Promise((resolve) => {
    let said = "";
    const socket = connect(options);
    socket.setTimeout(SILENCE_MS, () => socket.destroy(Object.assign(new Error(), { code: "silent" })));
    socket.on("data", (chunk) => {
      said += chunk;
    });
    socket.on("error", (error) => resolve({ failed: error.code }));
    socket.on("close", () => resolve(said === "" ? { failed: "empty" } : { said }));
  });
}

async function open(name, port, seconds, atOnce, firstPort) {
  const proxies = (await lookup(name, { all: true, family: 4 })).map(({ address }) => address);
  const [said, failed, tookMs] = [{}, {}, []];
  const until = performance.now() + seconds * 1000;
  let opened = 0;
  async function run() {
    while (performance.now() < until) {
      const i = opened++;
      const begun = performance.now();
      const one = await ask({ host: proxies[i % proxies.length], port, localPort: firstPort + i });
      tookMs.push(performance.now() - begun);
      const [counts, key] = one.failed === undefined ? [said, one.said] : [failed, one.failed];
      counts[key] = (counts[key] ?? 0) + 1;
    }
  }
  await Promise.all(Array.from({ length: atOnce }, run));
  tookMs.sort((a, b) => a - b);
  const at = (share) => Math.round(tookMs[Math.floor(tookMs.length * share)] ?? 0);
  console.log(JSON.stringify({ proxies, opened, said, failed, medianMs: at(0.5), lateMs: at(0.99) }));
}

const [command, ...args] = process.argv.slice(2);
if (command === "tell") tell(Number(args[0]));
else await open(args[0], ...args.slice(1).map(Number));
