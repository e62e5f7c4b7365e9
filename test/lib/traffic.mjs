/**
 * What runs on the machines of the system tests: servers that say what came, and senders that say what
 * became of it. Plain JavaScript, so that it starts at once; it ends with its namespace.
 *
 *   node traffic.mjs serve PORT              HTTP in both families; prints the SHA-256 of its page; /N is N bytes of it, again and again,
 *                                            /N?after=MS that much later
 *   node traffic.mjs fetch URL               prints `fetched SHA-256 ADDRESS-THE-SERVER-SAW`
 *   node traffic.mjs sink PORT               TCP; prints `bytes N at UNIX-MS` as more comes
 *   node traffic.mjs source ADDRESS PORT     a TCP stream of 1 MB/s; prints `connected`, `error CODE`
 *   node traffic.mjs prod ADDRESS PORT N     UDP to whoever refuses it, N a second; prints `prodded N refused N`
 *   node traffic.mjs fountain PORT           UDP; whoever sends one datagram is sent 50 a second
 *   node traffic.mjs elsewhere PORT          UDP; answers each datagram from the next port, then from its own
 *   node traffic.mjs pursue PORT             UDP; sends to whoever asked first, until it is told that nobody listens: `refused`
 *   node traffic.mjs tally PORT              UDP; prints `flows N came N behind N` a second after the sender's end: `behind`
 *                                            are datagrams that a later one of their flow has overtaken
 *   node traffic.mjs spurt ADDRESS PORT N M  UDP; M numbered datagrams from each of N sockets, as fast as they go
 *   node traffic.mjs shout ADDRESS PORT      UDP; prints `answered from ADDRESS:PORT`
 *   node traffic.mjs knock PORT ADDRESS…     TCP, one after the other; prints `ADDRESS: CODE in N ms`
 *   node traffic.mjs drink ADDRESS PORT      asks a fountain once; prints `got N at UNIX-MS`
 *   node traffic.mjs pour PORT               TCP; whoever connects is sent 1 MB/s, of which each word tells its place
 *   node traffic.mjs take ADDRESS PORT       reads that; prints `took N at UNIX-MS`, `broken at N`, `error CODE`
 *   node traffic.mjs names ADDRESS           a name server: every name has that IPv4 address; prints `asked`
 */
import { createHash } from "node:crypto";
import { createSocket } from "node:dgram";
import { createServer } from "node:http";
import { connect, createServer as createTcpServer } from "node:net";

const PAGE = Buffer.alloc(256 << 10, "All that is gold does not glitter. ");

function serve(port) {
  const server = createServer((request, response) => {
    response.setHeader("x-seen-from", request.socket.remoteAddress ?? "");
    response.setHeader("x-seen-port", request.socket.remotePort ?? 0);
    response.setHeader("x-served-at", request.socket.localAddress ?? "");
    const { pathname, searchParams } = new URL(request.url ?? "/", "http://server");
    const bytes = Number(pathname.slice(1));
    const answer = () => response.end(bytes > 0 ? Buffer.alloc(bytes, PAGE) : PAGE);
    const afterMs = Number(searchParams.get("after"));
    if (afterMs > 0) setTimeout(answer, afterMs);
    else answer();
  });
  server.listen(port, "::", () => console.log(`serving ${createHash("sha256").update(PAGE).digest("hex")}`));
}

async function fetchPage(url) {
  const response = await fetch(url);
  const page = new Uint8Array(await response.arrayBuffer());
  const sha256 = createHash("sha256").update(page).digest("hex");
  console.log(`fetched ${sha256} ${response.headers.get("x-seen-from")}`);
}

function sink(port) {
  let bytes = 0;
  const server = createTcpServer((socket) => {
    socket.on("error", () => socket.destroy());
    socket.on("data", (chunk) => {
      bytes += chunk.length;
      console.log(`bytes ${bytes} at ${Date.now()}`);
    });
  });
  server.listen(port, "::", () => console.log("listening"));
}

function source(address, port) {
  const socket = connect({ host: address, port });
  socket.on("error", (error) => console.log(`error ${error.code}`));
  socket.on("connect", () => {
    console.log("connected");
    setInterval(() => socket.writable && socket.write(Buffer.alloc(10_000)), 10);
  });
}

/** Words of 4 bytes that count: what is lost, doubled or swapped shows. */
function pour(port) {
  const server = createTcpServer((socket) => {
    let word = 0;
    const timer = setInterval(() => {
      if (socket.writableNeedDrain) return;
      const chunk = Buffer.alloc(10_000);
      for (let at = 0; at < chunk.length; at += 4) chunk.writeUInt32BE(word++ >>> 0, at);
      socket.write(chunk);
    }, 10);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => clearInterval(timer));
  });
  server.listen(port, "::", () => console.log("listening"));
}

function take(address, port) {
  const socket = connect({ host: address, port });
  let [bytes, value] = [0, 0];
  let isWhole = true;
  socket.on("error", (error) => console.log(`error ${error.code}`));
  socket.on("data", (chunk) => {
    for (const byte of chunk) {
      value = ((value << 8) | byte) >>> 0;
      bytes++;
      if (bytes % 4 === 0 && value !== bytes / 4 - 1) isWhole = false;
    }
    console.log(isWhole ? `took ${bytes} at ${Date.now()}` : `broken at ${bytes}`);
  });
}

