/** The library in all three runtimes, as one program uses it (PG-120, PG-121): `test/lib/embedded-probe.mjs`. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { makeCertificate } from "../lib/certificate.ts";
import { type EmbeddedOffice, openEmbeddedOffice, SERVER, WIKI } from "../lib/embedded.ts";
import { describeWith, type Requirement } from "../lib/requirements.ts";
import { type Ended, runToEnd } from "../lib/run-to-end.ts";
import { type StartWords, startWordsOf } from "../lib/runtimes.ts";

const RUNTIMES: readonly {
  name: "node" | "deno" | "bun";
  needs: readonly Requirement[];
}[] = [
  { name: "node", needs: [] },
  { name: "deno", needs: ["deno"] },
  { name: "bun", needs: ["bun"] },
];
const ECHO = 7;
const WITHIN_MS = 45_000;

let office: EmbeddedOffice;
let folder: string;
const servers: Server[] = [];

async function listen(server: Server): Promise<number> {
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "postern-embedded-"));
  makeCertificate(folder, WIKI, `DNS:${WIKI}`);
  const [cert, key] = ["crt", "key"].map((name) => readFileSync(join(folder, name)));
  const handler = (request: IncomingMessage, response: ServerResponse) =>
    void response.end(`${request.method} ${request.url}`);
  const ports = new Map([
    [80, await listen(createServer(handler))],
    [443, await listen(createTlsServer({ ...(cert && { cert }), ...(key && { key }) }, handler))],
  ]);
  office = await openEmbeddedOffice({
    resolver: async (_, family) => (family === 4 ? [SERVER] : []),
    async onFlow(flow) {
      if (flow.protocol === "icmp") return flow.accept();
      if (flow.protocol === "udp") {
        const datagrams = flow.accept();
        for (let one = await datagrams.receive(); one; one = await datagrams.receive()) datagrams.send(one);
        return;
      }
      if (flow.destination.port === ECHO) {
        const socket = await flow.accept();
        return await socket.readable.pipeTo(socket.writable).catch(() => {});
      }
      const port = ports.get(flow.destination.port);
      if (port === undefined) return flow.refuse("refused");
      await flow.forward({ host: "127.0.0.1", port });
    },
  });
});
afterAll(async () => {
  await office?.close();
  for (const server of servers) server.closeAllConnections();
  for (const server of servers) server.close();
  rmSync(folder, { recursive: true });
});

function run([program, ...args]: StartWords): Promise<Ended> {
  const { apiUrl = "", tokens } = office.portal;
  const env = { API_URL: apiUrl, TOKEN: tokens?.client ?? "", CA: join(folder, "crt") };
  return runToEnd(program, [...args, "test/lib/embedded-probe.mjs", SERVER, WIKI], WITHIN_MS, env);
}

for (const { name, needs } of RUNTIMES) {
  describeWith(["build", "openssl", ...needs], `the library under ${name}`, () => {
    it("PG-120, PG-121, PG-130: dials, sends, fetches, trusts, fails by code, and ends by itself", async () => {
      const { status, output, errors } = await run(startWordsOf(name));
      expect(status, errors).toBe(0);
      const { untrusted, ...found } = JSON.parse(output);
      expect(found).toEqual({
        echo: 1_000_000,
        ownMemory: [300_000, 50_000],
        datagram: 3,
        ping: true,
        duplex: "as a duplex",
        conn: "as a conn",
        get: "GET /page",
        post: "POST /form",
        tls: "GET /secret",
        refused: "refused",
        unknown: "not_a_resource",
      });
      expect(untrusted).not.toBe("none");
    });
  });
}
