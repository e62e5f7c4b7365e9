/**
 * What a program does with the library, in whatever runtime runs this: `test/system/embedded-runtimes.test.ts` has the
 * other end. Prints one line of JSON.
 *
 *   API_URL=… TOKEN=… CA=FILE RUNTIME embedded-probe.mjs ADDRESS NAME
 */
import { readFileSync } from "node:fs";
import { connectClient, PosternError } from "postern";
import { connect } from "postern/deno";
import { createConnection } from "postern/node";

const { API_URL: apiUrl, TOKEN: token, CA } = process.env;
const [, , host, name] = process.argv;
const client = await connectClient({ apiUrl, token, id: "probe", addresses: ["127.0.0.1"] });

async function echo(bytes) {
  const socket = await client.dial({ host, port: 7 });
  const writer = socket.writable.getWriter();
  await writer.write(new Uint8Array(bytes));
  await writer.close();
  let count = 0;
  for await (const chunk of socket.readable) count += chunk.length;
  await socket.closed;
  return count;
}

/** Octets read into memory of its own, and how much of that is there at the end. */
async function ownMemory(bytes) {
  const socket = await client.dial({ host, port: 7 });
  const writer = socket.writable.getWriter();
  await writer.write(new Uint8Array(bytes));
  await writer.close();
  const reader = socket.readable.getReader({ mode: "byob" });
  let [count, room] = [0, new ArrayBuffer(50_000)];
  for (let isOver = false; !isOver; ) {
    const { value, done } = await reader.read(new Uint8Array(room));
    isOver = done;
    count += value.length;
    room = value.buffer;
  }
  return [count, room.byteLength];
}

async function datagram() {
  const socket = await client.udp();
  socket.send(Uint8Array.of(1, 2, 3), { host, port: 53 });
  const { data } = await socket.receive();
  socket.close();
  return data.length;
}

function duplex() {
  const socket = createConnection(client, { host, port: 7 });
  return new Promise((resolve, reject) => {
    let text = "";
    socket.on("data", (chunk) => {
      text += chunk;
    });
    socket.on("error", reject);
    socket.on("close", () => resolve(text));
    socket.end("as a duplex");
  });
}

async function conn() {
  const opened = await connect(client, { hostname: host, port: 7 });
  await opened.write(new TextEncoder().encode("as a conn"));
  await opened.closeWrite();
  return await new Response(opened.readable).text();
}

const codeOf = (promise) =>
  promise.then(
    () => "none",
    (error) => (error instanceof PosternError ? error.code : String(error)),
  );
const text = async (url, options) => await (await client.fetch(url, options)).text();

const found = {
  echo: await echo(1_000_000),
  ownMemory: await ownMemory(300_000),
  datagram: await datagram(),
  ping: (await client.ping(host)) > 0,
  duplex: await duplex(),
  conn: await conn(),
  get: await text(`http://${name}/page`),
  post: await text(`http://${name}/form`, { method: "POST", body: "a body" }),
  tls: await text(`https://${name}/secret`, { tls: { ca: readFileSync(CA, "utf8") } }),
  untrusted: await codeOf(client.fetch(`https://${name}/secret`)),
  refused: await codeOf(client.dial({ host, port: 81 })),
  unknown: await codeOf(client.dial({ host: "192.0.2.1", port: 80 })),
};
await client.close();
console.log(JSON.stringify(found));
