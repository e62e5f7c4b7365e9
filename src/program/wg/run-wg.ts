/**
 * `postern wg NAME|CONFIG` (PG-143): one plain WireGuard interface in the foreground.
 *
 *     file ─▶ status socket free? ─▶ TUN, sockets ─▶ PreUp ─▶ addresses, routes ─▶ workers
 *          ─▶ keys and peers ─▶ status socket ─▶ PostUp ─▶ ready ─▶ … ─▶ all of it back, in reverse
 */
import { hostname } from "node:os";
import { openKernel, openRtnetlink } from "../../../bindings/linux/index.ts";
import type { PlaneThreads } from "../../../bindings/thread/index.ts";
import { type Log, type SocketAddress, unixMs } from "../../base/index.ts";
import {
  createNameResolver,
  readHostState,
  requirePrivilege,
  type WantedHost,
  wgMtu,
  withoutMissing,
} from "../../host/index.ts";
import { createWgInterface, toSet, type WgConfig, type WgInterface } from "../../wg/index.ts";
import { createNodeCrypto, NODE_RANDOM } from "../crypto-node.ts";
import { createEnding, type Ending } from "../ending.ts";
import type { ProgramIo } from "../io.ts";
import { openServices, planeSamples, processSamples } from "../metrics/index.ts";
import type { WgOptions } from "../options.ts";
import { markedTcp, plainTcp } from "../portal-transport.ts";
import {
  createRebinding,
  createShell,
  createUndoStack,
  openPlaneHost,
  type PlaneHost,
  readFeatures,
  type Shell,
  tellLost,
  type UndoStack,
  watchHost,
  watchPlane,
} from "../shell/index.ts";
import { createSupervisor, livenessOf } from "../supervisor.ts";
import { VERSION } from "../version.ts";
import { detach, isDetached } from "./detach.ts";
import { runHooks } from "./hooks.ts";
import { bareNetwork, setUpNetwork } from "./network.ts";
import { bareConfig, type LocatedConfig, readConfig } from "./read-config.ts";
import { lookUpEach, lookUpFirst, lookUpPast, type NamedEndpoint, startResolver } from "./resolver.ts";
import { openUapiServer, requireUnused } from "./uapi-socket.ts";
import { createWgControl, type WgControl } from "./wg-control.ts";

/** Rows of the plane's peer table (WG-57). Those that nobody has used cost no memory. */
const PEERS_MAX = 65_536;

/** How long names of endpoints are waited for to choose the MTU; without them the default routes decide. */
const MTU_NAMES_MS = 2_000;

/** As wireguard-go has it; wg-quick sets its own. */
const BARE_MTU = 1420;

/** What the program is given. */
interface Start {
  readonly options: WgOptions;
  readonly io: ProgramIo;
  readonly threads: PlaneThreads;
}

/** Runs until it is told to stop; resolves to the exit code. @throws PosternError with PG-14's codes */
export async function runWg(options: WgOptions, io: ProgramIo, threads: PlaneThreads): Promise<number> {
  const { log } = io;
  if (options.detach && !isDetached(io)) return await detach(io);
  const file = options.bare
    ? bareConfig(options.config)
    : readConfig(options.config, { allowHooks: options.allowHooks, log });
  requirePrivilege("wg");
  await requireUnused(file.name);
  warnAboutDns(file.config, log);

  // From here on a stop signal is an orderly end, also in the middle of the start.
  const ending = createEnding(io);
  const undo = createUndoStack(log);
  undo.add("signals", () => ending.close());
  try {
    await bringUp({ options, io, threads }, file, ending, undo);
    return await ending.wait();
  } finally {
    await undo.run();
  }
}

