/** What stands in `examples/`, run as it stands there, in each runtime. */
import { type ChildProcess, spawn } from "node:child_process";
import { createServer, type Server } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { afterAll, beforeAll, expect, it } from "vitest";
import { WebSocketServer } from "ws";
import { patient } from "../../src/program/lab/index.ts";
import { type EmbeddedOffice, openEmbeddedOffice, SERVER, WIKI } from "../lib/embedded.ts";
import { startPostgresql } from "../lib/postgresql.ts";
import { posternCommand } from "../lib/program.ts";
import { describeWith, missingRequirement, type Requirement } from "../lib/requirements.ts";
import { type StartWords, startWordsOf } from "../lib/runtimes.ts";

const RUNS_WITHIN_MS = 30_000;
const POSTGRESQL = 5432;
const RUNTIMES: readonly {
  readonly name: "node" | "deno" | "bun";
  readonly needs: readonly Requirement[];
}[] = [
  { name: "node", needs: [] },
  { name: "deno", needs: ["deno"] },
  { name: "bun", needs: ["bun"] },
];

interface Run {
  readonly child: ChildProcess;
  /** What it has printed until the pattern came, or until its end. */
  until(pattern: RegExp): Promise<string>;
  readonly ended: Promise<number | null>;
}

function run(command: string, args: readonly string[], env: Record<string, string> = {}): Run {
  const child = spawn(command, args, {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "inherit"],
    timeout: patient(RUNS_WITHIN_MS),
  });
  let text = "";
  child.stdout.on("data", (chunk) => {
    text += chunk;
  });
  const ended = new Promise<number | null>((resolve) => child.on("close", (status) => resolve(status)));
  return {
    child,
    ended,
    until: (pattern) =>
      new Promise((resolve) => {
        const look = (): void => {
          if (pattern.test(text)) resolve(text);
        };
        child.stdout.on("data", look);
        look();
        void ended.then(() => resolve(text));
      }),
  };
}

