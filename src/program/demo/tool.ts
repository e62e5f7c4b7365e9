/**
 * The small programs that the demo runs on its machines: a web server with its client, and a TCP
 * generator with its sink for where iperf3 is missing.
 *
 *   node tool.js serve ADDRESS PORT…          prints the SHA-256 of its page, then serves it
 *   node tool.js fetch URL                    prints bytes and SHA-256 of what came, as JSON
 *   node tool.js lookup NAME                  prints the name's IPv4 address and how long it took, as JSON
 *   node tool.js connect HOST PORT            prints the error of a connection, if any, and how long it took
 *   node tool.js until-refused HOST PORT MS   connects again and again; prints `connected`, then `refused CODE at MS`
 *   node tool.js meter ADDRESS PORT           answers generators until it is stopped
 *   node tool.js generate ADDRESS PORT up|down SECONDS    prints the bytes per second received
 */
import { createHash, randomBytes } from "node:crypto";
import { lookup } from "node:dns/promises";
import { createServer } from "node:http";
import { connect, createServer as createTcpServer, type Socket } from "node:net";
import { setTimeout as wait } from "node:timers/promises";

const PAGE_BYTES = 4 << 20;
const CHUNK_BYTES = 128 << 10;
const REPORT_BYTES = 16;
const ATTEMPT_MS = 10_000;
const SHORT_ATTEMPT_MS = 200;
const TIMED_OUT = "ETIMEDOUT";
const PAUSE_MS = 5;

async function serve(address: string, ports: readonly number[]): Promise<void> {
  const page = randomBytes(PAGE_BYTES);
  for (const port of ports) {
    const server = createServer((_request, response) => {
      response.writeHead(200, { "content-type": "application/octet-stream", "content-length": page.length });
      response.end(page);
    });
    await new Promise<void>((resolve) => server.listen(port, address, resolve));
  }
  console.log(`serving ${createHash("sha256").update(page).digest("hex")}`);
}

async function fetchPage(url: string): Promise<void> {
  const response = await fetch(url);
  const body = new Uint8Array(await response.arrayBuffer());
  const sha256 = createHash("sha256").update(body).digest("hex");
  console.log(JSON.stringify({ status: response.status, bytes: body.length, sha256 }));
}

async function lookUp(name: string): Promise<void> {
  const startedAt = performance.now();
  const { address } = await lookup(name, { family: 4 });
  console.log(JSON.stringify({ address, ms: Math.round(performance.now() - startedAt) }));
}

/** The code of what went wrong; `undefined`: it is connected. */
function connectOnce(host: string, port: number, withinMs = ATTEMPT_MS): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, family: 4 });
    const end = (code: string | undefined): void => {
      socket.destroy();
      resolve(code);
    };
    socket.setTimeout(withinMs, () => end(TIMED_OUT));
    socket.on("connect", () => end(undefined));
    socket.on("error", (error: NodeJS.ErrnoException) => end(error.code ?? error.message));
  });
}

async function tryConnect(host: string, port: number): Promise<void> {
  // The name first: it is not what is measured.
  const { address } = await lookup(host, { family: 4 });
  const startedAt = performance.now();
  const error = await connectOnce(address, port);
  const ms = Math.round(performance.now() - startedAt);
  console.log(JSON.stringify({ ms, ...(error !== undefined && { error }) }));
}

async function untilRefused(host: string, port: number, withinMs: number): Promise<void> {
  const { address } = await lookup(host, { family: 4 });
  const until = performance.now() + withinMs;
  let wasConnected = false;
  while (performance.now() < until) {
    const error = await connectOnce(address, port, SHORT_ATTEMPT_MS);
    // An attempt that was under way when access ended may wait for nothing: the next one is told.
    if (error !== undefined && error !== TIMED_OUT && wasConnected) {
      console.log(`refused ${error} at ${Date.now()}`);
      return;
    }
    if (error === undefined && !wasConnected) console.log("connected");
    wasConnected ||= error === undefined;
    await wait(PAUSE_MS);
  }
  process.exitCode = 1;
}

/** A connection begins with its direction: `u`, the generator sends; `d`, the meter sends. */
function meter(address: string, port: number): void {
  const server = createTcpServer((socket) => {
    socket.on("error", () => socket.destroy());
    socket.once("data", (first) => {
      const direction = String.fromCharCode(first[0] ?? 0);
      if (direction === "d") pump(socket);
      else count(socket, first.length - 1, (bytes) => socket.end(String(bytes).padEnd(REPORT_BYTES)));
    });
  });
  server.listen(port, address, () => console.log("measuring"));
}

function generate(address: string, port: number, direction: string, seconds: number): void {
  const socket = connect({ host: address, port });
  const stop = (): unknown => (direction === "up" ? socket.end() : socket.destroy());
  socket.on("error", (error) => {
    console.error(error.message);
    process.exit(1);
  });
  socket.on("connect", () => {
    const started = performance.now();
    const report = (bytes: number): void =>
      console.log(JSON.stringify({ bytesPerSecond: bytes / ((performance.now() - started) / 1000) }));
    socket.write(direction === "up" ? "u" : "d");
    setTimeout(stop, seconds * 1000);
    if (direction === "down") {
      count(socket, 0, report);
      return;
    }
    let text = "";
    socket.setEncoding("utf8").on("data", (chunk) => {
      text += chunk;
    });
    socket.on("close", () => report(Number(text)));
    pump(socket);
  });
}

/** Sends until the connection ends, at the pace of the receiver. */
function pump(socket: Socket): void {
  const chunk = Buffer.alloc(CHUNK_BYTES);
  const fill = (): void => {
    while (socket.writable && socket.write(chunk)) {
      // The socket says when its buffer is full.
    }
  };
  socket.on("drain", fill);
  fill();
}

function count(socket: Socket, initial: number, done: (bytes: number) => void): void {
  let bytes = initial;
  let isDone = false;
  const finish = (): void => {
    if (!isDone) done(bytes);
    isDone = true;
  };
  socket.on("data", (chunk) => {
    bytes += chunk.length;
  });
  socket.on("end", finish);
  socket.on("close", finish);
}

async function main([mode, ...args]: readonly string[]): Promise<void> {
  const [first = "", second = "", third = "", fourth = ""] = args;
  if (mode === "serve") await serve(first, args.slice(1).map(Number));
  else if (mode === "fetch") await fetchPage(first);
  else if (mode === "lookup") await lookUp(first);
  else if (mode === "connect") await tryConnect(first, Number(second));
  else if (mode === "until-refused") await untilRefused(first, Number(second), Number(third));
  else if (mode === "meter") meter(first, Number(second));
  else if (mode === "generate") generate(first, Number(second), third, Number(fourth));
  else process.exitCode = 2;
}

await main(process.argv.slice(2));
