// Says something to a private WebSocket server, with the package `ws`:
//   POSTERN_API_URL=wss://portal.example POSTERN_TOKEN=… node examples/websocket.mjs ws://chat.corp.example/ hello
import { connectClient } from "postern";
import { createConnection } from "postern/node";
import { WebSocket } from "ws";

const { POSTERN_API_URL: apiUrl, POSTERN_TOKEN: token } = process.env;
const [, , url, text] = process.argv;
const client = await connectClient({ apiUrl, token, id: "example-websocket" });
const socket = new WebSocket(url, {
  createConnection: ({ host, port }) => createConnection(client, { host, port }),
});
socket.on("open", () => socket.send(text));
socket.on("message", (answer) => {
  console.log(String(answer));
  socket.close();
});
socket.on("close", () => client.close());
