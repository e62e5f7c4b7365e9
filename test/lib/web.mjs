/**
 * A web server for a browser: HTTP/2 by TLS, and a WebSocket on the same port. Its page asks for parts, talks over
 * the WebSocket, and tells what came of it.
 *
 *   node web.mjs PORT FOLDER       with `key` and `crt` in the folder; prints `page over VERSION from ADDRESS`,
 *                                  `socket from ADDRESS` and `told JSON over VERSION`
 */
import { readFileSync } from "node:fs";
import { createSecureServer } from "node:http2";
import { join } from "node:path";
import { WebSocketServer } from "ws";

const [port = "", folder = ""] = process.argv.slice(2);
const PARTS = 20;
const PART_BYTES = 100_000;

const PAGE = `<!doctype html><title>Wiki</title><script type="module">
const parts = await Promise.all(
  Array.from({ length: ${PARTS} }, async (_, i) => (await (await fetch("/part/" + i)).arrayBuffer()).byteLength),
);
const socket = new WebSocket("wss://" + location.host + "/talk");
const heard = [];
socket.onopen = () => socket.send("one");
socket.onmessage = async ({ data }) => {
  heard.push(data);
  if (heard.length < 3) return socket.send(data + "!");
  const told = { bytes: parts.reduce((sum, bytes) => sum + bytes), heard, at: location.host };
  await fetch("/tell", { method: "POST", body: JSON.stringify(told) });
};
</script>`;

const files = { key: readFileSync(join(folder, "key")), cert: readFileSync(join(folder, "crt")) };
const server = createSecureServer({ ...files, allowHTTP1: true }, (request, response) => {
  const over = `over ${request.httpVersion}`;
  if (request.url === "/") {
    console.log(`page ${over} from ${request.socket.remoteAddress}`);
    response.setHeader("content-type", "text/html");
    response.end(PAGE);
  } else if (request.url.startsWith("/part/")) response.end(Buffer.alloc(PART_BYTES, request.url));
  else if (request.url === "/tell") {
    let body = "";
    request.on("data", (chunk) => {
      body += chunk;
    });
    request.on("end", () => {
      console.log(`told ${body} ${over}`);
      response.end();
    });
  } else {
    response.statusCode = 404;
    response.end();
  }
});
const sockets = new WebSocketServer({ noServer: true });
server.on("upgrade", (request, socket, head) =>
  sockets.handleUpgrade(request, socket, head, (talk) => {
    console.log(`socket from ${request.socket.remoteAddress}`);
    talk.on("message", (text) => talk.send(`${text}`));
  }),
);
server.listen(Number(port), "::", () => console.log("serving"));
