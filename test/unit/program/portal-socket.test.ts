import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { type AddressInfo, createServer as createTcpServer, connect as dial } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { WebSocketServer } from "ws";
import { openKernel } from "../../../bindings/linux/index.ts";
import { instant, ip, PosternError, SILENT, secret, unixMs } from "../../../src/base/index.ts";
import { FWMARK } from "../../../src/host/index.ts";
import {
  type ClientMessage,
  type ClientRequest,
  clientChannel,
  describeTransient,
  type PortalEvent,
  parsePortalUrl,
} from "../../../src/portal/protocol/index.ts";
import {
  createPortalSocket,
  loadRoots,
  markedTcp,
  type OpenTcp,
  type PortalSocket,
  plainTcp,
} from "../../../src/program/portal-socket.ts";
import { type Resolve, reachTarget } from "../../../src/program/proxy/index.ts";
import type { AskToken } from "../../../src/program/token-renewal.ts";
import { connectPeer, RANDOM, startPortal, type TestPortal } from "./portal-peer.ts";

const VECTORS = new URL("../../vectors/portal/", import.meta.url).pathname;
const OFFICE = `version: 1
resources: [{ name: Office, type: cidr, address: 172.20.0.0/16, site: default }]
policies: [{ group: dev, resource: Office }]
`;

type Event = Exclude<PortalEvent<ClientMessage>, { kind: "resolve" }>;

interface Peer {
  readonly socket: PortalSocket<ClientRequest>;
  readonly events: Event[];
  /** The next event of a kind, counted from the beginning. */
  next<K extends Event["kind"]>(kind: K): Promise<Extract<Event, { kind: K }>>;
  message<K extends ClientMessage["kind"]>(kind: K): Promise<ClientMessage & { readonly kind: K }>;
}

const ends: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

interface PeerSettings {
  readonly roots?: readonly string[];
  readonly openTcp?: OpenTcp;
  readonly resolve?: Resolve;
  readonly onError?: (error: unknown) => void;
  readonly askToken?: AskToken;
}

function createPeer(url: string, token: string, options: PeerSettings = {}): Peer {
  const parsed = parsePortalUrl(url);
  if (!parsed.ok) throw new Error(parsed.reason);
  const events: Event[] = [];
  const taken = new Set<Event>();
  let wake: () => void = () => undefined;
  const { roots } = options;
  const socket = createPortalSocket<ClientMessage, ClientRequest>({
    url: parsed.value,
    channel: clientChannel,
    ...{ token: secret(token), askToken: options.askToken },
    userAgent: "Debian/12 headless-client/1.5.0 postern/0.1.0",
    openTcp: options.openTcp ?? plainTcp,
    resolve: options.resolve ?? (async () => [ip("127.0.0.1")]),
    ...(roots === undefined ? {} : { roots }),
    now: () => instant(Math.floor(performance.now())),
    wallNow: () => unixMs(Date.now()),
    random: RANDOM,
    log: SILENT,
    onEvent(event) {
      events.push(event);
      wake();
    },
    onError:
      options.onError ??
      ((error) => {
        throw error;
      }),
  });
  ends.push(async () => socket.close());
  socket.connect({ externalId: "laptop", name: "laptop", publicKey: new Uint8Array(32).fill(1) });

  async function find(matches: (event: Event) => boolean): Promise<Event> {
    for (;;) {
      const found = events.find((event) => !taken.has(event) && matches(event));
      if (found !== undefined) {
        taken.add(found);
        return found;
      }
      await new Promise<void>((resolve) => (wake = resolve));
    }
  }
  return {
    socket,
    events,
    next: (kind) => find((event) => event.kind === kind) as never,
    message: async (kind) => {
      const event = await find((each) => each.kind === "message" && each.message.kind === kind);
      return (event.kind === "message" ? event.message : undefined) as never;
    },
  };
}

async function portalWith(options: Parameters<typeof startPortal>[0] = {}): Promise<TestPortal> {
  const folder = mkdtempSync(join(tmpdir(), "postern-socket-"));
  const config = join(folder, "portal.yaml");
  writeFileSync(config, OFFICE);
  const portal = await startPortal({ config, ...options });
  ends.push(async () => rmSync(folder, { recursive: true }), portal.stop);
  return portal;
}

