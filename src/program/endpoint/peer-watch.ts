/**
 * What can be seen of a running client or gateway, and by whom: control socket, metrics, health, events for
 * the operator's command, and the snapshot in the log (PG-85, PG-107 to PG-114).
 */
import type { Instant, IpAddress } from "../../base/index.ts";
import { PosternError } from "../../base/index.ts";
import type { ConnectionChange, Connections } from "../../connections/index.ts";
import type { DnsFigures } from "../../dns/index.ts";
import { type BestRoutes, createNameResolver, FWMARK } from "../../host/index.ts";
import {
  type ControlEvent,
  type ControlMethods,
  type ControlServer,
  type Counts,
  createEventBus,
  type EventBus,
  openControlServer,
  type PeerStatus,
  type ProgramStatus,
  type ResourceView,
  runOnEvents,
} from "../control/index.ts";
import type { Ending } from "../ending.ts";
import { describeError } from "../exit.ts";
import type { ProgramIo } from "../io.ts";
import {
  createLoopMeter,
  formatMetrics,
  type LoopMeter,
  openServices,
  type PushSettings,
  processSamples,
  type Sample,
} from "../metrics/index.ts";
import type { PeerOptions } from "../options.ts";
import { markedTcp } from "../portal-transport.ts";
import type { PlaneFeatures, PlaneHost, UndoStack } from "../shell/index.ts";
import { createSupervisor, livenessOf, type Supervisor } from "../supervisor.ts";
import { VERSION } from "../version.ts";
import { peerMethods } from "./control.ts";
import { createPathMeter, type PathMeter, peerSamples } from "./peer-samples.ts";
import type { Login, PeerWiring } from "./role.ts";
import { logStatus, readStatus, type StatusParts } from "./status.ts";
import { whyViews } from "./why.ts";

/** What is known before anything is open. */
export interface WatchSetting {
  readonly role: { readonly name: "client" | "gateway" };
  readonly options: PeerOptions & { readonly healthAddr?: string | undefined };
  readonly io: ProgramIo;
  readonly undo: UndoStack;
  readonly ending: Ending;
  readonly login: Login;
  readonly startedAt: number;
  readonly runFolders: readonly string[];
  /** Present: it is that program's to be asked, and hears what happens. */
  readonly embedding?: { readonly tell: (event: ControlEvent) => void } | undefined;
}

/** What is watched, once it is open. */
export interface WatchedParts {
  readonly host: PlaneHost;
  readonly connections: Connections;
  readonly machine: {
    counters(): Counts;
    flowCount(): number;
    dnsFigures(): DnsFigures;
    resources(): readonly ResourceView[];
    dns(): StatusParts["dns"];
    purposeOf(id: string, now: Instant): ReturnType<StatusParts["purposeOf"]>;
  };
  readonly wiring: Pick<PeerWiring, "status" | "account">;
  readonly streams: StatusParts["streams"];
  readonly features: PlaneFeatures;
  readonly routes: BestRoutes;
  readonly mtu: number;
  readonly addresses: () => readonly IpAddress[];
  readonly reset: (reason: string) => void;
  readonly methods: ControlMethods;
}

export interface PeerWatch {
  /** For the tunnel. */
  readonly tell: (event: ControlEvent) => void;
  readonly onChange: (change: ConnectionChange) => void;
  readonly onTurn: LoopMeter["turn"];
  isReady(): boolean;
  ready(ms: number): void;
  /** From now on the program can be asked. @throws PosternError `usage`, `socket-listen` */
  open(parts: WatchedParts): Promise<void>;
  /** Once it is open. */
  status(): PeerStatus;
  /** Writes the snapshot to the log (PG-16). */
  log(): void;
  stopping(): void;
  failed(error: unknown): void;
}

interface WatchState {
  readonly setting: WatchSetting;
  readonly events: EventBus;
  readonly loop: LoopMeter;
  readonly paths: PathMeter;
  parts: WatchedParts | undefined;
  control: ControlServer | undefined;
  /** The service manager, if there is one (PG-81). */
  readonly supervisor: Supervisor;
  isReady: boolean;
  isStopping: boolean;
}

export function createPeerWatch(setting: WatchSetting): PeerWatch {
  const state: WatchState = {
    setting,
    events: createEventBus(),
    loop: createLoopMeter(),
    paths: createPathMeter(),
    parts: undefined,
    control: undefined,
    supervisor: createSupervisor(setting.io.supervisor, setting.io.log),
    isReady: false,
    isStopping: false,
  };
  const { emit } = state.events;
  // The last that goes: until then it tells why it does not answer (PG-15).
  setting.undo.add("control socket", () => state.control?.close());
  if (setting.embedding !== undefined) state.events.listen(setting.embedding.tell);
  runCommands(state);
  return {
    tell: emit,
    onChange(change) {
      state.paths.note(change);
      const { id: peer, tookMs: _, ...rest } = change;
      emit({ event: "connection", data: { peer, ...rest } });
    },
    onTurn: state.loop.turn,
    isReady: () => state.isReady,
    ready(ms) {
      state.isReady = true;
      emit({ event: "ready", data: { ms } });
      superviseWorkers(state);
    },
    open: (parts) => open(state, parts),
    status() {
      if (state.parts === undefined) throw new Error("it is asked when it is open");
      return snapshot(state, state.parts);
    },
    log: () => state.parts && logStatus(setting.io.log, snapshot(state, state.parts)),
    stopping() {
      state.isStopping = true;
      state.control?.refuse("the program is stopping");
      state.supervisor.stopping();
      emit({ event: "stopping", data: {} });
    },
    failed(error) {
      const code = error instanceof PosternError ? error.code : "internal";
      emit({ event: "error", data: { code, message: describeError(error) } });
    },
  };
}

