/**
 * Stands between a gateway and its portal, and changes the passwords of ICE in what the portal says: as after a
 * portal that was put back to an older state, the two ends no longer agree about a connection.
 *
 *   node tamper.mjs PORT URL      on loopback; prints `tampered` for each message
 */
import { createServer } from "node:http";
import { WebSocket, WebSocketServer } from "ws";

const [port = "", url = ""] = process.argv.slice(2);
const CREDENTIALS = ["client_ice_credentials", "gateway_ice_credentials"];

function tamper(text) {
  const message = JSON.parse(text);
  const found = CREDENTIALS.filter((name) => message.payload?.[name] !== undefined);
  if (found.length === 0) return text;
  for (const name of found) {
    const credentials = message.payload[name];
    credentials.password = [...credentials.password].reverse().join("");
  }
  console.log("tampered");
  return JSON.stringify(message);
}

const sockets = new WebSocketServer({ noServer: true });
const server = createServer();
server.on("upgrade", (request, socket, head) => {
  const { "x-authorization": authorization, "user-agent": agent } = request.headers;
  const headers = { "X-Authorization": authorization, "User-Agent": agent };
  const portal = new WebSocket(`${url}${request.url}`, { headers });
  portal.on("error", () => socket.destroy());
  portal.on("open", () =>
    sockets.handleUpgrade(request, socket, head, (peer) => {
      peer.on("message", (data) => portal.send(data.toString()));
      portal.on("message", (data) => peer.send(tamper(data.toString())));
      peer.on("close", () => portal.close());
      portal.on("close", () => peer.close());
    }),
  );
});
server.listen(Number(port), "127.0.0.1", () => console.log("listening"));