/** Carries every CONNECT to where it asks for. */
async function startHttpProxy() {
  const asked: string[] = [];
  const proxy = createServer().on("connect", ({ url = "" }, client) => {
    asked.push(url);
    const [host = "", port] = url.split(":");
    const target = dial(Number(port), host, () => client.write("HTTP/1.1 200 Connected\r\n\r\n"));
    client.on("error", () => target.destroy()).pipe(target);
    target.on("error", () => client.destroy()).pipe(client);
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  ends.push(async () => proxy.close());
  return { host: "127.0.0.1", port: (proxy.address() as AddressInfo).port, asked };
}

/** Joins everybody, and ends the present connection as one whose token has expired. */
async function portalThatExpires() {
  const tokens: string[] = [];
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  let expire = (): void => {};
  server.on("connection", (socket, request) => {
    tokens.push(String(request.headers["x-authorization"]).replace("Bearer ", ""));
    socket.on("message", (data) => {
      const { topic, ref } = JSON.parse(data.toString());
      socket.send(
        JSON.stringify({ topic, ref, event: "phx_reply", payload: { status: "ok", response: {} } }),
      );
    });
    expire = () => {
      socket.send(
        JSON.stringify({
          topic: "client",
          ref: null,
          event: "disconnect",
          payload: { reason: "token_expired" },
        }),
      );
      socket.close(1000);
    };
  });
  await once(server, "listening");
  ends.push(async () => server.close());
  return { url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`, tokens, expire: () => expire() };
}

describe("against our portal", () => {
  it("PT-23, PT-55: joins, is shown its resources, and gets a flow", async () => {
    const portal = await portalWith();
    const gateway = await connectPeer(portal.url, { role: "gateway", token: portal.tokens.gateway });
    const peer = createPeer(portal.url, portal.tokens.client);
    await peer.next("connected");
    const { resources } = await peer.message("init");
    expect(resources).toMatchObject([{ kind: "cidr", name: "Office" }]);
    const rid = resources[0]?.rid ?? "";
    peer.socket.send({ kind: "create-flow", rid, connectedGatewayIds: [] });
    const { ref, client } = (await gateway.next("authorize_flow")).payload;
    gateway.send("flow_authorized", { ref });
    gateway.send("broadcast_ice_candidates", { client_ids: [client.id], candidates: ["candidate:1"] });
    expect(await peer.message("flow-created")).toMatchObject({ rid });
    expect(await peer.message("ice-candidates")).toMatchObject({ candidates: ["candidate:1"] });
    peer.socket.close();
    await peer.next("closed");
    expect(peer.socket.state).toBe("closed");
  });

  it("RL-211: is reached through the proxy that the environment names", async () => {
    const portal = await portalWith();
    const { port, host, asked } = await startHttpProxy();
    const target = { host: "127.0.0.1", port: Number(new URL(portal.url).port) };
    const env = { HTTPS_PROXY: `http://${host}:${port}` };
    const reach = reachTarget({
      target,
      env,
      openTcp: plainTcp,
      resolve: async () => [ip("127.0.0.1")],
      caFile: undefined,
      log: SILENT,
    });
    const peer = createPeer(portal.url, portal.tokens.client, reach);
    await peer.next("connected");
    expect(asked).toEqual([`127.0.0.1:${target.port}`]);
  });

  it("PT-29: a token that the portal does not know is fatal", async () => {
    const portal = await portalWith();
    const peer = createPeer(portal.url, "wrong");
    expect((await peer.next("fatal")).error.kind).toBe("invalid-token");
    expect(peer.socket.state).toBe("closed");
  });

  it("PG-120, PT-29: a refused token is asked for again, and the connection goes on with the next one", async () => {
    const portal = await portalWith();
    const asked: string[] = [];
    const peer = createPeer(portal.url, "wrong", {
      async askToken(refused) {
        asked.push(refused.reveal());
        return secret(portal.tokens.client);
      },
    });
    await peer.next("connected");
    expect(asked).toEqual(["wrong"]);
    expect(peer.events.filter(({ kind }) => kind === "fatal")).toEqual([]);
  });

  it("PG-120, PT-93: so is one that has run out while it was joined", async () => {
    const { url, tokens, expire } = await portalThatExpires();
    const peer = createPeer(url, "first", { askToken: async () => secret("second") });
    await peer.next("connected");
    expire();
    await peer.next("connected");
    expect(tokens).toEqual(["first", "second"]);
    expect(peer.events.map(({ kind }) => kind)).toEqual(["connected", "hiccup", "connected"]);
  });

  it("PG-120: the same token again is the end, and a close while it is asked for is one, too", async () => {
    const portal = await portalWith();
    const same = createPeer(portal.url, "wrong", { askToken: async () => secret("wrong") });
    expect((await same.next("fatal")).error.kind).toBe("invalid-token");
    const silent = createPeer(portal.url, "wrong", { askToken: () => new Promise(() => {}) });
    await silent.next("hiccup");
    expect(silent.socket.state).toBe("waiting");
    silent.socket.close();
    await silent.next("closed");
    expect(silent.socket.state).toBe("closed");
  });

  it("PT-20: reconnect() comes back at once, and gets its init again", async () => {
    const portal = await portalWith();
    const peer = createPeer(portal.url, portal.tokens.client);
    const before = await peer.message("init");
    peer.socket.reconnect();
    expect(await peer.message("init")).toEqual(before);
    expect(peer.events.filter(({ kind }) => kind === "hiccup")).toEqual([]);
  });

  it("PT-28: is told when its newer self takes over, and waits", async () => {
    const portal = await portalWith();
    const peer = createPeer(portal.url, portal.tokens.client);
    await peer.next("connected");
    await connectPeer(portal.url, { role: "client", token: portal.tokens.client, id: "laptop" });
    const hiccup = await peer.next("hiccup");
    expect(hiccup.error).toEqual({ kind: "replaced" });
    expect(hiccup.pauseMs).toBeGreaterThanOrEqual(10_000);
  });

  it("PT-32: comes back when the portal does", async () => {
    const portal = await portalWith();
    const { port } = new URL(portal.url);
    const tokenFile = `actors: [{ name: dev, type: service_account, tokens: [{ name: t, token: ${portal.tokens.client} }] }]\n`;
    const peer = createPeer(portal.url, portal.tokens.client);
    await peer.next("connected");
    await portal.stop();
    expect((await peer.next("hiccup")).error).toEqual({ kind: "closed", code: 1012 });
    const folder = mkdtempSync(join(tmpdir(), "postern-socket-"));
    const config = join(folder, "portal.yaml");
    writeFileSync(config, OFFICE + tokenFile);
    const again = await startPortal({ config, listen: `127.0.0.1:${port}` });
    ends.push(async () => rmSync(folder, { recursive: true }), again.stop);
    await peer.next("connected");
    expect((await peer.message("init")).resources).toHaveLength(1);
  });
});

