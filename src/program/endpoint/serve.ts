/**
 * A running client or gateway: tunnel, plane, host and portal wired together, from the TUN device to the
 * last goodbye (PG-9, PG-15).
 *
 *     portal ──▶ messages ──▶ tunnel machine ◀── network monitor ◀── host
 *                               │        ▲
 *                  interface ◀──┘        └── shell ◀─▶ plane
 */
import type { NetworkEvent } from "../../../bindings/linux/index.ts";
import type { PlaneThreads } from "../../../bindings/thread/index.ts";
import { formatIp, type IpAddress, PosternError, type SocketAddress } from "../../base/index.ts";
import {
  type BestRoutes,
  createBestRoutes,
  FWMARK,
  flushPolicyRouting,
  otherTunnel,
  readKeptSysctls,
  reportKeptSysctls,
} from "../../host/index.ts";
import type { PortalUrl } from "../../portal/protocol/index.ts";
import type { TunnelInterface } from "../../tunnel/index.ts";
import type { Ending } from "../ending.ts";
import type { ProgramIo } from "../io.ts";
import type { PeerOptions } from "../options.ts";
import {
  createHostKeeper,
  createRebinding,
  type HostKeeper,
  openPlaneHost,
  type PlaneFeatures,
  type PlaneHost,
  readFeatures,
  type UndoStack,
  watchPlane,
} from "../shell/index.ts";
import type { TokenAccess } from "../stored-token.ts";
import { systemRandom } from "../system-random.ts";
import { createHostInterface, type HostInterface } from "./host-interface.ts";
import { type NetworkMonitor, watchNetwork } from "./network-monitor.ts";
import { createPeerWatch, type PeerWatch, type WatchedParts } from "./peer-watch.ts";
import { NO_STREAMS } from "./relay-streams.ts";
import { createResets, type Resets } from "./resets.ts";
import type { Login, PeerEmbedding, PeerMachine, PeerRole } from "./role.ts";
import { handleStandstill } from "./standstill.ts";
import { hostSurroundings } from "./surroundings.ts";
import { createTunnel, FLUSH_ON_STOP_MS, type Tunnel } from "./tunnel.ts";

/** MTU of the TUN device (PG, `TUN_MTU`). */
const TUN_MTU = 1280;

export interface Course<Machine extends PeerMachine> extends TokenAccess {
  readonly role: PeerRole<Machine>;
  readonly options: PeerOptions;
  readonly io: ProgramIo;
  readonly undo: UndoStack;
  readonly ending: Ending;
  readonly url: PortalUrl;
  readonly login: Login;
  readonly threads: PlaneThreads;
  /** Of `performance.now()`. */
  readonly startedAt: number;
  /** Where lock and control socket are (PG-10). */
  readonly runFolders: readonly string[];
  readonly embedding?: PeerEmbedding<Machine> | undefined;
}

/** The host with the plane on it, and what is kept as it was set. */
interface OpenHost {
  readonly host: PlaneHost;
  readonly keeper: HostKeeper;
  readonly hostInterface: HostInterface;
  readonly features: PlaneFeatures;
  readonly routes: BestRoutes;
  readonly watch: PeerWatch;
}

/** What runs once everything is open. */
interface Running<Machine extends PeerMachine> extends Tunnel<Machine> {
  readonly host: PlaneHost;
}