function fountain(port) {
  const socket = createSocket({ type: "udp6" });
  socket.on("message", (_, from) => {
    setInterval(() => socket.send("drop", from.port, from.address), 20);
  });
  socket.bind(port, () => console.log("listening"));
}

function elsewhere(port) {
  const other = createSocket("udp6");
  other.bind(port + 1);
  const socket = createSocket("udp6");
  socket.on("message", (_, from) =>
    other.send("here", from.port, from.address, () => socket.send("and here", from.port, from.address)),
  );
  socket.bind(port, () => console.log("listening"));
}

function pursue(port) {
  const socket = createSocket("udp6");
  socket.on("error", ({ code }) => {
    console.log(code === "ECONNREFUSED" ? "refused" : code);
    process.exit();
  });
  // A connected socket is told of ICMP errors.
  socket.once("message", (_, from) =>
    socket.connect(from.port, from.address, () => {
      console.log("asked");
      setInterval(() => socket.send("still there?"), 50);
    }),
  );
  socket.bind(port, () => console.log("listening"));
}

/** The sender's end, said again and again. */
const LAST = 0xffffffff;

function tally(port) {
  const newest = new Map();
  let [came, behind, isOver] = [0, 0, false];
  const tell = () => console.log(`flows ${newest.size} came ${came} behind ${behind}`);
  const socket = createSocket({ type: "udp6", recvBufferSize: 4 << 20 });
  socket.on("message", (bytes, from) => {
    const number = bytes.readUInt32BE(0);
    if (number === LAST) {
      if (!isOver) setTimeout(tell, 1_000);
      isOver = true;
      return;
    }
    came++;
    if (number <= (newest.get(from.port) ?? -1)) behind++;
    else newest.set(from.port, number);
  });
  socket.bind(port, () => console.log("listening"));
}

/** Each socket sends its next when the one before has left. */
async function spurt(address, port, flows, each) {
  const send = (socket, number) => {
    const bytes = Buffer.alloc(100);
    bytes.writeUInt32BE(number, 0);
    return new Promise((resolve) => socket.send(bytes, port, address, resolve));
  };
  const one = async () => {
    const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
    for (let number = 0; number < each; number++) await send(socket, number);
    // Its port stays its own until all are done: another flow must not get it.
    return socket;
  };
  const sockets = await Promise.all(Array.from({ length: flows }, one));
  setInterval(() => send(sockets[0], LAST), 100);
}

function shout(address, port) {
  const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
  socket.on("message", (_, from) => console.log(`answered from ${from.address}:${from.port}`));
  setInterval(() => socket.send("where?", port, address), 200);
}

async function knock(port, addresses) {
  for (const host of addresses) {
    const begun = performance.now();
    const code = await new Promise((resolve) => {
      const socket = connect({ host, port }, () => resolve("connected"));
      socket.on("error", (error) => resolve(error.code));
      socket.on("close", () => socket.destroy());
    });
    console.log(`${host}: ${code} in ${Math.round(performance.now() - begun)} ms`);
  }
  process.exit();
}

function drink(address, port) {
  const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
  let count = 0;
  socket.on("message", () => console.log(`got ${++count} at ${Date.now()}`));
  socket.send("please", port, address);
}

/** In bursts of 20 ms; answers are ICMP errors, which a connected socket is told of. */
function prod(address, port, perSecond) {
  const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
  let [prodded, refused] = [0, 0];
  const note = (error) => {
    if (error) refused++;
  };
  socket.on("error", note);
  socket.connect(port, address, () => {
    const begun = Date.now();
    setInterval(() => {
      for (const due = ((Date.now() - begun) * perSecond) / 1000; prodded < due; prodded++)
        socket.send("prod", note);
    }, 20);
    setInterval(() => console.log(`prodded ${prodded} refused ${refused}`), 100);
  });
}

function names(address) {
  const socket = createSocket("udp4");
  socket.on("message", (query, from) => {
    console.log("asked");
    const answer = Buffer.from(query);
    answer.writeUInt16BE(0x8180, 2);
    const isV4 = query.at(-3) === 1;
    answer.writeUInt16BE(isV4 ? 1 : 0, 6);
    const record = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, ...address.split(".").map(Number)]);
    socket.send(isV4 ? Buffer.concat([answer, record]) : answer, from.port, from.address);
  });
  socket.bind(53, () => console.log("listening"));
}

const [mode, first = "", ...rest] = process.argv.slice(2);
const [second = "", third = ""] = rest;
if (mode === "serve") serve(Number(first));
else if (mode === "fetch") await fetchPage(first);
else if (mode === "sink") sink(Number(first));
else if (mode === "source") source(first, Number(second));
else if (mode === "pour") pour(Number(first));
else if (mode === "take") take(first, Number(second));
else if (mode === "prod") prod(first, Number(second), Number(third));
else if (mode === "fountain") fountain(Number(first));
else if (mode === "drink") drink(first, Number(second));
else if (mode === "knock") await knock(Number(first), rest);
else if (mode === "elsewhere") elsewhere(Number(first));
else if (mode === "pursue") pursue(Number(first));
else if (mode === "tally") tally(Number(first));
else if (mode === "spurt") await spurt(first, Number(second), Number(third), Number(rest[2]));
else if (mode === "shout") shout(first, Number(second));
else if (mode === "names") names(first);
else process.exitCode = 2;
