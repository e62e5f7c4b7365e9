/**
 * A running client or gateway: tunnel, plane, host and portal wired together, from the TUN device to the
 * last goodbye (PG-9, PG-15).
 *
 *     portal ──▶ messages ──▶ tunnel machine ◀── network monitor ◀── host
 *                               │        ▲
 *                  interface ◀──┘        └── shell ◀─▶ plane
 */
import type { PlaneThreads } from "../../../bindings/thread/index.ts";
import { formatIp, type IpAddress, PosternError, type Secret, type SocketAddress } from "../../base/index.ts";
import {
  FWMARK,
  flushPolicyRouting,
  otherTunnel,
  readKeptSysctls,
  reportKeptSysctls,
} from "../../host/index.ts";
import type { PortalUrl } from "../../portal/protocol/index.ts";
import type { TunnelInterface } from "../../tunnel/index.ts";
import {
  type ControlServer,
  createEventBus,
  type EventBus,
  openControlServer,
  type PeerStatus,
  runOnEvents,
} from "../control/index.ts";
import type { Ending } from "../ending.ts";
import { describeError } from "../exit.ts";
import type { ProgramIo } from "../io.ts";
import type { PeerOptions } from "../options.ts";
import {
  openPlaneHost,
  type PlaneFeatures,
  type PlaneHost,
  readFeatures,
  type UndoStack,
  watchPlane,
} from "../shell/index.ts";
import { VERSION } from "../version.ts";
import { peerMethods } from "./control.ts";
import { createHostInterface, type HostInterface } from "./host-interface.ts";
import { createHostKeeper, type HostKeeper } from "./host-keeper.ts";
import { type NetworkMonitor, watchNetwork } from "./network-monitor.ts";
import { createResets, type Resets } from "./resets.ts";
import type { Login, PeerMachine, PeerRole } from "./role.ts";
import { logStatus, readStatus } from "./status.ts";
import { hostSurroundings } from "./surroundings.ts";
import { createTunnel, type Tunnel } from "./tunnel.ts";

/** MTU of the TUN device (PG, `TUN_MTU`). */
const TUN_MTU = 1280;
/** How long goodbyes may take to leave (TN-37): the machine keeps a closed peer in the plane for 100 ms. */
const FLUSH_ON_STOP_MS = 150;

export interface Course<Machine extends PeerMachine> {
  readonly role: PeerRole<Machine>;
  readonly options: PeerOptions;
  readonly io: ProgramIo;
  readonly undo: UndoStack;
  readonly ending: Ending;
  readonly url: PortalUrl;
  readonly token: Secret<string>;
  readonly login: Login;
  readonly threads: PlaneThreads;
  /** Of `performance.now()`. */
  readonly startedAt: number;
  /** Where lock and control socket are (PG-10). */
  readonly runFolders: readonly string[];
}

/** The host with the plane on it, and what is kept as it was set. */
interface OpenHost {
  readonly host: PlaneHost;
  readonly keeper: HostKeeper;
  readonly hostInterface: HostInterface;
  readonly features: PlaneFeatures;
  readonly life: Life;
}

/** What the program tells of itself. */
interface Life {
  readonly events: EventBus;
  isReady: boolean;
}

/** What runs once everything is open. */
interface Running<Machine extends PeerMachine> extends Tunnel<Machine> {
  readonly host: PlaneHost;
}

/** Runs until a signal, an error, or readiness with `--exit`; resolves to the exit code. */
export async function serve<Machine extends PeerMachine>(course: Course<Machine>): Promise<number> {
  const { undo, ending, io } = course;
  let control: ControlServer | undefined;
  // The last that goes: until then it can be asked what holds up the end (PG-15).
  undo.add("control socket", () => control?.close());
  const life: Life = { events: createEventBus(), isReady: false };
  runCommands(course, life);
  const open: OpenHost = { ...setUpHost(course), life };
  const { host, keeper } = open;
  const running = assemble(course, open);
  await host.start();
  const { machine, shell, wiring } = running;
  const network = followNetwork(course, running, open);
  watchPlane(host.plane, {
    socketFailed: () => network.resets.request("a transport socket failed"),
    fail: ending.fail,
  });
  const status = (): PeerStatus => snapshot(course, running, open);
  ending.listen({
    reset: () => network.resets.request("SIGHUP"),
    snapshot: () => logStatus(io.log, status()),
  });
  control = await openControlServer({
    instance: instanceOf(course),
    folders: course.runFolders,
    methods: peerMethods({
      status,
      logFilter: io.logFilter,
      stop: ending.stop,
      reset: network.resets.request,
    }),
    events: life.events,
    log: io.log,
  });
  undo.add("network events", () => network.stop());
  shell.input((now) => machine.handleOwnAddresses(now, network.ownSockets()));
  wiring.connect();
  try {
    const code = await ending.wait();
    io.log.info?.("stopping");
    control?.refuse("the program is stopping");
    life.events.emit({ event: "stopping", data: {} });
    shell.input((now) => machine.shutdown(now));
    await new Promise((resolve) => setTimeout(resolve, FLUSH_ON_STOP_MS));
    return code;
  } catch (error) {
    const code = error instanceof PosternError ? error.code : "internal";
    life.events.emit({ event: "error", data: { code, message: describeError(error) } });
    throw error;
  } finally {
    // What is undone from here on is not to be repaired.
    keeper.stop();
    await wiring.close();
  }
}