/** A port of loopback that was free a moment ago. */
function freePort(): Promise<number> {
  const server = createTcpServer();
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

let office: EmbeddedOffice;
let server: Server;
let databasePort: number;

beforeAll(async () => {
  databasePort = await freePort();
  server = createServer((_, response) => response.end("the page"));
  new WebSocketServer({ server }).on("connection", (socket) => {
    socket.on("message", (data) => socket.send(`heard ${data}`));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  office = await openEmbeddedOffice({
    resolver: async (_, family) => (family === 4 ? [SERVER] : []),
    onFlow(flow) {
      const isDatabase = flow.protocol === "tcp" && flow.destination.port === POSTGRESQL;
      return flow.forward({ host: "127.0.0.1", port: isDatabase ? databasePort : port });
    },
  });
});
afterAll(async () => {
  await office?.close();
  server?.closeAllConnections();
  server?.close();
});

function start([command, ...words]: StartWords, role: "client" | "gateway", ...args: readonly string[]): Run {
  const { apiUrl = "", tokens } = office.portal;
  return run(command, [...words, ...args], { POSTERN_API_URL: apiUrl, POSTERN_TOKEN: tokens?.[role] ?? "" });
}

/** `port` serves its metrics. */
async function startCountingRelay(): Promise<{ port: number; close(): Promise<unknown> }> {
  const [port, turn] = [await freePort(), await freePort()];
  const own = [
    "--stand-alone",
    "--public-ip4",
    "127.0.0.1",
    "--bind-ip4",
    "127.0.0.1",
    "--turn-port",
    `${turn}`,
  ];
  const services = ["--metrics-addr", `127.0.0.1:${port}`, "--drain", "0s", "--instance", `m${port}`];
  const { command, args } = posternCommand(["relay", ...own, ...services]);
  const relay = spawn(command, args, { stdio: ["ignore", "ignore", "pipe"] });
  const over = new Promise((resolve) => relay.on("close", resolve));
  await new Promise<void>((resolve) => {
    relay.stderr.on("data", (chunk) => String(chunk).includes(" ready ") && resolve());
    void over.then(() => resolve());
  });
  const close = (): Promise<unknown> => {
    relay.kill();
    return over;
  };
  return { port, close };
}

for (const { name, needs } of RUNTIMES) {
  describeWith(["build", ...needs], `the examples under ${name}`, () => {
    const words = startWordsOf(name);

    it.concurrent("PG-121: fetch.mjs fetches a page, and nothing keeps it alive then", async () => {
      const { until, ended } = start(words, "client", "examples/fetch.mjs", `http://${WIKI}/`);
      expect(await until(/page/)).toBe("200 the page\n");
      expect(await ended).toBe(0);
    });

    it.concurrent("PG-121: websocket.mjs says something and hears the answer", async () => {
      const { until, ended } = start(words, "client", "examples/websocket.mjs", `ws://${WIKI}/`, "hello");
      expect(await until(/heard/)).toBe("heard hello\n");
      expect(await ended).toBe(0);
    });

    it.concurrent("PG-121: proxy.mjs lets another program in, and ends when it is told to", async () => {
      const { child, until, ended } = start(words, "client", "examples/proxy.mjs", "0", `${WIKI}:80`);
      const port = /^listening (\d+)$/m.exec(await until(/listening \d+/))?.[1];
      const page = await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: "close" } });
      expect(await page.text()).toBe("the page");
      child.kill();
      expect(await ended).toBe(0);
    });

    it.concurrent("PG-110: metrics.mjs prints what a running relay counts", async () => {
      const { port, close } = await startCountingRelay();
      const [program, ...rest] = words;
      const asked = run(program, [
        ...rest,
        "examples/metrics.mjs",
        `http://127.0.0.1:${port}/metrics`,
        "postern_build",
      ]);
      expect(await asked.until(/role="relay"/)).toMatch(/^postern_build_info .*role="relay".* 1$/m);
      expect(await asked.ended).toBe(0);
      await close();
    });
  });
}

describeWith(["build", "postgresql", "users"], "a database", () => {
  let database: Awaited<ReturnType<typeof startPostgresql>> | undefined;
  beforeAll(async () => {
    database = await startPostgresql(databasePort);
  });
  afterAll(() => database?.close());

  for (const { name, needs } of RUNTIMES) {
    describeWith(needs, `asked under ${name}`, () => {
      it("PG-121: database.mjs asks a PostgreSQL, and nothing keeps it alive then", async () => {
        const query = "select 6 * 7 as answer, repeat('x', 200000) as long";
        const url = `postgres://me@${WIKI}/postgres`;
        const { until, ended } = start(startWordsOf(name), "client", "examples/database.mjs", url, query);
        const said = await until(/\n/);
        expect(JSON.parse(said)).toEqual([{ answer: 42, long: "x".repeat(200_000) }]);
        expect(await ended).toBe(0);
      });
    });
  }
});

function isPresent(name: "node" | "deno" | "bun"): boolean {
  return name === "node" || missingRequirement([name]) === undefined;
}

describeWith(["build"], "the gateway of the examples", () => {
  // Its own gateway takes the place of the office's, so this comes last.
  it("PG-129: service.mjs serves what listens nowhere, in each runtime, until it is told to end", async () => {
    await office.gateway.close();
    for (const name of RUNTIMES.map(({ name }) => name).filter(isPresent)) {
      const { child, until, ended } = start(startWordsOf(name), "gateway", "examples/service.mjs");
      expect(await until(/serving/)).toBe("serving\n");
      const page = await office.client.fetch(`http://${WIKI}/greeting`, { headers: { connection: "close" } });
      expect(await page.text(), name).toBe("you asked for /greeting\n");
      await expect(office.client.dial({ host: WIKI, port: 22 })).rejects.toMatchObject({ code: "refused" });
      child.kill();
      expect(await ended).toBe(0);
    }
  });
});
