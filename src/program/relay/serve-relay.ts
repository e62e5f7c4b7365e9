/**
 * A running relay, from its sockets to its last allocation (RL §13).
 *
 *     sockets ─▶ health, metrics, control socket ─▶ no privileges any more ─▶ workers ─▶ portal ─▶ ready
 */
import { dropCapabilities, errnoName, type Kernel, openKernel } from "../../../bindings/linux/index.ts";
import { createPlaneMemory } from "../../../bindings/plane/index.ts";
import { compileRelay, openRelayPlane, type RelayDataPath } from "../../../bindings/relay/index.ts";
import { formatIp, PosternError, type Random, type Secret, unixMs } from "../../base/index.ts";
import { raiseBufferLimits, readClock, runFolders } from "../../host/index.ts";
import { deriveRelayId } from "../../portal/derive.ts";
import { createTurnServer, type TurnServer } from "../../relay/index.ts";
import {
  commonMethods,
  createEventBus,
  type EventBus,
  openControlServer,
  type RelayServerStatus,
} from "../control/index.ts";
import type { Ending } from "../ending.ts";
import type { ProgramIo } from "../io.ts";
import { formatMetrics, openServices, processSamples, type Sample } from "../metrics/index.ts";
import { openFilesLimit } from "../open-files.ts";
import type { RelayOptions } from "../options.ts";
import { plainTcp } from "../portal-transport.ts";
import { tellLost, type UndoStack, watchPlane } from "../shell/index.ts";
import { createSupervisor, livenessOf, type Supervisor } from "../supervisor.ts";
import { VERSION } from "../version.ts";
import { connectRelay, type RelayLink } from "./relay-link.ts";
import { type RelayLoop, startRelayLoop } from "./relay-loop.ts";
import { relaySamples } from "./relay-samples.ts";
import { fitLimit, loopbackAddress, type PortalAccess, type RelaySettings } from "./relay-settings.ts";
import { createStatistics, STATISTICS_EVERY_MS } from "./relay-statistics.ts";
import { logRelayStatus, readRelayStatus } from "./relay-status.ts";
import { openRelayStreams, type RelayStreams, streamsMax } from "./relay-streams.ts";

/** Limits of the kernel's buffers that the relay asks for where it may (RL-50). */
const BUFFER_LIMIT_BYTES = 8 << 20;

export interface RelayCourse {
  readonly options: RelayOptions;
  readonly settings: RelaySettings;
  /** `undefined`: stand-alone. */
  readonly portal: PortalAccess | undefined;
  readonly random: Random;
  readonly stampSecret: Secret<string>;
  readonly instance: string;
  readonly io: ProgramIo;
  readonly undo: UndoStack;
  readonly ending: Ending;
  /** Of `performance.now()`. */
  readonly startedAt: number;
  readonly embedding: RelayEmbedding | undefined;
}

/**
 * Where the relay is a part of another program (PG-120), whose privileges, host and control socket are left alone.
 */
export interface RelayEmbedding {
  readonly onReady: (facts: RelayFacts) => void;
}

export interface RelayFacts {
  readonly id: string;
  status(): RelayServerStatus;
}

/** What runs. */
interface Running {
  readonly course: RelayCourse;
  readonly kernel: Kernel;
  readonly plane: RelayDataPath;
  readonly server: TurnServer;
  readonly loop: RelayLoop;
  /** `undefined`: not yet. */
  streams: RelayStreams | undefined;
  readonly events: EventBus;
  readonly supervisor: Supervisor;
  /** `undefined`: stand-alone, or not yet. */
  link: RelayLink | undefined;
  isReady: boolean;
  isDraining: boolean;
  /** Called after each turn of the loop. */
  onTurn: () => void;
}

export async function serveRelay(course: RelayCourse): Promise<number> {
  const { io, ending } = course;
  const running = open(course);
  await openServicesOf(running);
  await openStreams(running);
  if (course.embedding === undefined) dropPrivileges(running);
  watchPlane(running.plane, {
    socketFailed: (worker) =>
      ending.fail(new PosternError("host", `a socket of the ${worker} worker failed`, "start again")),
    fail: ending.fail,
  });
  await running.plane.start();
  ending.listen({
    reset: () => running.streams?.reloadCertificate(),
    snapshot: () => logRelayStatus(io.log, statusOf(running)),
  });
  followStatistics(running);
  register(running);
  const code = await ending.wait();
  await drain(running);
  return code;
}

