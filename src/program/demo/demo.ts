/**
 * `postern demo` (PG-86 to PG-88): the whole product on one machine, told in plain words, measured,
 * and removed again. Every step has a bound, so that it is an acceptance test as well.
 */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { programWords } from "../../../bindings/runtime/index.ts";
import { PosternError } from "../../base/index.ts";
import { describeError, EXIT } from "../exit.ts";
import type { ProgramIo } from "../io.ts";
import {
  type Certificate,
  type Child,
  createLab,
  enter,
  isInside,
  type Lab,
  MAIN,
  makeCertificate,
  type Namespace,
} from "../lab/index.ts";
import type { DemoOptions } from "../options.ts";
import * as byName from "./by-name.ts";
import { playKeys, playSteps, type Scene, type StepResult } from "./changes.ts";
import * as measure from "./measure.ts";
import { readScript, type Step } from "./script.ts";
import {
  buildMachines,
  type Machines,
  type Obstacle,
  PORTAL_ADDRESS,
  PORTAL_PORT,
  RELAY_ADDRESS,
  RESOURCE_ADDRESS,
  RESOURCE_NETWORK,
} from "./topology.ts";

const RELAY_NAME = "relay.demo";
const START_WITHIN_MS = 20_000;
const CONNECT_WITHIN_MS = 15_000;

/** The last line of stdout with `--json`. What was not reached is absent. */
interface DemoResult {
  v: 1;
  ok: boolean;
  path?: measure.Path;
  pingMs?: number;
  http?: measure.HttpResult;
  /** The first question for a name that only the tunnel knows. */
  dns?: byName.Timed;
  /** A port that is filtered: how soon it is refused. */
  prohibited?: byName.Timed;
  tcp?: measure.Throughput;
  /** Access taken back: how soon it has ended. */
  revoked?: byName.Timed;
  setUpMs?: number;
  /** What `--script` or keys made happen, in order. */
  script?: StepResult[];
  error?: string;
}

interface Stage {
  readonly io: ProgramIo;
  readonly options: DemoOptions;
  /** Says one sentence to the person watching. */
  readonly say: (text: string) => void;
  readonly result: DemoResult;
  readonly programs: Child[];
  /** Absent: keys say what happens, where there are any. */
  readonly steps: readonly Step[] | undefined;
}

export async function runDemo(options: DemoOptions, io: ProgramIo): Promise<number> {
  const steps = options.script === undefined ? undefined : readScript(options.script);
  if (!isInside(io)) return await enter(io, "demo");
  const say = options.json ? io.printError : io.print;
  const stage: Stage = { io, options, say, result: { v: 1, ok: false }, programs: [], steps };
  const lab = createLab();
  let stopped: "SIGINT" | "SIGTERM" | undefined;
  const interrupted = new Promise<never>((_, reject) => {
    io.onSignal((signal) => {
      if (signal !== "SIGINT" && signal !== "SIGTERM") return;
      stopped = signal;
      reject(new PosternError("stopped", "stopped by a signal"));
    });
  });
  let failure: unknown;
  try {
    await Promise.race([play(stage, lab), interrupted]);
    stage.result.ok = true;
  } catch (error) {
    failure = error;
    stage.result.error = describeError(error);
  } finally {
    await cleanUp(stage, lab);
  }
  if (failure !== undefined) report(stage, failure, stopped !== undefined);
  if (options.json) io.print(JSON.stringify(stage.result));
  if (stopped !== undefined) return stopped === "SIGINT" ? 130 : 143;
  return failure === undefined ? EXIT.ok : EXIT.failure;
}

