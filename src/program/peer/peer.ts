/**
 * What client and gateway have in common: the order of starting and stopping (PG-9, PG-15), and the
 * wiring of tunnel, plane, host and portal.
 */
import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { openKernel } from "../../../bindings/linux/index.ts";
import {
  type Instant,
  type IpAddress,
  type Log,
  PosternError,
  type Secret,
  unixMs,
} from "../../base/index.ts";
import {
  FWMARK,
  flushPolicyRouting,
  requirePrivilege,
  resolveIdentifier,
  resolveToken,
  runFolders,
  takeLock,
} from "../../host/index.ts";
import { createNode, type Node } from "../../node/index.ts";
import type { PortalUrl } from "../../portal/protocol/index.ts";
import { externalIdOf, parsePortalUrl } from "../../portal/protocol/index.ts";
import type { TunnelInterface } from "../../tunnel/index.ts";
import { createNodeCrypto } from "../crypto-node.ts";
import type { ProgramIo } from "../io.ts";
import type { PeerOptions } from "../options.ts";
import {
  createShell,
  openPlaneHost,
  type PlaneHost,
  readFeatures,
  type ShellMachine,
} from "../shell/index.ts";
import { createHostInterface } from "./host-interface.ts";
import { watchNetwork } from "./network-monitor.ts";
import { logStatus } from "./status.ts";
import { createUndoStack, type UndoStack } from "./undo.ts";

/** MTU of the TUN device (PG, `TUN_MTU`). */
export const TUN_MTU = 1280;
/** Requested socket buffers (PG, `SNDBUF`, `RCVBUF`). */
const SEND_BUFFER_BYTES = 16 << 20;
const RECEIVE_BUFFER_BYTES = 128 << 20;
/** How long goodbyes may take to leave (TN-37): the node keeps a closed peer in the plane for 100 ms. */
const FLUSH_ON_STOP_MS = 150;

/** The machine of one role, as the shell sees it. */
export interface PeerMachine extends ShellMachine {
  handleOwnAddresses(now: Instant, addresses: readonly { address: IpAddress; port: number }[]): void;
  reset(now: Instant): void;
  shutdown(now: Instant): void;
  counters(): Readonly<Record<string, number>>;
}

/** What a role adds to the common course. */
export interface PeerRole<Machine extends PeerMachine> {
  readonly name: "client" | "gateway";
  createMachine(node: Node, log: Log): Machine;
  /** Set-up of the host beyond the TUN device; what it changes it puts on the stack. */
  setUpHost(host: PlaneHost, undo: UndoStack, log: Log): void;
  /** Opens the connection to the portal and answers to the machine's events. */
  wire(parts: PeerParts<Machine>): PeerWiring;
}

export interface PeerParts<Machine> {
  readonly machine: Machine;
  readonly host: PlaneHost;
  readonly url: PortalUrl;
  readonly token: Secret<string>;
  readonly login: { readonly externalId: string; readonly name: string };
  readonly publicKey: () => Uint8Array;
  readonly input: (give: (now: Instant) => void) => void;
  /** Brings the TUN device to the tunnel's wishes; the first time is readiness (PG-82). */
  readonly applyInterface: (wanted: TunnelInterface) => void;
  readonly fail: (error: unknown) => void;
  readonly log: Log;
}

export interface PeerWiring {
  /** Of the connection to the portal. */
  readonly state: string;
  connect(): void;
  /** At once, without back-off: the network is another one (PG-75). */
  reconnect(): void;
  drainEvents(now: Instant): void;
  close(): Promise<void>;
}

export async function runPeer<Machine extends PeerMachine>(
  role: PeerRole<Machine>,
  options: PeerOptions,
  io: ProgramIo,
): Promise<number> {
  const startedAt = performance.now();
  const { log } = io;
  const undo = createUndoStack(log);
  const instance = options.instance ?? role.name;
  const url = parsePortalUrl(options.apiUrl);
  if (!url.ok) {
    throw new PosternError(
      "usage",
      `--api-url ${options.apiUrl} is no portal address`,
      "use ws://, wss://, http:// or https://",
    );
  }
  try {
    if (!options.check) lockInstance(role.name, { instance, isChecked: !options.noCheck, io, undo });
    if (!options.noCheck) requirePrivilege(role.name);
    const id = resolveIdentifier(
      {
        role: role.name,
        path: `/var/lib/postern/${instance}-id.json`,
        ...(options.id === undefined ? {} : { configured: options.id }),
      },
      log,
    );
    const credentialsFolder = io.env["CREDENTIALS_DIRECTORY"];
    const token = resolveToken({
      variable: io.token,
      path: options.tokenPath ?? `/etc/postern/${role.name}-token`,
      ...(credentialsFolder === undefined ? {} : { credentialsFolder }),
    });
    if (options.check) {
      io.print("check passed");
      return 0;
    }
    const login = { externalId: externalIdOf(id), name: options.name ?? hostname() };
    await serve({ role, options, io, undo, url: url.value, token, login, startedAt });
    return 0;
  } finally {
    await undo.run();
  }
}