/** Ready: sockets are bound, and the portal has joined us or there is none (PG-82). */
function register(running: Running): void {
  const { portal, settings, stampSecret, options, io, ending } = running.course;
  if (portal === undefined) return becomeReady(running);
  const { publicIp4, publicIp6, listenPort } = settings;
  running.link = connectRelay({
    portal,
    params: {
      name: portal.name,
      ...(publicIp4 && { ipv4: publicIp4 }),
      ...(publicIp6 && { ipv6: publicIp6 }),
      port: listenPort,
      stampSecret: stampSecret.reveal(),
      streams: running.streams?.join ?? {},
    },
    maxPartitionMs: options.maxPartitionTime,
    caFile: options.caFile,
    now: () => readClock(running.kernel),
    tell: (event) => running.events.emit(event),
    onRegistered: () => becomeReady(running),
    fail: ending.fail,
    log: io.log,
  });
}

function open(course: RelayCourse): Running {
  const { settings, random, stampSecret, io, undo, ending } = course;
  const { log } = io;
  if (course.embedding === undefined && process.geteuid?.() === 0)
    raiseBufferLimits({ sendBytes: BUFFER_LIMIT_BYTES, receiveBytes: BUFFER_LIMIT_BYTES }, log);
  const { memory, scratch } = createPlaneMemory();
  const kernel = openKernel({ memory, area: scratch });
  const limits = { ...settings.limits, allocationsMax: allocationsMax(course) };
  const plane = openRelayPlane({
    memory,
    module: compileRelay(),
    kernel,
    listenPort: settings.listenPort,
    bind: settings.bind,
    bindingsMax: limits.bindingsMax,
    random,
    log: log.scope("relay"),
  });
  undo.add("sockets and workers", () => plane.close());
  const now = () => readClock(kernel);
  const wallNow = () => unixMs(Date.now());
  const server = createTurnServer({
    ...settings,
    limits,
    now: now(),
    unixMs: wallNow(),
    random,
    stampSecret: stampSecret.reveal(),
    log,
  });
  const loop = startRelayLoop({
    server,
    plane,
    now,
    wallNow,
    onLost: tellLost(log),
    onTurn: () => running.onTurn(),
    onDefect: ending.fail,
  });
  undo.add("control loop", () => loop.stop());
  const running: Running = {
    course,
    kernel,
    plane,
    server,
    loop,
    streams: undefined,
    events: createEventBus(),
    supervisor: createSupervisor(io.supervisor, log),
    link: undefined,
    isReady: false,
    isDraining: false,
    onTurn: () => {},
  };
  return running;
}

/** RL-65, RL-203: the runtime has raised the limit to the hard one. */
function allocationsMax({ settings, io }: RelayCourse): number {
  const wanted = settings.limits.allocationsMax;
  const openFiles = openFilesLimit();
  const hasStreams = Object.keys(settings.streams).length > 0;
  const families = settings.publicIp4 === undefined || settings.publicIp6 === undefined ? 1 : 2;
  const fitting = fitLimit(wanted, openFiles - (hasStreams ? 2 * streamsMax(openFiles) : 0), families);
  if (fitting < wanted) {
    io.log.warn?.("fewer allocations than asked for fit under the limit of open files", {
      wanted,
      fitting,
      openFiles,
    });
  }
  return fitting;
}

async function openServicesOf(running: Running): Promise<void> {
  const { instance, io, ending, undo, options } = running.course;
  const { log, logControl, env } = io;
  const status = () => statusOf(running);
  const samples = (): readonly Sample[] => {
    const now = status();
    return [
      ...processSamples({ role: "relay", isReady: now.ready, log: logControl.counters() }),
      ...relaySamples(now),
    ];
  };
  const services = await openServices(options, {
    samples,
    unhealthy: () => running.link?.unhealthy(),
    unready: () => (running.isDraining ? "draining" : running.isReady ? undefined : "starting"),
    push: {
      attributes: () => ({
        "service.name": "postern-relay",
        "service.version": VERSION,
        "service.instance.id": deriveRelayId(running.course.stampSecret.reveal()),
        "os.type": "linux",
      }),
      openTcp: plainTcp,
      caFile: options.caFile,
      env,
    },
    log,
  });
  undo.add("metrics and health", () => services.close());
  if (running.course.embedding !== undefined) return;
  const control = await openControlServer({
    instance,
    folders: runFolders(env),
    methods: commonMethods({
      status,
      metrics: () => formatMetrics(samples()),
      logControl,
      stop: ending.stop,
    }),
    events: running.events,
    log,
  });
  if (control !== undefined) undo.add("control socket", () => control.close());
}

