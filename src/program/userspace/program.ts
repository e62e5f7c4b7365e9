/** The course of `postern client` and `gateway` with `--mode userspace`: as PG-9 without what needs a host. */
import { runFolders } from "../../host/index.ts";
import {
  type ControlMethods,
  createEventBus,
  type EventBus,
  openControlServer,
  type PeerStatus,
  runOnEvents,
} from "../control/index.ts";
import { createEnding, type Ending } from "../ending.ts";
import { peerMethods } from "../endpoint/control.ts";
import { identify, portalUrl } from "../endpoint/peer.ts";
import type { PeerMachine } from "../endpoint/role.ts";
import { whyViews } from "../endpoint/why.ts";
import type { ProgramIo } from "../io.ts";
import type { PeerOptions } from "../options.ts";
import { createUndoStack, type UndoStack } from "../shell/index.ts";
import type { UserspaceOptions, UserspacePeer } from "./peer.ts";
import type { UserspaceStatus } from "./status.ts";

/** What is open, whatever the role. */
export interface OpenedPeer {
  readonly peer: UserspacePeer<PeerMachine>;
  status(): UserspaceStatus;
  /** What only this role can be told. */
  readonly methods: ControlMethods;
  close(): Promise<void>;
}

export interface Program {
  readonly role: "client" | "gateway";
  readonly options: PeerOptions & { readonly healthAddr?: string | undefined };
  readonly io: ProgramIo;
  readonly open: (
    common: Pick<
      UserspaceOptions<PeerMachine>,
      "url" | "token" | "askToken" | "login" | "port" | "sockets" | "env" | "tell" | "log"
    > & {
      readonly cipher: string | undefined;
      readonly caFile: string | undefined;
    },
    undo: UndoStack,
  ) => Promise<OpenedPeer>;
}

/** Runs until it is told to stop; resolves to the exit code. @throws PosternError with PG-14's codes */
export async function runProgram(program: Program): Promise<number> {
  const { role, options, io, open } = program;
  const startedAt = performance.now();
  const undo = createUndoStack(io.log);
  const url = portalUrl(options.apiUrl);
  try {
    const { login, token, askToken } = identify(role, options, io);
    if (options.check) {
      io.print("check passed");
      return 0;
    }
    const ending = createEnding(io);
    undo.add("signals", () => ending.close());
    const events = createEventBus();
    runCommands(program, events, undo);
    sayWhatIsNotServed(program);
    const opened = await open(
      {
        ...{ url, token, askToken, login, port: options.listenPort },
        ...{ env: io.env, tell: events.emit, log: io.log },
        ...{ sockets: options.sockets, cipher: options.cipher, caFile: options.caFile },
      },
      undo,
    );
    undo.add("tunnel", () => opened.close());
    void opened.peer.failed.then(ending.fail);
    await listen(program, { opened, events, ending, undo, startedAt });
    void opened.peer.ready.then(
      () => becomeReady(program, ending, startedAt),
      () => {},
    );
    const code = await ending.wait();
    io.log.info?.("stopping");
    events.emit({ event: "stopping", data: {} });
    return code;
  } finally {
    await undo.run();
  }
}

function becomeReady({ options, io }: Program, ending: Ending, startedAt: number): void {
  if (!options.exit) return;
  io.print(`ready in ${Math.round(performance.now() - startedAt)} ms`);
  ending.stop();
}

function runCommands({ options, io }: Program, events: EventBus, undo: UndoStack): void {
  if (options.onEvent === undefined) return;
  const commands = runOnEvents({ command: options.onEvent, events, env: io.env, log: io.log });
  undo.add("commands for events", () => commands.close());
}

function sayWhatIsNotServed({ options, io }: Program): void {
  const { metricsAddr, otlpEndpoint, healthAddr, egressInterface } = options;
  const given = Object.entries({ metricsAddr, otlpEndpoint, healthAddr, egressInterface });
  const idle = given.flatMap(([name, value]) => (value === undefined ? [] : [name]));
  if (idle.length > 0) io.log.warn?.("options without effect in mode userspace", { options: idle });
}

interface Listening {
  readonly opened: OpenedPeer;
  readonly events: EventBus;
  readonly ending: Ending;
  readonly undo: UndoStack;
  readonly startedAt: number;
}

/** The control socket, where there is a folder for it (PG-107). */
async function listen({ role, options, io }: Program, parts: Listening): Promise<void> {
  const { opened, events, ending, undo, startedAt } = parts;
  const { peer } = opened;
  const instance = options.instance ?? role;
  const status = (): PeerStatus => toPeerStatus(opened.status(), { instance, startedAt });
  const control = await openControlServer({
    instance,
    folders: runFolders(io.env),
    methods: peerMethods({
      status,
      why: () =>
        whyViews({ explanations: peer.tunnel.connections.explanations(), role, now: peer.engine.now() }),
      metrics: () => "",
      logControl: io.logControl,
      stop: ending.stop,
      reset: peer.reset,
      ofRole: opened.methods,
    }),
    events,
    log: io.log,
  });
  undo.add("control socket", () => control?.close());
  ending.listen({
    reset: () => peer.reset("SIGHUP"),
    snapshot: () => io.log.info?.("status", { ...status().counters.control }),
  });
}

/** The same form as with a device, whose name says that there is none. */
function toPeerStatus(
  { addresses, mode, sockets, counters, ...rest }: UserspaceStatus,
  { instance, startedAt }: { readonly instance: string; readonly startedAt: number },
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
