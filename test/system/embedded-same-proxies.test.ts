/** 16 clients of one gateway whose names have the same proxy addresses, in this process (TN-65, TN-67, TN-74). */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import {
  type Client,
  connectClient,
  type Gateway,
  type Portal,
  startGateway,
  startPortal,
} from "../../src/index.ts";
import { describeWith } from "../lib/requirements.ts";

const CLIENTS = 16;
const AT_ONCE = 4;
const SECONDS = 3;
const ON_LOOPBACK = { addresses: ["127.0.0.1"], sockets: "plain" } as const;
const RESOURCES = `
version: 1
resources: [{ name: Own, type: dns, address: "*.corp.example", site: default }]
policies: [{ group: dev, resource: Own }]
`;

describeWith([], "16 clients with the same proxy addresses", () => {
  const folder = mkdtempSync(join(tmpdir(), "postern-same-"));
  let portal: Portal;
  let gateway: Gateway;
  let clients: readonly Client[] = [];

  beforeAll(async () => {
    const config = join(folder, "portal.yaml");
    writeFileSync(config, RESOURCES);
    portal = await startPortal({ dev: true, config, listen: "127.0.0.1:0" });
    const { apiUrl, tokens } = portal;
    if (apiUrl === undefined || tokens === undefined) throw new Error("a portal for trying out has tokens");
    gateway = await startGateway({
      ...{ apiUrl, token: tokens.gateway, id: "gateway", ...ON_LOOPBACK },
      // Each client's name leads to a server of its own.
      resolver: async (name, family) => (family === 4 ? [`10.77.0.${Number(/\d+/.exec(name)?.[0])}`] : []),
      async onFlow(flow) {
        if (flow.protocol !== "tcp") return;
        const { source, destination } = flow;
        const socket = await flow.accept();
        const writer = socket.writable.getWriter();
        await writer.write(new TextEncoder().encode(`${destination.address} ${source.address}`));
        await writer.close();
      },
    });
    clients = await Promise.all(
      Array.from({ length: CLIENTS }, (_, i) =>
        connectClient({ apiUrl, token: tokens.client, id: `client-${i}`, ...ON_LOOPBACK }),
      ),
    );
  }, 60_000);
  afterAll(async () => {
    await Promise.all(clients.map((client) => client.close()));
    await gateway?.close();
    await portal?.close();
    rmSync(folder, { recursive: true });
  });

  /** What the server says that the client comes to. */
  async function ask(client: Client, host: string): Promise<string> {
    const socket = await client.dial({ host, port: 80, family: 4 });
    let said = "";
    const decoder = new TextDecoder();
    for await (const chunk of socket.readable) said += decoder.decode(chunk, { stream: true });
    await socket.writable.close();
    return said;
  }

  it("TN-65, TN-67: each comes to its own server, as fast as they can open connections", {
    timeout: 60_000,
  }, async () => {
    const proxies = await Promise.all(
      clients.map((client, i) => client.lookup(`own-${i}.corp.example`, { family: 4 })),
    );
    for (const own of proxies) expect(own).toEqual([1, 2, 3, 4].map((last) => `100.96.0.${last}`));
    const until = performance.now() + SECONDS * 1000;
    const opened = await Promise.all(
      clients.map(async (client, i) => {
        const expected = `10.77.0.${i} ${client.status().addresses.find((one) => !one.includes(":"))}`;
        let count = 0;
        async function run(): Promise<void> {
          while (performance.now() < until) {
            expect(await ask(client, `own-${i}.corp.example`)).toBe(expected);
            count++;
          }
        }
        await Promise.all(Array.from({ length: AT_ONCE }, run));
        return count;
      }),
    );
    console.log(
      `16 clients: ${Math.round(opened.reduce((sum, one) => sum + one, 0) / SECONDS)} connections a second`,
    );
    for (const count of opened) expect(count).toBeGreaterThan(1);
  });
});
