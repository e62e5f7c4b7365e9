/** What the loads ask in the far namespace: `node server.mjs ADDRESS PORT` answers small requests. */
import { createServer } from "node:http";

const [address, port] = process.argv.slice(2);
const server = createServer((_request, response) => response.end("small"));
server.keepAliveTimeout = 60_000;
server.listen({ host: address, port: Number(port), backlog: 4096 }, () => console.log("listening"));