/** Runs until a signal, an error, or readiness with `--exit`; resolves to the exit code. */
export async function serve<Machine extends PeerMachine>(course: Course<Machine>): Promise<number> {
  const { undo, ending, io } = course;
  const watch = createPeerWatch(course);
  const open: OpenHost = { ...setUpHost(course), watch };
  const { host, keeper } = open;
  const running = assemble(course, open);
  await host.start();
  const { machine, shell, wiring } = running;
  const network = followNetwork(course, running, open);
  watchPlane(host.plane, {
    socketFailed: () => network.resets.request("a transport socket failed"),
    fail: ending.fail,
  });
  const parts: WatchedParts = {
    host,
    connections: running.connections,
    machine: viewOf(course, running),
    wiring,
    streams: () => running.streams?.figures() ?? NO_STREAMS,
    features: open.features,
    routes: open.routes,
    mtu: TUN_MTU,
    addresses: open.hostInterface.addresses,
    reset: network.resets.request,
    methods: course.role.methodsOf?.(machine, shell.input, host.now) ?? {},
  };
  await watch.open(parts);
  ending.listen({
    reset: () => network.resets.request("SIGHUP"),
    snapshot: () => watch.log(),
  });
  undo.add("network events", () => network.stop());
  shell.input((now) => machine.handleOwnAddresses(now, network.ownSockets()));
  const { input } = shell;
  course.embedding?.onOpen({ machine, input, reset: parts.reset, status: watch.status });
  wiring.connect();
  try {
    const code = await ending.wait();
    io.log.info?.("stopping");
    watch.stopping();
    shell.input((now) => machine.shutdown(now));
    await new Promise((resolve) => setTimeout(resolve, FLUSH_ON_STOP_MS));
    return code;
  } catch (error) {
    watch.failed(error);
    throw error;
  } finally {
    // What is undone from here on is not to be repaired.
    keeper.stop();
    await wiring.close();
  }
}

function setUpHost<Machine extends PeerMachine>(course: Course<Machine>): Omit<OpenHost, "watch"> {
  const { role, options, io, undo, threads } = course;
  const { log } = io;
  const kept = readKeptSysctls();
  undo.add("kernel parameters", () => reportKeptSysctls(kept, log));
  const features = readFeatures(io.env, log);
  const host = openPlaneHost({
    mode: role.name,
    mtu: TUN_MTU,
    tunName: options.tunName,
    port: options.listenPort === 0 ? { kind: "any" } : { kind: "preferred", port: options.listenPort },
    mark: FWMARK,
    device: options.egressInterface,
    cipher: options.cipher,
    sendBufferBytes: options.udpSendBuffer,
    receiveBufferBytes: options.udpRecvBuffer,
    raisesLimits: options.incBuf ?? role.name === "gateway",
    features,
    validatesChecksums: options.validateChecksums,
    flows: {
      random: systemRandom,
      ...(options.flowRecords === undefined ? {} : { capacity: options.flowRecords }),
    },
    pairs: options.threads,
    threads,
    log,
  });
  undo.add("TUN device and sockets", () => host.close());
  const other = otherTunnel(host.rtnetlink, host.tun.index);
  if (other !== undefined) {
    throw new PosternError(
      "host",
      `the device ${other} of another client or gateway is at work on this host`,
      "stop that one, or run this one in a network namespace of its own: ip netns exec … --instance NAME",
    );
  }
  // What a crash left behind goes first (D-22).
  flushPolicyRouting(host.rtnetlink, log);
  undo.add("routes and rules", () => flushPolicyRouting(host.rtnetlink, log));
  const keeper = createHostKeeper(host, log);
  const onHost = role.setUpHost(host, undo, log);
  for (const table of onHost.tables) keeper.keep(table);
  const hostInterface = createHostInterface({ host, mtu: TUN_MTU, role: onHost, keeper, undo, log });
  const routes = createBestRoutes({
    rtnetlink: host.rtnetlink,
    mark: FWMARK,
    device: options.egressInterface,
    log,
  });
  return { host, keeper, hostInterface, features, routes };
}

function assemble<Machine extends PeerMachine>(course: Course<Machine>, open: OpenHost): Running<Machine> {
  const { role, io, undo, ending, url, token, askToken, login } = course;
  const { log } = io;
  const surroundings = hostSurroundings({
    host: open.host,
    applyInterface: interfaceApplier(course, open),
    changePeers: (change) => open.hostInterface.changePeers(change),
    portal: url,
    env: io.env,
    caFile: course.options.caFile,
    device: course.options.egressInterface,
    log,
  });
  const { tell, onChange, onTurn } = open.watch;
  const tunnel = createTunnel({
    ...{ role, surroundings, url, token, askToken, login, log, features: open.features },
    ...{ fail: ending.fail, tell, onChange, onTurn },
  });
  undo.add("control loop", () => tunnel.shell.stop());
  undo.add("streams to relays", () => tunnel.streams?.close());
  return { host: open.host, ...tunnel };
}

