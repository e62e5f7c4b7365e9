/**
 * What the clients talk to, at one address: HTTP on 80, TCP echo on 7, WebSocket echo on 81, bytes without end on 19.
 *
 *   node servers.mjs ADDRESS      prints `serving`
 */
import { createServer as createHttp } from "node:http";
import { createServer as createTcp } from "node:net";
import { WebSocketServer } from "ws";

const [address = "127.0.0.1"] = process.argv.slice(2);
const PAGE = Buffer.alloc(4096, "a page ");
const CHUNK = Buffer.alloc(64 << 10);

const http = createHttp((_, response) => response.end(PAGE));
http.keepAliveTimeout = 60_000;
const echo = createTcp((socket) => socket.on("error", () => socket.destroy()).pipe(socket));
const source = createTcp((socket) => {
  const pour = () => {
    while (!socket.destroyed && socket.write(CHUNK));
  };
  socket.on("error", () => socket.destroy()).on("drain", pour);
  pour();
});
const sockets = new WebSocketServer({ host: address, port: 81 });
sockets.on("connection", (socket) => socket.on("message", (data) => socket.send(data)));
const listening = [
  [http, 80],
  [echo, 7],
  [source, 19],
].map(([server, port]) => new Promise((resolve) => server.listen(port, address, 1024, resolve)));
await Promise.all(listening);
console.log("serving");