async function play(stage: Stage, lab: Lab): Promise<void> {
  const { say } = stage;
  const expected = expectedPath(stage.options);
  say(
    "Building eight machines out of network namespaces: a portal and a relay on the Internet, a client at home and a",
  );
  say("gateway in an office, each behind a router that lets nobody in, and a web server behind the gateway.");
  const certificate = expected === "relayed-tls" ? makeCertificate(RELAY_NAME) : undefined;
  const machines = await buildMachines(lab, OBSTACLES[expected].obstacle);
  const [sha256, tokens] = await Promise.all([
    measure.startWebServer(machines.resource),
    startPortal(stage, machines.portal),
  ]);
  say(`The web server is at ${RESOURCE_ADDRESS}. The client has no route to it, and it has none back.`);
  if (expected !== "direct") say(OBSTACLES[expected].text);
  say("");
  const relayAgain = () => startRelay(stage, machines.relay, tokens.relay, certificate);
  await Promise.all([
    relayAgain(),
    startPeer(stage, machines.gateway, "gateway", { token: tokens.gateway, args: [] }),
  ]);
  say("Gateway and relay have joined the portal. The gateway listens to nobody on the Internet.");
  const started = performance.now();
  const args = ["--dns-control", "disabled", ...trust(machines.client, certificate)];
  await startPeer(stage, machines.client, "client", { token: tokens.client, args });
  say(`The client has joined, too, and was told that ${RESOURCE_NETWORK} is reachable through that gateway.`);
  say("");
  await connectAndPing(stage, machines.client, started);
  await fetchAndCompare(stage, machines.client, sha256);
  await checkPath(stage, machines.client, expected);
  await useName(stage, machines.client, sha256);
  await measureSpeed(stage, machines);
  await takeBack(stage, machines);
  await change(stage, lab, machines, { expected, startRelay: relayAgain });
}

const OBSTACLES: Readonly<Record<measure.Path, { readonly obstacle: Obstacle; readonly text: string }>> = {
  direct: { obstacle: "none", text: "" },
  relayed: { obstacle: "direct-udp", text: "No UDP passes between home and office: only the relay is left." },
  "relayed-tls": {
    obstacle: "udp",
    text: "The client's network lets out no UDP at all: only the relay by TLS is left.",
  },
};

function expectedPath({ tls, relayed }: DemoOptions): measure.Path {
  if (tls) return "relayed-tls";
  return relayed ? "relayed" : "direct";
}

interface Tokens {
  readonly client: string;
  readonly gateway: string;
  readonly relay: string;
}

async function startPortal(stage: Stage, portal: Namespace): Promise<Tokens> {
  byName.writePortalFile(portal, { hasWeb: true });
  const listen = `${PORTAL_ADDRESS}:${PORTAL_PORT}`;
  const args = ["portal", "--dev", "--dev-insecure", "--listen", listen, "--config", "/run/demo.yaml"];
  const child = startProgram(stage, portal, "portal", args, undefined);
  await child.waitForLine(/^ready$/, { withinMs: START_WITHIN_MS, stream: "stdout" });
  stage.say("The portal is up. Its policies: group dev may reach the resource Office, which is");
  stage.say(`${RESOURCE_NETWORK} behind the gateways of the site 'default', and Web, whose names end in`);
  stage.say("corp.example, at port 80 alone.");
  return {
    client: await tokenOf(child, "CLIENT"),
    gateway: await tokenOf(child, "GATEWAY"),
    relay: await tokenOf(child, "RELAY"),
  };
}

async function tokenOf(portal: Child, label: string): Promise<string> {
  const match = await portal.waitForLine(new RegExp(`^${label}_TOKEN=(.+)$`), {
    withinMs: 1000,
    stream: "stdout",
  });
  return match[1] ?? "";
}

const API_URL = `ws://${PORTAL_ADDRESS}:${PORTAL_PORT}`;

async function startPeer(
  stage: Stage,
  machine: Namespace,
  role: "client" | "gateway",
  { token, args }: { readonly token: string; readonly args: readonly string[] },
): Promise<void> {
  if (role === "client") byName.prepareResolver(machine);
  else byName.prepareHosts(machine);
  const words = [role, "--api-url", API_URL, "--id", `demo-${role}`, ...args];
  const child = startProgram(stage, machine, role, words, token);
  await child.waitForLine(/\bready\b/i, { withinMs: START_WITHIN_MS });
}

