// Offers a web service that listens nowhere: clients of the portal reach it by the names and networks that this
// gateway's site has as resources.
//   POSTERN_API_URL=wss://portal.example POSTERN_TOKEN=… node examples/service.mjs
import { createServer } from "node:http";
import { startGateway } from "postern";
import { toDuplex } from "postern/node";

const server = createServer((request, response) => response.end(`you asked for ${request.url}\n`));
const { POSTERN_API_URL: apiUrl, POSTERN_TOKEN: token } = process.env;
const gateway = await startGateway({
  ...{ apiUrl, token, id: "example-service" },
  // No name server knows the name: any address in place of it will do.
  resolver: async (_, family) => (family === 4 ? ["192.0.2.80"] : []),
  async onFlow(flow) {
    if (flow.protocol !== "tcp" || flow.destination.port !== 80) return flow.refuse("refused");
    server.emit("connection", toDuplex(await flow.accept()));
  },
});
process.once("SIGTERM", () => gateway.close());
console.log("serving");