/** The first interface that is applied is readiness (PG-82). */
function interfaceApplier<Machine extends PeerMachine>(
  { options, io, ending, startedAt }: Course<Machine>,
  { hostInterface, watch }: OpenHost,
): (wanted: TunnelInterface) => void {
  return (wanted) => {
    hostInterface.apply(wanted);
    watch.tell({
      event: "interface",
      data: { addresses: hostInterface.addresses().map(formatIp), routes: wanted.routes.length },
    });
    if (watch.isReady()) return;
    const readyMs = Math.round(performance.now() - startedAt);
    io.log.info?.("ready", { readyMs });
    watch.ready(readyMs);
    if (!options.exit) return;
    io.print(`ready in ${readyMs} ms`);
    ending.stop();
  };
}

interface NetworkFollower {
  readonly resets: Resets;
  /** Our own addresses, each with the port of our socket of its family (SN-137). */
  ownSockets(): readonly SocketAddress[];
  stop(): Promise<void>;
}

function followNetwork<Machine extends PeerMachine>(
  { role, io, ending, options }: Course<Machine>,
  { host, machine, shell, wiring }: Running<Machine>,
  { keeper, hostInterface, watch, routes }: OpenHost,
): NetworkFollower {
  const { log } = io;
  const resets = createResets(reset, ending.fail);
  const rebinding = createRebinding({
    rebind: (onBound) => host.rebind({}, onBound),
    retry: () => resets.request("no UDP sockets"),
    log,
  });
  const announce = (): void =>
    shell.input((now) => machine.handleOwnAddresses(now, withPorts(host, monitor.ownAddresses())));

  /**
   * Machine, sockets, own addresses, portal, in this order (PG-75). While the sockets are bound the portal
   * may still answer what was asked with the old key: the machine does not listen until it is greeted anew.
   */
  async function reset(reason: string): Promise<void> {
    log.info?.(`Resetting network state (${reason})`);
    watch.tell({ event: "reset", data: { reason } });
    routes.reset();
    shell.input((now) => machine.reset(now));
    await rebinding.run(() => {
      announce();
      wiring.reconnect();
    });
  }

  const listeners = {
    onEvents: (events: readonly NetworkEvent[]) => {
      keeper.look(events);
      hostInterface.catchUp();
    },
    onNetwork: hostInterface.refresh,
    onAddresses: announce,
    // The loop tells the machine what time it is before anything else.
    onClockStep: () => shell.input(() => {}),
    onStandstill: (stillMs: number) =>
      handleStandstill({ role, machine, shell, wiring, resets, log }, stillMs),
    onReset: resets.request,
  };
  const monitor: NetworkMonitor = watchNetwork(host, options.egressInterface, listeners, log);
  return {
    resets,
    ownSockets: () => withPorts(host, monitor.ownAddresses()),
    async stop() {
      monitor.close();
      rebinding.stop();
      await resets.stop();
    },
  };
}

function withPorts(host: PlaneHost, addresses: readonly IpAddress[]): readonly SocketAddress[] {
  const { v4, v6 } = host.sockets();
  return addresses.flatMap((address) => {
    const port = (address.length === 4 ? v4 : v6)?.port;
    return port === undefined ? [] : [{ address, port }];
  });
}

/** What those who watch may ask of the machine. */
function viewOf<Machine extends PeerMachine>(
  { role }: Course<Machine>,
  { machine, streams }: Running<Machine>,
): WatchedParts["machine"] {
  return {
    counters: () => ({ ...machine.counters(), turn_stream_late: streams?.figures().late ?? 0 }),
    flowCount: () => machine.flowCount(),
    dnsFigures: () => machine.dnsFigures(),
    resources: () => role.resourcesOf(machine),
    dns: () => role.dnsView?.(),
    purposeOf: (id, now) => role.purposeOf(machine, id, now),
  };
}
