/** What can be seen of a program without a device, and by whom (PG-85, PG-107 to PG-116, PG-129). */
import { runFolders } from "../../host/index.ts";
import { type ControlMethods, type EventBus, openControlServer, type PeerStatus } from "../control/index.ts";
import type { Ending } from "../ending.ts";
import { peerMethods } from "../endpoint/control.ts";
import { createPathMeter, type PathMeter, peerSamples } from "../endpoint/peer-samples.ts";
import type { Login, PeerMachine } from "../endpoint/role.ts";
import { whyViews } from "../endpoint/why.ts";
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
import { plainTcp } from "../portal-transport.ts";
import type { UndoStack } from "../shell/index.ts";
import { VERSION } from "../version.ts";
import type { UserspacePeer } from "./peer.ts";
import type { UserspaceStatus } from "./status.ts";

/** What is open, whatever the role. */
export interface OpenedPeer {
  readonly peer: UserspacePeer<PeerMachine>;
  status(): UserspaceStatus;
  /** What only this role can be told. */
  readonly methods: ControlMethods;
  close(): Promise<void>;
}

export interface WatchedProgram {
  readonly role: "client" | "gateway";
  readonly options: PeerOptions & { readonly healthAddr?: string | undefined };
  readonly io: ProgramIo;
}

export interface WatchParts {
  readonly program: WatchedProgram;
  readonly login: Login;
  readonly events: EventBus;
  readonly ending: Ending;
  readonly undo: UndoStack;
  /** Of `performance.now()`. */
  readonly startedAt: number;
}

export interface Watch {
  /** For the tunnel. */
  readonly onChange: PathMeter["note"];
  readonly onTurn: LoopMeter["turn"];
  /** From now on the program can be asked. @throws PosternError `usage`, `socket-listen` */
  open(opened: OpenedPeer): Promise<void>;
  stopping(): void;
}

interface WatchState {
  readonly parts: WatchParts;
  readonly loop: LoopMeter;
  readonly paths: PathMeter;
  isStopping: boolean;
}

export function createWatch(parts: WatchParts): Watch {
  const state: WatchState = { parts, loop: createLoopMeter(), paths: createPathMeter(), isStopping: false };
  return {
    onTurn: state.loop.turn,
    onChange: state.paths.note,
    open: (opened) => open(state, opened),
    stopping() {
      state.isStopping = true;
      parts.events.emit({ event: "stopping", data: {} });
    },
  };
}

async function open(state: WatchState, opened: OpenedPeer): Promise<void> {
  const { program, events, ending, undo } = state.parts;
  const { role, options, io } = program;
  const { peer } = opened;
  const instance = options.instance ?? role;
  const status = (): PeerStatus => toPeerStatus(opened.status(), instance, state.parts.startedAt);
  // The control socket, where there is a folder for it (PG-107).
  const control = await openControlServer({
    instance,
    folders: runFolders(io.env),
    methods: peerMethods({
      status,
      why: () =>
        whyViews({ explanations: peer.tunnel.connections.explanations(), role, now: peer.engine.now() }),
      metrics: () => formatMetrics(samples(state, opened)),
      logControl: io.logControl,
      stop: ending.stop,
      reset: peer.reset,
      ofRole: opened.methods,
    }),
    events,
    log: io.log,
  });
  undo.add("control socket", () => control?.close());
  const services = await openServices(options, {
    samples: () => samples(state, opened),
    // It lives as long as it answers (PG-85).
    unhealthy: () => undefined,
    unready: () => unready(state, opened),
    push: pushSettings(state.parts, opened),
    log: io.log,
  });
  undo.add("metrics and health", () => services.close());
  ending.listen({
    reset: () => peer.reset("SIGHUP"),
    snapshot: () => io.log.info?.("status", { ...status().counters.control }),
  });
}

function unready({ isStopping }: WatchState, { peer }: OpenedPeer): string | undefined {
  if (isStopping) return "stopping";
  return peer.isReady() ? undefined : "starting: the portal has not sent the first configuration yet";
}

/** As with a device (PG-116); there is no tunnel on this host that the reports could get into. */
function pushSettings({ program, login }: WatchParts, { peer }: OpenedPeer): PushSettings {
  const { role, options, io } = program;
  return {
    attributes: () => ({
      "service.name": `postern-${role}`,
      "service.version": VERSION,
      "service.instance.id": login.externalId,
      "os.type": "linux",
      "postern.account_slug": peer.tunnel.wiring.account(),
    }),
    openTcp: plainTcp,
    caFile: options.caFile,
    env: io.env,
  };
}

function samples({ parts, loop, paths }: WatchState, opened: OpenedPeer): readonly Sample[] {
  const { role, options, io } = parts.program;
  const { engine, tunnel, isReady } = opened.peer;
  const { machine, connections, wiring } = tunnel;
  return [
    ...processSamples({ role, isReady: isReady(), log: io.logControl.counters() }),
    ...peerSamples({
      host: { plane: { counters: engine.counters }, now: engine.now },
      ...{ connections, loop, paths },
      counters: { ...machine.counters(), ...engine.withStack((stack) => stack.counters()) },
      flows: machine.flowCount(),
      dns: machine.dnsFigures(),
      resources: opened.status().resources,
      portal: wiring.status(),
      isPerPeer: options.metricsPerPeer,
    }),
  ];
}

/** The same form as with a device, whose name says that there is none. */
function toPeerStatus(
  { addresses, mode, sockets, counters, ...rest }: UserspaceStatus,
  instance: string,
  startedAt: number,
): PeerStatus {
  const ipv4 = addresses.find((address) => !address.includes(":")) ?? null;
  const ipv6 = addresses.find((address) => address.includes(":")) ?? null;
  const portOf = (isV6: boolean): number | null => {
    const own = sockets.own.find((address) => address.startsWith("[") === isV6);
    return own === undefined ? null : Number(own.slice(own.lastIndexOf(":") + 1));
  };
  const single = ipv4 === null ? (ipv6 === null ? "none" : "v6-only") : "v4-only";
  return {
    ...rest,
    ...{ instance, counters, pid: process.pid },
    uptime_s: Math.round((performance.now() - startedAt) / 1000),
    tun: { name: mode, mtu: 1280, ipv4, ipv6, stack: ipv4 && ipv6 ? "dual" : single, offloads: "0x0" },
    sockets: { v4: portOf(false), v6: portOf(true), gso: false, gro: false, rcvbuf: 0, sndbuf: 0 },
    egress: { v4: null, v6: null },
    dns: { method: "none", sentinels: [], upstreams: [] },
    flags: {},
    rss_mib: Math.round(process.memoryUsage.rss() / (1 << 20)),
  };
}