async function startRelay(
  stage: Stage,
  machine: Namespace,
  token: string,
  certificate: Certificate | undefined,
): Promise<void> {
  const args = ["relay", "--api-url", API_URL, "--public-ip4", RELAY_ADDRESS];
  if (certificate !== undefined) {
    writeFileSync(join(machine.runFolder, "relay.crt"), certificate.cert);
    writeFileSync(join(machine.runFolder, "relay.key"), certificate.key, { mode: 0o600 });
    const files = ["--tls-cert", "/run/relay.crt", "--tls-key", "/run/relay.key"];
    args.push("--tls-listen", `${RELAY_ADDRESS}:443`, ...files);
  }
  const child = startProgram(stage, machine, "relay", args, token);
  await child.waitForLine(/\bready\b/i, { withinMs: START_WITHIN_MS });
}

/** What lets the client take the demo's certificate for a good one. */
function trust(client: Namespace, certificate: Certificate | undefined): readonly string[] {
  if (certificate === undefined) return [];
  writeFileSync(join(client.runFolder, "relay.crt"), certificate.cert);
  return ["--ca-file", "/run/relay.crt"];
}

/** Starts one of our own commands on a machine. */
function startProgram(
  stage: Stage,
  machine: Namespace,
  name: string,
  args: readonly string[],
  token: string | undefined,
): Child {
  const env = { ...stage.io.env, ...(token === undefined ? {} : { POSTERN_TOKEN: token }) };
  const program = [...programWords(MAIN), ...args];
  // The gateway is asked for a name that no name server of this host knows.
  const [command = "", ...rest] = name === "gateway" ? byName.withFile("hosts", program) : program;
  const child = machine.start({ name, command, args: rest, env });
  stage.programs.push(child);
  return child;
}

async function connectAndPing(stage: Stage, client: Namespace, started: number): Promise<void> {
  const deadline = performance.now() + CONNECT_WITHIN_MS;
  stage.say("The first packet towards the resource makes the client ask the portal for access; portal and");
  stage.say("gateway grant it, both ends find a path by ICE and shake hands by WireGuard.");
  while (!(await measure.pingOnce(client))) {
    const ended = stage.programs.find((program) => !program.isRunning());
    if (ended !== undefined) throw new PosternError("demo-ended", `the ${ended.name} ended`);
    if (performance.now() < deadline) continue;
    throw new PosternError(
      "demo-connect",
      `no answer from ${RESOURCE_ADDRESS} within ${CONNECT_WITHIN_MS} ms`,
    );
  }
  stage.result.setUpMs = Math.round(performance.now() - started);
  stage.say(`The first answer came ${stage.result.setUpMs} ms after the client was started.`);
  stage.result.pingMs = await measure.ping(client);
  stage.say(`A round trip through the tunnel takes ${stage.result.pingMs} ms.`);
}

async function fetchAndCompare(stage: Stage, client: Namespace, sha256: string): Promise<void> {
  const http = await measure.fetchPage(client, sha256);
  stage.result.http = http;
  if (!http.ok) throw new PosternError("demo-http", "the page that came is not the page that was served");
  stage.say(`Fetched a page of ${http.bytes} bytes; its SHA-256 is the one that the web server computed.`);
}

/** A path may begin by the relay and become direct while it is used (SN-47). */
async function checkPath(stage: Stage, client: Namespace, expected: measure.Path): Promise<void> {
  const { io, say, result } = stage;
  const deadline = performance.now() + CONNECT_WITHIN_MS;
  let path: measure.Path | undefined;
  do path = await measure.pathOf(client, MAIN, io.env);
  while (path !== expected && performance.now() < deadline);
  if (path !== undefined) result.path = path;
  if (path !== expected) {
    throw new PosternError("demo-path", `data goes ${path ?? "nowhere"}, not ${expected}`);
  }
  say(PATH_TEXTS[expected]);
}

