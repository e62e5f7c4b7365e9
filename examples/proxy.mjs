// Lets other programs of this machine reach one private service, at a port of loopback:
//   POSTERN_API_URL=wss://portal.example POSTERN_TOKEN=… node examples/proxy.mjs 8080 wiki.corp.example:80
import { createServer } from "node:net";
import { pipeline } from "node:stream";
import { connectClient } from "postern";
import { createConnection } from "postern/node";

const { POSTERN_API_URL: apiUrl, POSTERN_TOKEN: token } = process.env;
const [, , local, remote] = process.argv;
const [host, port] = remote.split(":");
const client = await connectClient({ apiUrl, token, id: "example-proxy" });
const server = createServer((socket) => {
  const far = createConnection(client, { host, port: Number(port) });
  // An end of either is the end of both; whoever asked sees a closed connection.
  pipeline(socket, far, socket, () => {});
});
server.listen(Number(local), "127.0.0.1", () => console.log(`listening ${server.address().port}`));
process.once("SIGTERM", () => server.close(() => client.close()));