async function openStreams(running: Running): Promise<void> {
  const { course, kernel, server, loop } = running;
  const { settings, io, undo } = course;
  const streams = await openRelayStreams({
    kernel,
    settings: settings.streams,
    relay: loopbackAddress(settings),
    maxConnections: streamsMax(openFilesLimit()),
    now: () => readClock(kernel),
    onGone: (client) => loop.input((now) => server.handleStreamEnd(now, client)),
    log: io.log.scope("relay"),
  });
  running.streams = streams;
  undo.add("streams", () => streams.close());
}

/** From here on nobody who broke in could do more than relay (RL-62). The workers start without any. */
function dropPrivileges({ kernel, course }: Running): void {
  const errno = dropCapabilities(kernel);
  if (errno !== 0) course.io.log.warn?.("capabilities are kept", { errno: errnoName(errno) });
}

function followStatistics({ server, plane, course }: Running): void {
  const read = () => {
    const { allocations, boundChannels } = server.stats();
    const { toPeer, toClient } = plane.usage();
    return { allocations, channels: boundChannels, bytes: toPeer.bytes + toClient.bytes };
  };
  const statistics = createStatistics(read, course.io.log.scope("relay"), performance.now());
  const timer = setInterval(() => statistics.tell(performance.now()), STATISTICS_EVERY_MS);
  course.undo.add("statistics", () => clearInterval(timer));
}

/** Once: after a reconnect the portal greets us again. The id is what the portal calls us (RL-70). */
function becomeReady(running: Running): void {
  const { io, startedAt, options, ending, stampSecret } = running.course;
  if (running.isReady) return;
  running.isReady = true;
  const ms = Math.round(performance.now() - startedAt);
  const id = deriveRelayId(stampSecret.reveal());
  io.log.info?.("ready", { readyMs: ms, relay: id });
  running.course.embedding?.onReady({ id, status: () => statusOf(running) });
  running.events.emit({ event: "ready", data: { ms } });
  running.supervisor.ready({
    statusLine() {
      const { allocations, boundChannels } = running.server.stats();
      return `allocations: ${allocations}, channels: ${boundChannels}`;
    },
    isAlive: livenessOf(() => {
      const { client, peer } = running.plane.counters();
      return [client, peer];
    }),
  });
  if (!options.exit) return;
  io.print(`ready in ${ms} ms`);
  ending.stop();
}

/** What is there goes on until it is gone, or for `--drain` (RL-73, PG-17). */
async function drain(running: Running): Promise<void> {
  const { course, server, loop, events } = running;
  const { io, options } = course;
  running.isDraining = true;
  running.supervisor.stopping();
  events.emit({ event: "stopping", data: {} });
  loop.input((now) => server.startDrain(now));
  // Clients and gateways learn from the portal that they should move.
  await running.link?.close();
  const isEmpty = () => server.stats().allocations + server.stats().pending === 0;
  io.log.info?.("draining", { allocations: server.stats().allocations, atMostMs: options.drain });
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, options.drain);
    running.onTurn = () => {
      if (!isEmpty()) return;
      clearTimeout(timer);
      resolve();
    };
    running.onTurn();
  });
  io.log.info?.("stopped", { allocations: server.stats().allocations });
}

function statusOf(running: Running): RelayServerStatus {
  const { course, server, plane, isReady, isDraining } = running;
  const { publicIp4, publicIp6, listenPort } = course.settings;
  return readRelayStatus({
    server,
    plane,
    instance: course.instance,
    listenPort,
    addresses: [publicIp4, publicIp6].filter((address) => address !== undefined).map(formatIp),
    startedAt: course.startedAt,
    isReady: isReady && !isDraining,
    isDraining,
    portal: running.link?.status(),
    streams: running.streams?.counts(),
  });
}