describe("the bypass mark", () => {
  it.skipIf(process.geteuid?.() !== 0)(
    "PT-17 (root): every connection to the portal carries it",
    async () => {
      const portal = await portalWith();
      const peer = createPeer(portal.url, portal.tokens.client, { openTcp: markedTcp(openKernel(), FWMARK) });
      await peer.next("connected");
      await peer.message("init");
    },
  );

  it("PT-17: a mark that is refused is told as what it is, not as a network failure", async () => {
    const refused = new PosternError("privilege", "no mark");
    const errors: unknown[] = [];
    const peer = createPeer("ws://127.0.0.1:9", "t", {
      openTcp: () => Promise.reject(refused),
      onError: (error) => errors.push(error),
    });
    await expect.poll(() => errors).toEqual([refused]);
    expect(peer.events).toEqual([]);
  });
});

describe("TLS", () => {
  const tls = { tlsCert: join(VECTORS, "localhost.crt"), tlsKey: join(VECTORS, "localhost.key") };

  it("PT-29: a certificate that nobody vouches for is fatal", async () => {
    const portal = await portalWith(tls);
    expect(portal.url).toMatch(/^wss:/);
    const peer = createPeer(portal.url, portal.tokens.client, { roots: loadRoots(undefined) });
    expect(await peer.next("fatal")).toMatchObject({ error: { kind: "certificate" } });
  });

  it("PT-18: --ca-file vouches for it, by address and by name", async () => {
    const portal = await portalWith(tls);
    const roots = loadRoots(tls.tlsCert);
    for (const url of [portal.url, portal.url.replace("127.0.0.1", "localhost")]) {
      const peer = createPeer(url, portal.tokens.client, { roots });
      await peer.next("connected");
      peer.socket.close();
      await peer.next("closed");
    }
  });

  it("PT-29: a certificate for another name is fatal", async () => {
    const portal = await portalWith(tls);
    const url = portal.url.replace("127.0.0.1", "portal.example");
    const peer = createPeer(url, portal.tokens.client, { roots: loadRoots(tls.tlsCert) });
    expect(await peer.next("fatal")).toMatchObject({
      error: { kind: "certificate", code: "ERR_TLS_CERT_ALTNAME_INVALID" },
    });
  });

  it("PT-33: ws:// to a portal that speaks TLS, and wss:// to one that does not, say so", async () => {
    const secure = await portalWith(tls);
    const plain = createPeer(secure.url.replace("wss:", "ws:"), secure.tokens.client);
    expect(describeTransient((await plain.next("hiccup")).error)).toMatch(
      /; if the portal speaks TLS, use wss:\/\/$/,
    );
    plain.socket.close();
    const open = await portalWith();
    const overTls = createPeer(open.url.replace("ws:", "wss:"), open.tokens.client, { roots: [] });
    expect(describeTransient((await overTls.next("hiccup")).error)).toMatch(
      /may not speak TLS$|^ECONNRESET|^TLS failed/,
    );
    overTls.socket.close();
  });

  it("PT-18: a --ca-file that cannot be read is an error of its own", () => {
    expect(() => loadRoots("/nowhere.pem")).toThrow("cannot read /nowhere.pem");
  });
});