/** The operator's command hears everything from here on, the end included (PG-113). */
function runCommands<Machine extends PeerMachine>(
  { options, undo, io }: Course<Machine>,
  { events }: Life,
): void {
  if (options.onEvent === undefined) return;
  const commands = runOnEvents({ command: options.onEvent, events, env: io.env, log: io.log });
  undo.add("commands for events", () => commands.close());
}

function setUpHost<Machine extends PeerMachine>(course: Course<Machine>): Omit<OpenHost, "life"> {
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
    cipher: options.cipher,
    sendBufferBytes: options.udpSendBuffer,
    receiveBufferBytes: options.udpRecvBuffer,
    raisesLimits: options.incBuf ?? role.name === "gateway",
    features,
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
  return { host, keeper, hostInterface, features };
}

function assemble<Machine extends PeerMachine>(course: Course<Machine>, open: OpenHost): Running<Machine> {
  const { role, io, undo, ending, url, token, login } = course;
  const { log } = io;
  const surroundings = hostSurroundings({
    host: open.host,
    applyInterface: interfaceApplier(course, open),
    portal: url,
    env: io.env,
    caFile: course.options.caFile,
    log,
  });
  const tell = open.life.events.emit;
  const tunnel = createTunnel({ role, surroundings, url, token, login, fail: ending.fail, tell, log });
  undo.add("control loop", () => tunnel.shell.stop());
  return { host: open.host, ...tunnel };
}

/** The first interface that is applied is readiness (PG-82). */
function interfaceApplier<Machine extends PeerMachine>(
  { options, io, ending, startedAt }: Course<Machine>,
  { hostInterface, life }: OpenHost,
): (wanted: TunnelInterface) => void {
  return (wanted) => {
    hostInterface.apply(wanted);
    life.events.emit({
      event: "interface",
      data: { addresses: hostInterface.addresses().map(formatIp), routes: wanted.routes.length },
    });
    if (life.isReady) return;
    life.isReady = true;
    const readyMs = Math.round(performance.now() - startedAt);
    io.log.info?.("ready", { readyMs });
    life.events.emit({ event: "ready", data: { ms: readyMs } });
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
  { io, ending }: Course<Machine>,
  { host, machine, shell, wiring }: Running<Machine>,
  { keeper, hostInterface, life }: OpenHost,
): NetworkFollower {
  const { log } = io;
  const resets = createResets(reset, ending.fail);
  const announce = (): void =>
    shell.input((now) => machine.handleOwnAddresses(now, withPorts(host, monitor.ownAddresses())));

  /**
   * Machine, sockets, own addresses, portal, in this order (PG-75). While the sockets are bound the portal
   * may still answer what was asked with the old key: the machine does not listen until it is greeted anew.
   */
  async function reset(reason: string): Promise<void> {
    log.info?.(`Resetting network state (${reason})`);
    life.events.emit({ event: "reset", data: { reason } });
    shell.input((now) => machine.reset(now));
    await host.rebind({}, () => {
      announce();
      wiring.reconnect();
    });
  }

  const listeners = {
    onEvents: keeper.look,
    onNetwork: hostInterface.refresh,
    onAddresses: announce,
    // The loop tells the machine what time it is before anything else.
    onClockStep: () => shell.input(() => {}),
    onReset: resets.request,
  };
  const monitor: NetworkMonitor = watchNetwork(host, listeners, log);
  return {
    resets,
    ownSockets: () => withPorts(host, monitor.ownAddresses()),
    async stop() {
      monitor.close();
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

function instanceOf<Machine extends PeerMachine>({ role, options }: Course<Machine>): string {
  return options.instance ?? role.name;
}

/** Everything there is to see, as one value (PG-109). */
function snapshot<Machine extends PeerMachine>(
  course: Course<Machine>,
  { host, connections, machine, wiring }: Running<Machine>,
  { hostInterface, features, life }: OpenHost,
): PeerStatus {
  const { role, login, startedAt } = course;
  return readStatus({
    program: {
      version: VERSION,
      role: role.name,
      instance: instanceOf(course),
      pid: process.pid,
      uptime_s: Math.round((performance.now() - startedAt) / 1000),
      ready: life.isReady,
    },
    login,
    account: wiring.account(),
    portal: wiring.status(),
    host,
    mtu: TUN_MTU,
    addresses: hostInterface.addresses(),
    features,
    connections,
    counters: machine.counters(),
    resources: role.resourcesOf(machine),
    purposeOf: (id, now) => role.purposeOf(machine, id, now),
  });
}