const PATH_TEXTS: Readonly<Record<measure.Path, string>> = {
  direct:
    "Data goes straight from router to router: ICE has opened a way through both, and the relay carries nothing.",
  relayed: "Data goes through the relay, which cannot read it: it is sealed from end to end.",
  "relayed-tls":
    "Data goes through the relay, to which the client speaks TLS on port 443; it stays sealed from end to end.",
};
async function useName(stage: Stage, client: Namespace, sha256: string): Promise<void> {
  const { result, say } = stage;
  result.dns = await byName.lookUp(client);
  if (!result.dns.ok) throw new PosternError("demo-dns", `${byName.WEB_NAME} has no address of the tunnel`);
  say(
    `Asked the client's own resolver for ${byName.WEB_NAME}: answered in ${result.dns.ms} ms, with an address`,
  );
  say("that exists nowhere; the gateway turns it into the real one.");
  if (!(await byName.fetchByName(client, sha256))) {
    throw new PosternError("demo-name", "the page that came by name is not the page that was served");
  }
  say("Fetched the same page by its name.");
  result.prohibited = await byName.tryFilteredPort(client);
  if (!result.prohibited.ok) throw new PosternError("demo-filter", "a filtered port was not refused");
  say(`Port 81 of that name is filtered: refused after ${result.prohibited.ms} ms, not left to time out.`);
}

async function takeBack(stage: Stage, { portal, client }: Machines): Promise<void> {
  const { result, say } = stage;
  result.revoked = await byName.revoke(portal, client);
  if (!result.revoked.ok) throw new PosternError("demo-revoke", "access did not end");
  say(`Took the policy for Web out of the portal's file: access had ended ${result.revoked.ms} ms later.`);
}

/** What happens afterwards to a network that serves, by `--script` or by key. */
async function change(
  stage: Stage,
  lab: Lab,
  machines: Machines,
  { expected, startRelay }: { readonly expected: measure.Path; readonly startRelay: () => Promise<void> },
): Promise<void> {
  const { options, programs, say, steps } = stage;
  const scene: Scene = {
    ...{ lab, machines, say, startRelay, obstacle: OBSTACLES[expected].obstacle },
    killRelay: async () => void (await lastOf(programs, "relay")?.stop({ signal: "SIGKILL" })),
    checkPath: () => checkPath(stage, machines.client, expected),
  };
  stage.result.script = [];
  if (steps !== undefined) await playSteps(scene, steps, stage.result.script);
  else if (!options.json && process.stdin.isTTY) await playKeys(scene, process.stdin, stage.result.script);
}

function lastOf(programs: readonly Child[], role: string): Child | undefined {
  return programs.findLast(({ name }) => name.startsWith(role));
}

async function measureSpeed(stage: Stage, machines: Machines): Promise<void> {
  const withIperf = measure.hasIperf();
  const { seconds } = stage.options;
  const how = withIperf ? "iperf3" : "our own generator, because iperf3 is not installed";
  stage.say(`Measuring one TCP stream each way, ${seconds} s, with ${how} …`);
  const tcp = await measure.measureThroughput(machines, { seconds, withIperf });
  stage.result.tcp = tcp;
  stage.say(`Client to server: ${tcp.upGbps} Gbit/s. Server to client: ${tcp.downGbps} Gbit/s.`);
  if (tcp.upGbps <= 0 || tcp.downGbps <= 0) throw new PosternError("demo-tcp", "a direction carried nothing");
}

async function cleanUp({ say }: Stage, lab: Lab): Promise<void> {
  await lab.close();
  say("");
  say("All programs were stopped and the machines removed; nothing is left behind.");
}

function report({ io, programs, result }: Stage, failure: unknown, wasStopped: boolean): void {
  if (wasStopped) {
    io.printError("postern: the demo was stopped before its end");
    return;
  }
  io.printError(`postern: the demo failed: ${result.error}`);
  if (!(failure instanceof PosternError) && failure instanceof Error) io.printError(failure.stack ?? "");
  for (const program of programs) {
    const said = program.stderr().trim().split("\n").slice(-15).join("\n");
    if (said !== "") io.printError(`--- last lines of the ${program.name} ---\n${said}`);
  }
}
