/**
 * Floods a portal in one way until its stdin ends: `node portal-flood.mjs WAY PORT PATH TOKEN`.
 *
 *     requests     four connections that pipeline GET /healthz, made again when they are closed
 *     heartbeats   one client that sends heartbeats as fast as its socket takes them
 *     joins        one client that joins again and again, also after it was closed
 */
import { connect } from "node:net";
import { WebSocket } from "ws";

const [way = "", port = "", path = "", token = ""] = process.argv.slice(2);
process.stdin.on("end", () => process.exit(0)).resume();

const REQUESTS = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".repeat(2_000);

function pipeline() {
  const socket = connect(Number(port), "127.0.0.1");
  const fill = () => {
    while (!socket.destroyed && socket.write(REQUESTS));
  };
  socket.on("connect", fill);
  socket.on("drain", fill);
  socket.on("data", () => undefined);
  socket.on("error", () => undefined);
  socket.on("close", () => setTimeout(pipeline, 1));
}

function repeat(frame) {
  const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, {
    headers: { "X-Authorization": `Bearer ${token}`, "User-Agent": "Linux/6 headless-client/1.5.0" },
  });
  const fill = () => {
    if (socket.readyState !== WebSocket.OPEN) return;
    for (let n = 0; n < 500 && socket.bufferedAmount < 1 << 20; n++) socket.send(frame);
    setImmediate(fill);
  };
  socket.on("open", () => {
    socket.send('{"topic":"client","event":"phx_join","payload":{},"ref":0}');
    fill();
  });
  socket.on("error", () => undefined);
  socket.on("close", () => setTimeout(() => repeat(frame), 50));
}

switch (way) {
  case "requests":
    for (let n = 0; n < 4; n++) pipeline();
    break;
  case "heartbeats":
    repeat('{"topic":"phoenix","event":"heartbeat","payload":{},"ref":1}');
    break;
  case "joins":
    repeat('{"topic":"client","event":"phx_join","payload":{},"ref":1}');
    break;
  default:
    throw new Error(`unknown way '${way}'`);
}