function superviseWorkers({ supervisor, parts }: WatchState): void {
  if (parts === undefined) return;
  const { host, wiring, connections } = parts;
  supervisor.ready({
    statusLine() {
      const all = connections.stats().connections;
      const direct = all.filter(({ path }) => path?.kind === "peer-to-peer").length;
      return `portal ${wiring.status().state}; connections: ${all.length}, of which direct: ${direct}`;
    },
    isAlive: livenessOf(() => host.plane.counters().workers),
  });
}

/** The operator's command hears everything from here on, the end included (PG-113). */
function runCommands({ setting, events }: WatchState): void {
  const { options, undo, io } = setting;
  if (options.onEvent === undefined) return;
  const commands = runOnEvents({ command: options.onEvent, events, env: io.env, log: io.log });
  undo.add("commands for events", () => commands.close());
}

async function open(state: WatchState, parts: WatchedParts): Promise<void> {
  const { setting } = state;
  const { io, undo, options } = setting;
  state.parts = parts;
  if (setting.embedding === undefined) state.control = await openControl(state, parts);
  const services = await openServices(options, {
    samples: () => samples(state, parts),
    // It lives as long as it answers (PG-85).
    unhealthy: () => undefined,
    unready: () => unready(state),
    push: pushSettings(setting, parts),
    log: io.log,
  });
  undo.add("metrics and health", () => services.close());
}

function openControl(state: WatchState, parts: WatchedParts): Promise<ControlServer | undefined> {
  const { setting, events } = state;
  const { io, ending, runFolders } = setting;
  return openControlServer({
    instance: instanceOf(setting),
    folders: runFolders,
    methods: peerMethods({
      status: () => snapshot(state, parts),
      why: () =>
        whyViews({
          explanations: parts.connections.explanations(),
          role: setting.role.name,
          now: parts.host.now(),
        }),
      metrics: () => formatMetrics(samples(state, parts)),
      logControl: io.logControl,
      stop: ending.stop,
      reset: parts.reset,
      ofRole: parts.methods,
    }),
    events,
    log: io.log,
  });
}

/** Reports leave past the tunnel, in the name that the portal knows (PG-26, PG-116, PT-63). */
function pushSettings(
  { role, options, io, login }: WatchSetting,
  { host, wiring }: WatchedParts,
): PushSettings {
  const { kernel } = host;
  const { egressInterface: device } = options;
  return {
    attributes: () => ({
      "service.name": `postern-${role.name}`,
      "service.version": VERSION,
      "service.instance.id": login.externalId,
      "os.type": "linux",
      "postern.account_slug": wiring.account(),
    }),
    openTcp: markedTcp(kernel, FWMARK, device),
    resolve: createNameResolver({ kernel, mark: FWMARK, device, log: io.log }),
    caFile: options.caFile,
    env: io.env,
  };
}

function unready({ isReady, isStopping }: WatchState): string | undefined {
  if (isStopping) return "stopping";
  return isReady ? undefined : "starting: the portal has not sent the first configuration yet";
}

function instanceOf({ role, options }: WatchSetting): string {
  return options.instance ?? role.name;
}

function programStatus({ setting, isReady }: WatchState): Omit<ProgramStatus, "role"> {
  return {
    version: VERSION,
    instance: instanceOf(setting),
    pid: process.pid,
    uptime_s: Math.round((performance.now() - setting.startedAt) / 1000),
    ready: isReady,
  };
}

/** Everything there is to see, as one value (PG-109). */
function snapshot(state: WatchState, parts: WatchedParts): PeerStatus {
  const { setting } = state;
  const { host, machine, wiring, features, routes, connections, mtu, addresses } = parts;
  return readStatus({
    program: { ...programStatus(state), role: setting.role.name },
    login: setting.login,
    account: wiring.account(),
    portal: wiring.status(),
    ...{ host, mtu, features, routes, connections },
    addresses: addresses(),
    streams: parts.streams,
    counters: machine.counters(),
    resources: machine.resources(),
    dns: machine.dns(),
    purposeOf: machine.purposeOf,
  });
}

function samples(state: WatchState, parts: WatchedParts): readonly Sample[] {
  const { setting, loop, paths, isReady } = state;
  const { host, connections, machine, wiring } = parts;
  return [
    ...processSamples({ role: setting.role.name, isReady, log: setting.io.logControl.counters() }),
    ...peerSamples({
      ...{ host, connections, loop, paths },
      counters: machine.counters(),
      flows: machine.flowCount(),
      dns: machine.dnsFigures(),
      resources: machine.resources(),
      portal: wiring.status(),
      isPerPeer: setting.options.metricsPerPeer,
    }),
  ];
}
