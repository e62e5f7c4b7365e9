import { type EventEmitter, once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { type AddressInfo, connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { PosternError } from "../../../src/base/index.ts";
import { exitCodeOf } from "../../../src/program/exit.ts";
import { patient } from "../../../src/program/lab/index.ts";
import type { PortalOptions } from "../../../src/program/options.ts";
import { runPortal } from "../../../src/program/portal/index.ts";
import { ROOT } from "../house/sources.ts";
import {
  connectPeer,
  createIo,
  loginUrl,
  OPTIONS,
  openSocket,
  startPortal,
  type TestPortal,
} from "./portal-peer.ts";

const OFFICE = `version: 1
resources: [{ name: Office, type: cidr, address: 172.20.0.0/16, site: default }]
policies: [{ group: dev, resource: Office }]
`;

const running: TestPortal[] = [];
const folders: string[] = [];

afterEach(async () => {
  for (const portal of running.splice(0)) await portal.stop();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "postern-portal-"));
  folders.push(folder);
  return folder;
}

async function portalWith(file: string, options: Partial<PortalOptions> = {}) {
  const folder = newFolder();
  const path = join(folder, "portal.yaml");
  writeFileSync(path, file);
  const portal = await startPortal({ config: path, ...options });
  running.push(portal);
  return { portal, path, folder };
}

/** A gateway and a client that uses Office through it. */
async function connected() {
  const { portal, path } = await portalWith(OFFICE);
  const gateway = await connectPeer(portal.url, { role: "gateway", token: portal.tokens.gateway });
  const gatewayInit = (await gateway.next("init")).payload;
  const client = await connectPeer(portal.url, { role: "client", token: portal.tokens.client });
  const init = (await client.next("init")).payload;
  const rid = init.resources[0].id;
  client.send("create_flow", { resource_id: rid, connected_gateway_ids: [] });
  const authorize = (await gateway.next("authorize_flow")).payload;
  gateway.send("flow_authorized", { ref: authorize.ref });
  expect((await gateway.next("phx_reply")).payload.status).toBe("ok");
  const flow = (await client.next("flow_created")).payload;
  return { portal, path, gateway, gatewayInit, client, init, rid, authorize, flow, cid: authorize.client.id };
}

describe("postern portal --dev", () => {
  it("PT-85, PT-87: lets a client reach a resource through a gateway, step by step", async () => {
    const { gateway, gatewayInit, client, init, rid, authorize, flow, cid } = await connected();
    expect(gatewayInit).toMatchObject({ account_slug: "dev", relays: [], authorizations: [] });
    expect(init.resources).toMatchObject([
      { type: "cidr", name: "Office", address: "172.20.0.0/16", filters: [] },
    ]);
    expect(authorize).toMatchObject({
      resource: { type: "cidr", id: rid, address: "172.20.0.0/16", filters: [] },
      client: { ipv4: init.interface.ipv4, ipv6: init.interface.ipv6, version: "1.5.0" },
      expires_at: null,
    });
    expect(flow).toMatchObject({
      resource_id: rid,
      gateway_ipv4: gatewayInit.interface.ipv4,
      preshared_key: authorize.client.preshared_key,
      client_ice_credentials: authorize.client_ice_credentials,
      gateway_ice_credentials: authorize.gateway_ice_credentials,
    });
    client.send("broadcast_ice_candidates", { gateway_ids: [flow.gateway_id], candidates: ["candidate:a"] });
    expect((await gateway.next("ice_candidates")).payload).toEqual({
      client_id: cid,
      candidates: ["candidate:a"],
    });
    gateway.send("broadcast_ice_candidates", { client_ids: [cid], candidates: ["candidate:b"] });
    expect((await client.next("ice_candidates")).payload).toEqual({
      gateway_id: flow.gateway_id,
      candidates: ["candidate:b"],
    });
  });

  it("PT-111: prints address and tokens, then `ready`", async () => {
    const { portal } = await portalWith(OFFICE);
    expect(portal.lines).toEqual([
      expect.stringMatching(/^POSTERN_API_URL=ws:\/\/127\.0\.0\.1:\d+$/),
      expect.stringMatching(/^GATEWAY_TOKEN=ptg_.{66}$/),
      expect.stringMatching(/^RELAY_TOKEN=ptr_.{66}$/),
      expect.stringMatching(/^CLIENT_TOKEN=ptc_.{66}$/),
      "ready",
    ]);
  });

  it("PT-70: refuses with problem+json, and without saying what was wrong with a token", async () => {
    const { portal } = await portalWith(OFFICE);
    for (const token of [portal.tokens.gateway, "junk"]) {
      const socket = openSocket(portal.url, { role: "client", token });
      const [, response] = await once(socket, "unexpected-response");
      expect(response.statusCode).toBe(401);
      expect(response.headers["content-type"]).toBe("application/problem+json");
      const [body] = await once(response, "data");
      expect(JSON.parse(String(body))).toMatchObject({ status: 401, code: "invalid_token" });
    }
  });

  it("PT-74: closes the older socket of a peer with 4000", async () => {
    const { portal, client } = await connected();
    await connectPeer(portal.url, { role: "client", token: portal.tokens.client });
    expect(await client.closed()).toBe(4000);
  });

  it("PT-117: serves health beside the sockets", async () => {
    const { portal } = await portalWith(OFFICE);
    const status = async (path: string): Promise<number | undefined> => {
      const [response] = await once(get(portal.url.replace("ws:", "http:") + path), "response");
      response.resume();
      return response.statusCode;
    };
    expect(await status("/healthz")).toBe(200);
    expect(await status("/readyz?x")).toBe(200);
    expect(await status("/")).toBe(404);
    expect(await status("/client/websocket")).toBe(404);
  });

  it("PG-15: ends with 0 and closes its sockets with 1012", async () => {
    const { portal, client, gateway } = await connected();
    running.length = 0;
    expect(await portal.stop()).toBe(0);
    expect([await client.closed(), await gateway.closed()]).toEqual([1012, 1012]);
  });
});

describe("stopping", () => {
  it("PG-15: does not wait for peers that hold their half of a connection open", async () => {
    const { portal } = await portalWith(OFFICE);
    running.length = 0;
    const { port } = new URL(portal.url);
    const silent = connect({ port: Number(port), host: "127.0.0.1", allowHalfOpen: true });
    const refused = connect({ port: Number(port), host: "127.0.0.1", allowHalfOpen: true });
    for (const socket of [silent, refused]) socket.on("error", () => undefined);
    refused.write("GET /x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    await once(refused, "data");
    const started = performance.now();
    expect(await portal.stop()).toBe(0);
    expect(performance.now() - started).toBeLessThan(patient(3_000));
    silent.destroy();
    refused.destroy();
  });
});

describe("reload", () => {
  it("PT-114: follows a file that changes, and tells the gateway what ended", async () => {
    const { path, gateway, client, rid, cid } = await connected();
    writeFileSync(path, "version: 1\n");
    expect((await gateway.next("reject_access")).payload).toEqual({ client_id: cid, resource_id: rid });
    expect((await client.next("resource_deleted")).payload).toBe(rid);
  });

  it("PT-114: a file that cannot be used changes nothing, on SIGHUP neither", async () => {
    const { portal, path, gateway, client, rid } = await connected();
    writeFileSync(path, OFFICE.replace("type: cidr", "typ: cidr"));
    portal.signal("SIGHUP");
    rmSync(path);
    portal.signal("SIGHUP");
    writeFileSync(path, OFFICE.replace("site: default", "site: default, address_description: new"));
    portal.signal("SIGHUP");
    const update = await client.next("resource_created_or_updated");
    expect(update.payload).toMatchObject({ id: rid, address_description: "new" });
    expect([...client.rest, ...gateway.rest].map(({ event }) => event)).toEqual([]);
  });
});

describe("hostile input", () => {
  /** Whether the portal still answers. */
  async function answers(portal: TestPortal): Promise<boolean> {
    const peer = await connectPeer(portal.url, {
      role: "client",
      token: portal.tokens.client,
      id: "witness",
    });
    peer.send("heartbeat", {}, "h", "phoenix");
    const reply = await peer.next("phx_reply");
    peer.socket.terminate();
    return reply.ref === "h";
  }

  it("PT-7: a frame of 64 KiB is read, one byte more closes with 1009", async () => {
    const { portal, client } = await connected();
    const frame = (bytes: number): string => {
      const empty = JSON.stringify({ topic: "phoenix", event: "heartbeat", payload: "", ref: "big" });
      return empty.replace('""', `"${"x".repeat(bytes - empty.length)}"`);
    };
    client.sendText(frame(65_536));
    expect((await client.next("phx_reply")).ref).toBe("big");
    client.sendText(frame(65_537));
    expect(await client.closed()).toBe(1009);
    expect(await answers(portal)).toBe(true);
  });

  it("PT-6: broken frames change nothing until there are too many", async () => {
    const { portal, client } = await connected();
    const broken = [
      "{",
      "",
      "[]",
      '{"topic":1}',
      `${"[".repeat(30_000)}${"]".repeat(30_000)}`,
      '{"__proto__":{"x":1}}',
    ];
    for (const text of broken) client.sendText(text);
    client.socket.send(new Uint8Array([0xff, 0xfe]));
    client.send("heartbeat", {}, "alive", "phoenix");
    expect((await client.next("phx_reply")).ref).toBe("alive");
    for (let i = 0; i < 100; i++) client.sendText("{");
    expect(await client.closed()).toBe(1008);
    expect(await answers(portal)).toBe(true);
  });

  it("PT-66: wrong topics and events get an error and do no harm", async () => {
    const { portal, client } = await connected();
    client.send("flow_authorized", { ref: "n1.00" }, 90, "gateway");
    client.send("authorize_flow", {}, 91);
    expect((await client.next("phx_reply")).payload.response.reason).toBe("unmatched topic");
    expect((await client.next("phx_reply")).payload.response.reason).toBe("unknown_message");
    expect(await answers(portal)).toBe(true);
  });

  it("PT-72: bears a flood of requests, and answers all of them", async () => {
    const { portal, client, rid } = await connected();
    // The rest waits in the client's own socket: 100 a second are taken (PT-72).
    for (let i = 0; i < 300; i++) {
      client.send("create_flow", { resource_id: i % 2 ? rid : "00000000-0000-4000-8000-000000000000" });
      client.send("broadcast_ice_candidates", { gateway_ids: [rid], candidates: ["x"] });
    }
    client.send("heartbeat", {}, "after", "phoenix");
    for (;;) if ((await client.next("phx_reply")).ref === "after") break;
    expect(await answers(portal)).toBe(true);
  });

  it("closes a text frame that is not UTF-8 with 1007", async () => {
    const { portal, client } = await connected();
    client.socket.send(new Uint8Array([0x7b, 0xff]), { binary: false });
    expect(await client.closed()).toBe(1007);
    expect(await answers(portal)).toBe(true);
  });

  it("survives what is no HTTP, and upgrades that break off", async () => {
    const { portal } = await portalWith(OFFICE);
    const { port } = new URL(portal.url);
    const path = loginUrl("", { role: "client", token: "" });
    const head = `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n`;
    const identity = `X-Authorization: Bearer ${portal.tokens.client}\r\nUser-Agent: headless-client/1.5.0\r\n`;
    for (const text of [
      "\u0016\u0003\u0001\u0002\u0000",
      "GET /client/websocket HTTP/1.1\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
      `${head}${identity}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n\r\n`,
      `${head}${identity}Sec-WebSocket-Version: 99\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n`,
    ]) {
      const socket = connect(Number(port), "127.0.0.1");
      socket.on("error", () => undefined);
      socket.write(text);
      await once(socket.resume(), "close");
    }
    expect(await answers(portal)).toBe(true);
  });
});

describe("how it fails to start", () => {
  async function failure(options: Partial<PortalOptions>): Promise<{ code: number; line: string }> {
    const io = createIo();
    try {
      return { code: await runPortal({ ...OPTIONS, ...options }, io), line: io.errors.join("\n") };
    } catch (error) {
      expect(error).toBeInstanceOf(PosternError);
      return { code: exitCodeOf(error), line: error instanceof Error ? error.message : "" };
    }
  }

  it("PG-14: 8 with a port that is taken", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    expect(await failure({ listen: `127.0.0.1:${port}` })).toEqual({
      code: 8,
      line: `cannot listen on 127.0.0.1:${port}`,
    });
    server.close();
  });

  it("PT-111: 2 for --dev on another address than loopback, unless that is meant", async () => {
    expect(await failure({ listen: "203.0.113.1:80" })).toMatchObject({ code: 2 });
    expect(await failure({ listen: "0.0.0.0:0" })).toMatchObject({ code: 2 });
    // Then only the system refuses: nobody has this address.
    expect(await failure({ listen: "203.0.113.1:80", devInsecure: true })).toMatchObject({ code: 8 });
  });

  it.each<[string, Partial<PortalOptions>]>([
    ["neither --dev nor --config", { dev: false }],
    ["an address without a port", { listen: "127.0.0.1" }],
    ["an unknown word", { words: ["serv"] }],
    ["a certificate without a key", { tlsCert: "x" }],
    ["`token new` without --kind", { words: ["token", "new"] }],
    ["`check` without a file", { words: ["check"] }],
  ])("PG-14: 2 for %s", async (_, options) => {
    expect((await failure(options)).code).toBe(2);
  });

  it("PG-14: 2 with a bad file, with its places; 3 with one that cannot be read", async () => {
    const path = join(newFolder(), "bad.yaml");
    writeFileSync(path, "version: 1\nsitse: []\n");
    expect(await failure({ config: path })).toEqual({
      code: 2,
      line: `postern: ${path}:2:1: unknown key 'sitse'; did you mean 'sites'?`,
    });
    expect((await failure({ config: `${path}.no` })).code).toBe(3);
  });
});

describe("portal check and token new", () => {
  it("PT-110: check says ok with 0, or the places with 2", async () => {
    const path = join(newFolder(), "portal.yaml");
    writeFileSync(path, "version: 1\naccount: { slug: demo }\n");
    const io = createIo();
    expect(await runPortal({ ...OPTIONS, dev: false, words: ["check", path] }, io)).toBe(0);
    expect(io.lines).toEqual([`${path}: ok: 0 sites, 0 resources, 0 policies, 0 actors`]);
    writeFileSync(path, "version: 1\n");
    expect(await runPortal({ ...OPTIONS, dev: false, words: ["check", path] }, io)).toBe(2);
    expect(io.errors).toEqual([`${path}:1:1: missing key 'account'`]);
  });

  it("PT-110, PT-111: and with --dev of a file for that, access too", async () => {
    const path = join(newFolder(), "dev.yaml");
    writeFileSync(path, readFileSync(join(ROOT, "examples", "dev.yaml")));
    const io = createIo();
    expect(await runPortal({ ...OPTIONS, dev: true, words: ["check", path] }, io)).toBe(0);
    expect(io.lines).toEqual([`${path}: ok: 1 site, 1 resource, 1 policy, 1 actor`]);
    expect(await runPortal({ ...OPTIONS, dev: true, words: ["access", path, "dev", "Office"] }, io)).toBe(0);
  });

  it.each([
    ["Git", 0, "allowed: ci may reach Git, tcp 443"],
    ["Git:443", 0, "allowed: ci may reach Git, tcp 443"],
    ["Git:443/tcp", 0, "allowed: ci may reach Git, tcp 443"],
    ["a:1/b", 0, "allowed: ci may reach a:1/b, every protocol and port"],
    ["a:1/b/icmp", 0, "allowed: ci may reach a:1/b, icmp"],
    ["Git/icmp", 4, "forbidden: the filters of Git let pass only tcp 443"],
    ["Git:444", 4, "forbidden: the filters of Git let pass only tcp 443"],
  ])("PT-196: access to %s exits with %i", async (target, code, line) => {
    const path = accessFile();
    const io = createIo();
    expect(await runPortal({ ...OPTIONS, dev: false, words: ["access", path, "ci", target] }, io)).toBe(code);
    expect(io.lines[0]).toBe(line);
  });

  it.each([
    [["Git/tcp"], "tcp needs a port from 0 to 65535"],
    [["Git:65536"], "tcp needs a port from 0 to 65535"],
    [["Git:1/icmp"], "icmp has no ports"],
    [["Git:1/sctp"], "'sctp' is none of tcp, udp, icmp"],
    [["Gut"], "no resource 'Gut' in the file"],
    [[], "it is: portal access FILE CLIENT RESOURCE[:PORT][/PROTOCOL]"],
  ])("PT-196: access to %j is a mistake that is named", async (target, message) => {
    const words = ["access", accessFile(), "ci", ...target];
    await expect(runPortal({ ...OPTIONS, dev: false, words }, createIo())).rejects.toThrow(message);
  });

  it("PT-110: a new token works with the hash line that comes with it", async () => {
    const io = createIo();
    expect(await runPortal({ ...OPTIONS, words: ["token", "new"], kind: "client" }, io)).toBe(0);
    const [token = "", hash = ""] = io.lines;
    const actor = `actors: [{ name: x, type: service_account, tokens: [{ name: t, ${hash} }] }]\n`;
    const { portal } = await portalWith(`${OFFICE}${actor}`);
    const client = await connectPeer(portal.url, { role: "client", token });
    expect((await client.next("init")).payload.resources).toEqual([]);
  });
});

function accessFile(): string {
  const path = join(newFolder(), "portal.yaml");
  writeFileSync(
    path,
    `version: 1
account: { slug: demo }
sites: [{ name: a }]
actors: [{ name: ci, type: service_account }]
groups: [{ name: g, members: [ci] }]
resources:
  - { name: Git, type: dns, address: git.example.com, site: a, filters: [{ protocol: tcp, ports: ["443"] }] }
  - { name: "a:1/b", type: cidr, address: 10.0.0.0/8, site: a }
policies: [{ group: g, resource: Git }, { group: g, resource: "a:1/b" }]
`,
  );
  return path;
}

describe("the state on disk", () => {
  const FILE = `version: 1
account: { slug: demo }
sites: [{ name: default, gateway_tokens: [{ name: g, env: GATEWAY }] }]
`;

  async function makeToken(): Promise<string> {
    const io = createIo();
    await runPortal({ ...OPTIONS, words: ["token", "new"], kind: "gateway" }, io);
    return io.lines[0] ?? "";
  }

  it("PT-115: keeps addresses across restarts, for its owner only", async () => {
    const folder = newFolder();
    const config = join(folder, "portal.yaml");
    const token = await makeToken();
    writeFileSync(config, FILE);
    const addresses: unknown[] = [];
    for (let start = 0; start < 2; start++) {
      const port = await freePort();
      const listen = `127.0.0.1:${port}`;
      const portal = await startPortal(
        // Nobody is let go one by one: that takes 10 s (PT-190).
        { dev: false, config, data: join(folder, "data"), listen, drain: 0 },
        { GATEWAY: token },
      );
      const url = `ws://${listen}`;
      // The second start sees another gateway first.
      if (start === 1) await connectPeer(url, { role: "gateway", token, id: "newcomer" });
      const gateway = await connectPeer(url, { role: "gateway", token });
      addresses.push((await gateway.next("init")).payload.interface);
      expect(await portal.stop()).toBe(0);
    }
    expect(addresses[1]).toEqual(addresses[0]);
    const journal = join(folder, "data/journal-0.jsonl");
    expect(statSync(journal).mode & 0o777).toBe(0o600);
    expect(readFileSync(journal, "utf8")).not.toContain(token);
  });

  it("PT-115: a new gateway sees its init when a disk that failed works again", async () => {
    const folder = newFolder();
    const config = join(folder, "portal.yaml");
    const token = await makeToken();
    writeFileSync(config, FILE);
    const listen = `127.0.0.1:${await freePort()}`;
    const data = join(folder, "data");
    running.push(await startPortal({ dev: false, config, data, listen, drain: 0 }, { GATEWAY: token }));
    const obstacle = join(data, "journal-0.jsonl");
    mkdirSync(obstacle);
    const gateway = await connectPeer(`ws://${listen}`, { role: "gateway", token });
    gateway.send("heartbeat", {}, "h", "phoenix");
    await gateway.next("phx_reply");
    expect(gateway.rest).toEqual([]);
    rmSync(obstacle, { recursive: true });
    expect((await gateway.next("init")).payload.interface.ipv4).toBe("100.64.0.1");
  });

  it("PT-115: 9 while another portal has the folder, 3 for a state that cannot be read", async () => {
    const folder = newFolder();
    const config = join(folder, "portal.yaml");
    writeFileSync(config, "version: 1\naccount: { slug: demo }\n");
    const options = { ...OPTIONS, dev: false, config, data: join(folder, "data") };
    const portal = await startPortal(options);
    await expect(runPortal(options, createIo())).rejects.toSatisfy((error) => exitCodeOf(error) === 9);
    expect(await portal.stop()).toBe(0);
    mkdirSync(join(folder, "data"), { recursive: true });
    writeFileSync(join(folder, "data/state.json"), "{");
    await expect(runPortal(options, createIo())).rejects.toSatisfy((error) => exitCodeOf(error) === 3);
    expect(readFileSync(join(folder, "data/state.json"), "utf8")).toBe("{");
  });
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const closed = once(server as EventEmitter, "close");
  server.close();
  await closed;
  return port;
}
