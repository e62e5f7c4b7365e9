/** A portal of its own process, and peers that speak its frames by hand. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { WebSocket } from "ws";
import { ROOT } from "../../scripts/steps.mjs";
import { endWithUs, removeWithUs } from "../lib/ending.mjs";

const MAIN = join(ROOT, "build", "program", "main.js");

/** JSON is YAML, too. */
const fileOf = (count) => {
  const names = Array.from({ length: count }, (_, n) => `Office ${n}`);
  const addressOf = (n) => `172.${20 + (n >> 8)}.${n & 255}.0/24`;
  return JSON.stringify({
    version: 1,
    resources: names.map((name, n) => ({ name, type: "cidr", address: addressOf(n), site: "default" })),
    policies: names.map((resource) => ({ group: "dev", resource })),
  });
};

/**
 * Starts a portal on the loopback interface; resolves when it is ready.
 * @param data folder of its state; absent: in memory
 * @param resources how many there are
 */
export async function startPortal(runtime, { data, resources = 1 } = {}) {
  const folder = removeWithUs(mkdtempSync(join(tmpdir(), "postern-bench-")));
  const config = join(folder, "portal.yaml");
  writeFileSync(config, fileOf(resources));
  const args = [MAIN, "portal", "--dev", "--listen", "127.0.0.1:0", "--config", config];
  if (data !== undefined) args.push("--data", data);
  const startedAt = performance.now();
  const child = endWithUs(spawn(runtime.path, args, { stdio: ["ignore", "pipe", "ignore"] }));
  const values = new Map();
  for await (const line of createInterface({ input: child.stdout })) {
    if (line === "ready") break;
    const [name = "", value = ""] = line.split("=");
    values.set(name, value);
  }
  const readyMs = performance.now() - startedAt;
  if (!values.has("POSTERN_API_URL")) throw new Error("the portal ended before it was ready");
  return {
    pid: child.pid,
    readyMs,
    url: values.get("POSTERN_API_URL"),
    client: values.get("CLIENT_TOKEN"),
    gateway: values.get("GATEWAY_TOKEN"),
    async stop() {
      child.kill("SIGTERM");
      if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
      rmSync(folder, { recursive: true });
    },
  };
}

export function loginPath(role, id) {
  const publicKey = Buffer.alloc(32, 7).toString("base64");
  return `/${role}/websocket?${new URLSearchParams({ external_id: id, name: id, public_key: publicKey })}`;
}

/** A peer that has joined. */
export async function connectPeer(portal, role, id = `${role}-1`) {
  const component = role === "client" ? "headless-client" : role;
  const socket = new WebSocket(`${portal.url}${loginPath(role, id)}`, {
    headers: {
      "X-Authorization": `Bearer ${portal[role]}`,
      "User-Agent": `Linux/6 ${component}/1.5.0 bench`,
    },
  });
  const frames = [];
  const waiting = [];
  socket.on("message", (data) => {
    const frame = JSON.parse(data.toString());
    const at = waiting.findIndex(({ event }) => event === frame.event);
    if (at < 0) frames.push(frame);
    else waiting.splice(at, 1)[0].resolve(frame.payload);
  });
  await once(socket, "open");
  const next = (event) => {
    const at = frames.findIndex((frame) => frame.event === event);
    if (at >= 0) return Promise.resolve(frames.splice(at, 1)[0].payload);
    return new Promise((resolve) => waiting.push({ event, resolve }));
  };
  let ref = 0;
  const send = (event, payload) => socket.send(JSON.stringify({ topic: role, event, payload, ref: ref++ }));
  send("phx_join", {});
  await next("phx_reply");
  return { send, next, init: await next("init"), close: () => socket.close() };
}

/**
 * Asks for flows one after the other, each to a resource that this client has not asked for (PT-86); how many
 * milliseconds each took.
 */
export async function flowTimes(client, gateway, count) {
  const times = [];
  for (const { id: rid } of client.init.resources.slice(0, count)) {
    const before = performance.now();
    client.send("create_flow", { resource_id: rid, connected_gateway_ids: [] });
    const { ref } = await gateway.next("authorize_flow");
    gateway.send("flow_authorized", { ref });
    await client.next("flow_created");
    times.push(performance.now() - before);
  }
  return times;
}
