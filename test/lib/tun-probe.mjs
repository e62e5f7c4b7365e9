/**
 * Client or gateway with a TUN device in a program (PG-120), in whatever runtime runs this;
 * `test/system/embedded-tun.test.ts` has what is around them. It ends by itself when the instance is closed.
 *
 *   API_URL=… TOKEN=… RUNTIME tun-probe.mjs gateway          prints `ready`; SIGTERM closes it, then one line of JSON
 *   API_URL=… TOKEN=… RUNTIME tun-probe.mjs client ADDRESS NAME    one line of JSON
 *   RUNTIME tun-probe.mjs refused                            the code of both without privilege
 */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { promisify } from "node:util";
import { connectClient, PosternError, startGateway } from "postern";

const { API_URL: apiUrl, TOKEN: token } = process.env;
const [, , role, address, name] = process.argv;
const common = { apiUrl, token, mode: "tun" };

const codeOf = (promise) =>
  promise.then(
    () => "none",
    (error) =>
      error instanceof PosternError ? [error.code, error.detail].filter(Boolean).join(" ") : String(error),
  );

/** Never by a call that waits: the instance works in this thread. */
const run = promisify(execFile);

function curl(...args) {
  const words = ["--silent", "--show-error", "--max-time", "20", ...args];
  return run("curl", words).then(
    ({ stdout }) => stdout,
    ({ code, stderr }) => `curl: ${code} ${stderr}`,
  );
}

const isGone = async (device) => !(await run("ip", ["-o", "link"])).stdout.includes(device);

/** Names of events, in the order in which they came first. */
function eventsOf(instance) {
  const seen = new Set();
  for (const event of ["interface", "resources", "connection", "stopping", "portal"])
    instance.on(event, () => seen.add(event));
  return seen;
}

const listenersOf = () => new Map(process.eventNames().map((event) => [event, process.listenerCount(event)]));
const before = listenersOf();
/** Of events of the process; Deno listens to its own listening. */
const newListeners = () =>
  [...listenersOf()]
    .filter(([event, count]) => !/Listener$/.test(event) && count > (before.get(event) ?? 0))
    .map(([event]) => event);

async function gateway() {
  const lines = [];
  const instance = await startGateway({
    ...common,
    ...{ token: async () => token, id: "embedded-gateway", flowLogs: true },
    log: ({ target, event, fields }) => target.startsWith("flow_logs") && lines.push([event, fields]),
  });
  console.log("ready");
  process.once("SIGTERM", async () => {
    const { mode, ready, tun } = instance.status();
    await instance.close();
    const reason = await instance.closed;
    console.log(
      JSON.stringify({
        ...{ mode, ready, device: tun.name, flows: lines.length > 0 },
        ...{ state: instance.state, reason: reason.kind, isGone: await isGone(tun.name) },
      }),
    );
  });
}

/** An A query for `name`, as the office's own name server is asked. */
function query(text) {
  const labels = text.split(".").flatMap((label) => [label.length, ...Buffer.from(label)]);
  return Uint8Array.from([0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...labels, 0, 0, 1, 0, 1]);
}

async function datagram(instance) {
  const socket = await instance.udp();
  socket.send(query("any.example"), { host: address, port: 53 });
  const { data, from } = await socket.receive({ signal: AbortSignal.timeout(20_000) });
  socket.close();
  return [data[0], data[1], from.address === address, socket.local.address.startsWith("100.")];
}

async function toOtherFamily(instance) {
  const socket = await instance.udp({ family: 6 });
  const sending = (async () => socket.send(Uint8Array.of(1), { host: address, port: 53 }))();
  socket.close();
  return await codeOf(sending);
}

async function page(instance) {
  const socket = await instance.dial({ host: name, port: 80 });
  const writer = socket.writable.getWriter();
  await writer.write(new TextEncoder().encode(`GET /2000 HTTP/1.0\r\nHost: ${name}\r\n\r\n`));
  await writer.close();
  const text = await new Response(socket.readable).text();
  await socket.closed;
  return [text.slice(0, 15), text.split("\r\n\r\n")[1].length];
}

async function client() {
  const resolvBefore = readFileSync("/etc/resolv.conf", "utf8");
  const ending = new AbortController();
  const instance = await connectClient({
    ...common,
    ...{ id: "embedded-client", dnsControl: "etc-resolv-conf", signal: ending.signal },
  });
  const events = eventsOf(instance);
  const { mode, tun, dns, sockets } = instance.status();
  const found = {
    status: { mode, device: tun.name, method: dns.method, hasPort: sockets.v4 > 0 },
    resources: instance.resources().map((one) => one.name),
    byAddress: (await curl("--head", `http://${address}/`)).split("\r\n")[0],
    byName: await curl(
      "--output",
      "/dev/null",
      "--write-out",
      "%{http_code} %{size_download}",
      `http://${name}/`,
    ),
    lookup: (await instance.lookup(name, { family: 4 })).every((one) => one.startsWith("100.96.")),
    dial: await page(instance),
    fetch: (await (await instance.fetch(`http://${name}/3000`)).text()).length,
    datagram: await datagram(instance),
    otherFamily: await toOtherFamily(instance),
    ping: (await instance.ping(address)) > 0,
    refused: await codeOf(instance.dial({ host: address, port: 9 })),
    outside: await codeOf(instance.dial({ host: "203.0.113.10", port: 8080 })),
    second: await codeOf(connectClient({ ...common, id: "second" })),
    connections: instance.connections().map(({ state }) => state),
  };
  const held = await instance.dial({ host: address, port: 80 });
  const reading = codeOf(held.readable.getReader().read());
  if (process.env.END === "signal") ending.abort();
  else await instance.close();
  const reason = await instance.closed;
  const after = {
    held: await reading,
    late: await codeOf(instance.dial({ host: address, port: 80 })),
    ...{ state: instance.state, reason: reason.kind, isGone: await isGone(tun.name) },
    resolv: readFileSync("/etc/resolv.conf", "utf8") === resolvBefore,
    events: [...events].sort(),
    listeners: newListeners(),
    exitCode: process.exitCode ?? 0,
  };
  console.log(JSON.stringify({ ...found, after }));
}

async function refused() {
  const nobody = { ...common, apiUrl: "ws://127.0.0.1:1", token: "x", id: "x" };
  console.log(
    JSON.stringify({
      client: await codeOf(connectClient(nobody)),
      gateway: await codeOf(startGateway(nobody)),
      hint: await connectClient(nobody).catch(({ message, hint }) => `${message}; ${hint}`),
    }),
  );
}

await { gateway, client, refused }[role]();
