/** What stands in `examples/`, run as it stands there. */
import { type ChildProcess, spawn } from "node:child_process";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, it } from "vitest";
import { WebSocketServer } from "ws";
import { type EmbeddedOffice, openEmbeddedOffice, SERVER, WIKI } from "../lib/embedded.ts";
import { describeWith } from "../lib/requirements.ts";

const RUNS_WITHIN_MS = 15_000;

interface Run {
  readonly child: ChildProcess;
  /** What it has printed until the pattern came, or until its end. */
  until(pattern: RegExp): Promise<string>;
  readonly ended: Promise<number | null>;
}

function run(args: readonly string[], env: Record<string, string>): Run {
  const child = spawn(process.execPath, args, {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "inherit"],
    timeout: RUNS_WITHIN_MS,
  });
  let text = "";
  const ended = new Promise<number | null>((resolve) => child.on("close", (status) => resolve(status)));
  return {
    child,
    ended,
    until: (pattern) =>
      new Promise((resolve) => {
        child.stdout.on("data", (chunk) => {
          text += chunk;
          if (pattern.test(text)) resolve(text);
        });
        void ended.then(() => resolve(text));
      }),
  };
}

describeWith(["build"], "the examples", () => {
  let office: EmbeddedOffice;
  let server: Server;

  beforeAll(async () => {
    server = createServer((_, response) => response.end("the page"));
    new WebSocketServer({ server }).on("connection", (socket) => {
      socket.on("message", (data) => socket.send(`heard ${data}`));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    office = await openEmbeddedOffice({
      resolver: async (_, family) => (family === 4 ? [SERVER] : []),
      onFlow: (flow) => flow.forward({ host: "127.0.0.1", port }),
    });
  });
  afterAll(async () => {
    await office?.close();
    server?.closeAllConnections();
    server?.close();
  });

  const start = (role: "client" | "gateway", ...args: readonly string[]): Run => {
    const { apiUrl = "", tokens } = office.portal;
    return run(args, { POSTERN_API_URL: apiUrl, POSTERN_TOKEN: tokens?.[role] ?? "" });
  };

  it("PG-121: fetch.mjs fetches a page, and nothing keeps it alive then", async () => {
    const { until, ended } = start("client", "examples/fetch.mjs", `http://${WIKI}/`);
    expect(await until(/page/)).toBe("200 the page\n");
    expect(await ended).toBe(0);
  });

  it("PG-121: websocket.mjs says something and hears the answer", async () => {
    const { until, ended } = start("client", "examples/websocket.mjs", `ws://${WIKI}/`, "hello");
    expect(await until(/heard/)).toBe("heard hello\n");
    expect(await ended).toBe(0);
  });

  it("PG-129: service.mjs serves what listens nowhere, until it is told to end", async () => {
    await office.gateway.close();
    const { child, until, ended } = start("gateway", "examples/service.mjs");
    expect(await until(/serving/)).toBe("serving\n");
    const page = await office.client.fetch(`http://${WIKI}/greeting`);
    expect(await page.text()).toBe("you asked for /greeting\n");
    await expect(office.client.dial({ host: WIKI, port: 22 })).rejects.toMatchObject({ code: "refused" });
    child.kill();
    expect(await ended).toBe(0);
  });
});