/** PG-10. Where not even a lock can be written, the missing privilege is the reason (PG-11). */
function lockInstance(
  role: string,
  about: {
    readonly instance: string;
    readonly isChecked: boolean;
    readonly io: ProgramIo;
    readonly undo: UndoStack;
  },
): void {
  const { instance, io, undo } = about;
  try {
    const lock = takeLock(openKernel(), instance, runFolders(io.env));
    undo.add("lock", () => lock.release());
  } catch (error) {
    const isRefused = error instanceof PosternError && error.code === "host";
    if (isRefused && about.isChecked) requirePrivilege(role);
    throw error;
  }
}

interface Course<Machine extends PeerMachine> {
  readonly role: PeerRole<Machine>;
  readonly options: PeerOptions;
  readonly io: ProgramIo;
  readonly undo: UndoStack;
  readonly url: PortalUrl;
  readonly token: Secret<string>;
  readonly login: { readonly externalId: string; readonly name: string };
  readonly startedAt: number;
}

/** Runs until a signal, an error, or readiness with `--exit`. */
async function serve<Machine extends PeerMachine>(course: Course<Machine>): Promise<void> {
  const { role, options, io, undo } = course;
  const { log } = io;
  const host = openPlaneHost({
    mode: role.name,
    mtu: TUN_MTU,
    tunName: options.tunName,
    port: options.listenPort === 0 ? { kind: "any" } : { kind: "preferred", port: options.listenPort },
    mark: FWMARK,
    kernelName: options.kernel,
    sendBufferBytes: options.udpSendBuffer ?? SEND_BUFFER_BYTES,
    receiveBufferBytes: options.udpRecvBuffer ?? RECEIVE_BUFFER_BYTES,
    features: readFeatures(io.env, log),
    log,
  });
  undo.add("TUN device and sockets", () => host.close());
  flushPolicyRouting(host.rtnetlink, log);
  undo.add("routes and rules", () => flushPolicyRouting(host.rtnetlink, log));
  role.setUpHost(host, undo, log);

  const node = createNode({
    role: role.name,
    records: host.plane.records,
    crypto: createNodeCrypto(),
    seed: randomBytes(32),
    now: host.now(),
    unixNow: unixMs(Date.now()),
    log,
  });
  const machine = role.createMachine(node, log);
  const end = createEnd();
  const hostInterface = createHostInterface(host, TUN_MTU, log);
  let isReady = false;

  const shell = createShell({
    machine,
    plane: host.plane,
    now: host.now,
    send: host.send,
    writeTun: host.writeTun,
    drainEvents: (now) => wiring.drainEvents(now),
    onDefect: end.fail,
  });
  undo.add("control loop", () => shell.stop());
  const wiring = role.wire({
    machine,
    host,
    url: course.url,
    token: course.token,
    login: course.login,
    publicKey: () => node.publicKey(),
    input: shell.input,
    applyInterface(wanted) {
      hostInterface.apply(wanted);
      if (isReady) return;
      isReady = true;
      const readyMs = Math.round(performance.now() - course.startedAt);
      log.info?.("ready", { ready_ms: readyMs });
      if (!options.exit) return;
      io.print(`ready in ${readyMs} ms`);
      end.finish();
    },
    fail: end.fail,
    log,
  });
  host.plane.onEnd((ended) => {
    const what = `the ${ended.worker} worker ended: ${ended.reason}`;
    end.fail(new PosternError(ended.reason === "crashed" ? "worker-died" : "host", what));
  });
  await host.start();

  const monitor = watchNetwork(
    host,
    {
      onAddresses: () => shell.input((now) => machine.handleOwnAddresses(now, ownSockets())),
      onReset: () => void reset(),
    },
    log,
  );
  undo.add("network events", () => monitor.close());

  function ownSockets(): { address: IpAddress; port: number }[] {
    const { v4, v6 } = host.sockets();
    return monitor.ownAddresses().flatMap((address) => {
      const port = (address.length === 4 ? v4 : v6)?.port;
      return port === undefined ? [] : [{ address, port }];
    });
  }

  /** PG-75: machine, sockets, own addresses, portal, in this order. */
  async function reset(): Promise<void> {
    try {
      shell.input((now) => machine.reset(now));
      await host.rebind();
      shell.input((now) => machine.handleOwnAddresses(now, ownSockets()));
      wiring.reconnect();
    } catch (error) {
      end.fail(error);
    }
  }

  const unlisten = io.onSignal((signal) => {
    if (signal === "SIGINT" || signal === "SIGTERM") return end.finish();
    if (signal === "SIGHUP") {
      log.info?.("Resetting network state (SIGHUP)");
      return void reset();
    }
    logStatus(log, {
      host,
      node,
      counters: machine.counters(),
      portal: wiring.state,
      idField: role.name === "client" ? "gid" : "cid",
    });
  });
  undo.add("signals", unlisten);

  shell.input((now) => machine.handleOwnAddresses(now, ownSockets()));
  wiring.connect();
  try {
    await end.reached;
    log.info?.("stopping");
    shell.input((now) => machine.shutdown(now));
    await new Promise((resolve) => setTimeout(resolve, FLUSH_ON_STOP_MS));
  } finally {
    await wiring.close();
  }
}

/** The one way out: `finish` resolves, the first `fail` rejects. */
function createEnd() {
  let finish = (): void => {};
  let fail = (_error: unknown): void => {};
  const reached = new Promise<void>((resolve, reject) => {
    finish = resolve;
    fail = reject;
  });
  // A failure before anybody waits is kept, not reported as unhandled.
  reached.catch(() => {});
  return { reached, finish: () => finish(), fail: (error: unknown) => fail(error) };
}