async function bringUp(start: Start, file: LocatedConfig, ending: Ending, undo: UndoStack): Promise<void> {
  const { io, options } = start;
  const { log } = io;
  const { name, config } = file;
  const mtu = options.bare ? BARE_MTU : (config.mtu ?? (await inspectHost(config, log)));
  const host = openHost(start, file, mtu);
  undo.add("PostDown", () => runHooks(config.hooks, "PostDown", name, log));
  undo.add("TUN device and sockets", () => host.close());
  await runHooks(config.hooks, "PreUp", name, log);
  const { mark, wanted } = options.bare
    ? bareNetwork(host, mtu, log)
    : setUpNetwork(host, file, mtu, undo, log);

  const machine = openMachine(host, log);
  const shell = startShell(host, machine, ending, log);
  undo.add("keys and control loop", () => {
    shell.input(() => machine.erase());
    shell.stop();
  });
  const control = createWgControl({ name, host, shell, machine, mark, onLost: () => rebind(), log });
  const rebind = bindingAgain(control, ending, undo, log);
  watchPlane(host.plane, {
    socketFailed(worker) {
      log.warn?.("socket failed: binding again", { worker });
      rebind();
    },
    fail: (error) => ending.fail(error),
  });
  // Peers and routes first: a packet that came between would lead nowhere, and a caller would hear it late.
  await control.setPeers(toSet(config));
  await host.start();

  await serve(io, name, { control, rebind }, ending, undo);
  undo.add("PreDown", () => runHooks(config.hooks, "PreDown", name, log));
  await runHooks(config.hooks, "PostUp", name, log);
  if (wanted !== undefined) keepHost(host, wanted, undo, log);
  const setEndpoint: SetEndpoint = (publicKey, to) =>
    shell.input((now) => machine.setEndpoint(now, publicKey, to));
  const resolver = startResolver(namedEndpoints(config, setEndpoint), lookUpPast(host, mark, log), log);
  undo.add("resolver", () => resolver.stop());
  await serveMetrics(start, host, mark, undo);
  io.print("ready");
  const supervisor = createSupervisor(io.supervisor, log);
  supervisor.ready({
    statusLine: () => `peers: ${config.peers.length}`,
    isAlive: livenessOf(() => host.plane.counters().workers),
  });
  undo.add("service manager", () => supervisor.stopping());
}

async function serveMetrics(
  { options, io }: Start,
  host: PlaneHost,
  mark: number,
  undo: UndoStack,
): Promise<void> {
  const log = io.logControl.counters;
  const { kernel, tun } = host;
  const services = await openServices(
    { metricsAddr: options.metricsAddr, otlpEndpoint: options.otlpEndpoint },
    {
      samples: () => [
        ...processSamples({ role: "wg", isReady: true, log: log() }),
        ...planeSamples(host.plane.counters()),
      ],
      unhealthy: () => undefined,
      unready: () => undefined,
      push: {
        attributes: () => ({
          "service.name": "postern-wg",
          "service.version": VERSION,
          "service.instance.id": `${hostname()}/${tun.name}`,
          "os.type": "linux",
        }),
        ...(mark === 0
          ? { openTcp: plainTcp }
          : { openTcp: markedTcp(kernel, mark), resolve: createNameResolver({ kernel, mark, log: io.log }) }),
        caFile: undefined,
        env: io.env,
      },
      log: io.log,
    },
  );
  undo.add("metrics", () => services.close());
}

function openHost({ options, io, threads }: Start, { name, config }: LocatedConfig, mtu: number): PlaneHost {
  const { log, env } = io;
  return openPlaneHost({
    mode: "plain",
    mtu,
    tunName: name,
    port: config.listenPort === 0 ? { kind: "any" } : { kind: "fixed", port: config.listenPort },
    maxPeers: PEERS_MAX,
    cipher: options.cipher,
    sendBufferBytes: options.udpSendBuffer,
    receiveBufferBytes: options.udpRecvBuffer,
    features: readFeatures(env, log),
    validatesChecksums: options.validateChecksums,
    pairs: options.threads,
    threads,
    log,
  });
}