describe("against others", () => {
  async function serve(answer: (socket: import("ws").WebSocket) => void): Promise<string> {
    const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
    await once(server, "listening");
    server.on("connection", answer);
    ends.push(async () => {
      for (const client of server.clients) client.terminate();
      server.close();
    });
    return `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  it("PT-29: nobody listens", async () => {
    const server = createTcpServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    server.close();
    await once(server, "close");
    const peer = createPeer(`ws://127.0.0.1:${port}`, "t");
    expect(await peer.next("hiccup")).toMatchObject({
      pauseMs: 1000,
      error: { kind: "unreachable", code: "ECONNREFUSED" },
    });
  });

  it("PT-30, PT-31: a refused upgrade gives status, reason and pause", async () => {
    const server = createServer((_, response) => {
      response.writeHead(503, { "retry-after": "7", "content-type": "application/problem+json" });
      response.end('{"code":"overloaded"}');
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    ends.push(async () => server.close());
    const peer = createPeer(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`, "t");
    expect(await peer.next("hiccup")).toMatchObject({
      pauseMs: 7000,
      error: { kind: "http", status: 503, detail: "overloaded" },
    });
  });

  it("PT-20: does not follow a redirect", async () => {
    let hits = 0;
    const server = createServer((_, response) => {
      hits++;
      response.writeHead(302, { location: "/elsewhere" });
      response.end();
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    ends.push(async () => server.close());
    const peer = createPeer(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`, "t");
    expect(await peer.next("hiccup")).toMatchObject({ error: { kind: "http", status: 302 } });
    expect(hits).toBe(1);
  });

  it("PT-13: sends the token in a header, never in the URL", async () => {
    let seen: { url: string; token: unknown; agent: unknown } | undefined;
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    ends.push(async () => server.close());
    const asked = once(server, "upgrade").then(([request, socket]) => {
      seen = {
        url: request.url,
        token: request.headers["x-authorization"],
        agent: request.headers["user-agent"],
      };
      socket.destroy();
    });
    createPeer(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`, "tökén\n");
    await asked;
    expect(seen?.url).not.toContain("tkn");
    expect(seen).toMatchObject({
      token: "Bearer tkn",
      agent: "Debian/12 headless-client/1.5.0 postern/0.1.0",
    });
  });

  it("PT-7: takes a frame of several megabytes, and survives one above 16 MiB", async () => {
    const url = await serve((socket) => {
      socket.on("message", (data) => {
        const { ref, topic } = JSON.parse(data.toString());
        socket.send(
          JSON.stringify({ topic, event: "phx_reply", payload: { status: "ok", response: {} }, ref }),
        );
        const payload = {
          interface: { ipv4: "100.64.0.1", ipv6: "fd00::1" },
          resources: ["x".repeat(3_000_000)],
        };
        socket.send(JSON.stringify({ topic, event: "init", payload }));
        socket.send("x".repeat(16 * 1024 * 1024 + 1));
      });
    });
    const peer = createPeer(url, "t");
    expect((await peer.message("init")).resources).toEqual([]);
    expect((await peer.next("hiccup")).error).toEqual({ kind: "closed", code: 1006 });
  });

  it("PT-22: a connection that breaks before the join is answered does not hold up the next", async () => {
    let connections = 0;
    const url = await serve((socket) => {
      const isFirst = ++connections === 1;
      socket.on("message", (data) => {
        if (isFirst) {
          socket.terminate();
          return;
        }
        const { ref, topic, event } = JSON.parse(data.toString());
        if (event !== "phx_join") return;
        socket.send(
          JSON.stringify({ topic, event: "phx_reply", payload: { status: "ok", response: {} }, ref }),
        );
      });
    });
    const peer = createPeer(url, "t");
    await peer.next("hiccup");
    await peer.next("connected");
    expect(connections).toBe(2);
  });
});