/** What PostUp has changed is as it should be. */
function keepHost(host: PlaneHost, wanted: WantedHost, undo: UndoStack, log: Log): void {
  const present = readHostState(host.rtnetlink, wanted);
  const watch = watchHost(host, withoutMissing(wanted, present), log);
  undo.add("watch of the host", () => watch.stop());
}

/** The MTU that the ways to the endpoints leave (WG-63). Names are asked for now: they have no way yet. */
async function inspectHost(config: WgConfig, log: Log): Promise<number> {
  const kernel = openKernel();
  const rtnetlink = openRtnetlink(kernel);
  try {
    const endpoints = config.peers.flatMap(({ endpoint }) => endpoint ?? []);
    const known = endpoints.flatMap((one) => (one.kind === "address" ? [one.address] : []));
    const names = endpoints.flatMap((one) => (one.kind === "name" ? [one.host] : []));
    const named = await lookUpEach(names, lookUpFirst(kernel, config.fwMark, log), MTU_NAMES_MS);
    const mtu = wgMtu(rtnetlink, [...known, ...named.map((address) => ({ address }))]);
    log.debug?.("MTU chosen", { mtu, names: names.length, found: named.length });
    return mtu;
  } finally {
    rtnetlink.close();
  }
}

function openMachine(host: PlaneHost, log: Log): WgInterface {
  return createWgInterface({
    now: host.now(),
    unixMs: unixMs(Date.now()),
    random: NODE_RANDOM,
    records: host.plane.records,
    crypto: createNodeCrypto(),
    log,
    peersMax: PEERS_MAX,
  });
}

function startShell(host: PlaneHost, machine: WgInterface, ending: Ending, log: Log): Shell {
  return createShell({
    machine,
    plane: host.plane,
    now: () => host.now(),
    tellWallClock: (now) => machine.handleWallClock(now, unixMs(Date.now())),
    send: (transmit) => host.send(transmit),
    onLost: tellLost(log),
    writeTun: (packet) => host.writeTun(packet),
    drainEvents: () => machine.drainEvents(),
    onDefect: (error) => ending.fail(error),
  });
}

async function serve(
  io: ProgramIo,
  name: string,
  { control, rebind }: { readonly control: WgControl; readonly rebind: () => void },
  ending: Ending,
  undo: UndoStack,
): Promise<void> {
  const { log } = io;
  const server = await openUapiServer({
    name,
    answer: (request) => control.answer(request),
    vanished: () => {
      log.warn?.("status socket deleted: stopping", { interface: name });
      ending.stop();
    },
    log,
  });
  undo.add("status socket", () => server.close());
  ending.listen({
    reset: rebind,
    snapshot: () => void control.snapshot().then(io.print, (error: unknown) => ending.fail(error)),
  });
}

/** Binds the sockets again, until there are some (PG-41). */
function bindingAgain(control: WgControl, ending: Ending, undo: UndoStack, log: Log): () => void {
  const rebinding = createRebinding({
    async rebind(onBound) {
      await control.rebind();
      onBound();
    },
    retry: () => rebind(),
    log,
  });
  const rebind = (): void => void rebinding.run(() => {}).catch((error: unknown) => ending.fail(error));
  undo.add("binding again", () => rebinding.stop());
  return rebind;
}

type SetEndpoint = (publicKey: Uint8Array, address: SocketAddress) => void;

function namedEndpoints(config: WgConfig, set: SetEndpoint): readonly NamedEndpoint[] {
  return config.peers.flatMap(({ publicKey, endpoint }) => {
    if (endpoint?.kind !== "name") return [];
    const { host, port } = endpoint;
    return [{ host, port, resolved: (address) => set(publicKey, address) }];
  });
}

function warnAboutDns(config: WgConfig, log: Log): void {
  if (config.dns.length === 0) return;
  log.warn?.("DNS of the configuration file is not set", { hint: "set the resolver by other means" });
}
