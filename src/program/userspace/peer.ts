/**
 * A client or gateway in this thread: no root, no TUN device, no FFI, no worker (PG-122). What `serve.ts` is to a
 * program on a host, this is to one that is embedded.
 */

import { type IpAddress, type Log, PosternError, type Secret } from "../../base/index.ts";
import type { ConnectionChange } from "../../connections/index.ts";
import type { PortalUrl } from "../../portal/protocol/index.ts";
import type { StackEvent } from "../../stack/index.ts";
import type { ControlEvent } from "../control/index.ts";
import { createResets, type Resets } from "../endpoint/resets.ts";
import type { Login, PeerMachine, TunnelRole } from "../endpoint/role.ts";
import { handleStandstill } from "../endpoint/standstill.ts";
import type { Surroundings } from "../endpoint/surroundings.ts";
import { createTunnel, FLUSH_ON_STOP_MS, type Tunnel, type TunnelOptions } from "../endpoint/tunnel.ts";
import { plainTcp } from "../portal-transport.ts";
import { type Environment, reachTarget } from "../proxy/index.ts";
import { createRebinding, type Rebinding } from "../shell/index.ts";
import type { AskToken } from "../token-renewal.ts";
import type { SocketChoice } from "./carrier.ts";
import { type Engine, openEngine } from "./engine.ts";
import { watchOwnNetwork } from "./network-watch.ts";
import { createOwnAddresses } from "./own-network.ts";

export interface UserspaceOptions<Machine extends PeerMachine> {
  readonly role: TunnelRole<Machine>;
  readonly url: PortalUrl;
  readonly token: Secret<string>;
  /** Asked when the portal refuses the token. */
  readonly askToken?: AskToken | undefined;
  readonly login: Login;
  /** Absent: those of the machine's interfaces, looked for every 5 s. */
  readonly addresses?: readonly IpAddress[] | undefined;
  readonly port: number;
  /** Default `auto` (PG-122). */
  readonly sockets?: SocketChoice | undefined;
  readonly cipher?: string | undefined;
  readonly caFile?: string | undefined;
  readonly env: Environment;
  readonly lookUp?: Surroundings["lookUp"];
  readonly onStack: (event: StackEvent) => void;
  readonly tell: (event: ControlEvent) => void;
  /** Hears what became of connections. */
  readonly onChange?: (change: ConnectionChange) => void;
  /** Hears how long turns of the control loop take. */
  readonly onTurn?: NonNullable<TunnelOptions<Machine>["onTurn"]>;
  readonly log: Log;
}

export interface UserspacePeer<Machine extends PeerMachine> {
  readonly tunnel: Tunnel<Machine>;
  readonly engine: Engine;
  /** Of the tunnel, as the portal gave them. */
  addresses(): readonly IpAddress[];
  isReady(): boolean;
  /** When the portal has sent the first configuration; rejects with what no retry mends. */
  readonly ready: Promise<void>;
  /** What ended it by itself; never settles otherwise. */
  readonly failed: Promise<unknown>;
  reset(reason: string): void;
  /** Says goodbye on every connection and to the portal. */
  close(): Promise<void>;
}

/** @throws PosternError `host`, `cipher-unusable`, `usage` */
export async function openPeer<Machine extends PeerMachine>(
  options: UserspaceOptions<Machine>,
): Promise<UserspacePeer<Machine>> {
  const { role, log } = options;
  const ending = createEnding();
  const { addresses } = options;
  const find = addresses === undefined ? createOwnAddresses(log) : () => addresses;
  let socketFailed = (): void => {};
  const engine = await openEngine({
    mode: role.name,
    addresses: required(find()),
    ...{ port: options.port, cipher: options.cipher, env: options.env, log },
    sockets: options.sockets ?? "auto",
    onStack: options.onStack,
    onDefect: ending.fail,
    socketFailed: () => socketFailed(),
  });
  try {
    const peer = run(options, { engine, ending, find });
    socketFailed = () => peer.reset("a transport socket failed");
    return peer;
  } catch (error) {
    await engine.close();
    throw error;
  }
}

interface Parts {
  readonly engine: Engine;
  readonly ending: Ending;
  readonly find: () => readonly IpAddress[];
}

function run<Machine extends PeerMachine>(
  options: UserspaceOptions<Machine>,
  { engine, ending, find }: Parts,
): UserspacePeer<Machine> {
  const { log, tell } = options;
  const startedAt = performance.now();
  let inTunnel: readonly IpAddress[] = [];
  const tunnel = createTunnel({
    ...options,
    surroundings: surroundingsOf(options, engine, ({ addresses }) => {
      inTunnel = addresses;
      engine.withStack((stack) => stack.configure(addresses));
      if (ending.isReady()) return;
      const ms = Math.round(performance.now() - startedAt);
      log.info?.("ready", { readyMs: ms });
      tell({ event: "ready", data: { ms } });
      ending.ready();
    }),
    fail: ending.fail,
    tell,
    onChange(change) {
      options.onChange?.(change);
      const { id: peer, tookMs: _, ...rest } = change;
      tell({ event: "connection", data: { peer, ...rest } });
    },
  });
  const { shell, machine, wiring } = tunnel;
  const announce = (): void => shell.input((now) => machine.handleOwnAddresses(now, engine.own()));
  const { resets, rebinding } = createPeerResets(options, { engine, ending, find }, tunnel, announce);
  const network = watchOwnNetwork({
    ...{ find, now: engine.now },
    onAddresses: () => resets.request("own addresses changed"),
    onStandstill: (stillMs) =>
      handleStandstill({ role: options.role, machine, shell, wiring, resets, log }, stillMs),
  });
  announce();
  wiring.connect();
  return {
    ...{
      tunnel,
      engine,
      isReady: ending.isReady,
      ready: ending.whenReady,
      failed: ending.whenFailed,
      reset: resets.request,
    },
    addresses: () => inTunnel,
    async close() {
      network.close();
      rebinding.stop();
      await resets.stop();
      // Behind the goodbye nobody would hear that connections are over.
      await engine.flush();
      shell.input((now) => machine.shutdown(now));
      await Promise.all([wiring.close(), new Promise((resolve) => setTimeout(resolve, FLUSH_ON_STOP_MS))]);
      shell.stop();
      await engine.close();
    },
  };
}

/** Machine, sockets, own addresses, portal, in this order (PG-75); without sockets it is tried again (PG-41). */
function createPeerResets<Machine extends PeerMachine>(
  { log, tell }: UserspaceOptions<Machine>,
  { engine, ending, find }: Parts,
  { shell, machine, wiring }: Tunnel<Machine>,
  announce: () => void,
): { readonly resets: Resets; readonly rebinding: Rebinding } {
  const resets = createResets(async (reason) => {
    log.info?.("network state is reset", { reason });
    tell({ event: "reset", data: { reason } });
    shell.input((now) => machine.reset(now));
    await rebinding.run(() => {
      announce();
      wiring.reconnect();
    });
  }, ending.fail);
  const rebinding = createRebinding({
    async rebind(onBound) {
      await engine.rebind(required(find()));
      onBound();
    },
    retry: () => resets.request("no UDP sockets"),
    log,
  });
  return { resets, rebinding };
}

function surroundingsOf<Machine extends PeerMachine>(
  { url, env, caFile, log, lookUp }: UserspaceOptions<Machine>,
  engine: Engine,
  applyInterface: Surroundings["applyInterface"],
): Surroundings {
  const { plane, now, send, deliver, pathMtu } = engine;
  return {
    ...{ plane, now, send, deliver, applyInterface },
    ...(pathMtu && { pathMtu }),
    // What is delivered goes to the stack.
    isKernelDeaf: true,
    // There is no network of a host that could have them.
    changePeers: () => {},
    ...reachTarget({ target: url, env, openTcp: plainTcp, caFile, log: log.scope("portal") }),
    ...(lookUp && { lookUp }),
  };
}

function required(addresses: readonly IpAddress[]): readonly IpAddress[] {
  if (addresses.length > 0) return addresses;
  throw new PosternError("host", "this machine has no address", "is there a network?");
}

interface Ending {
  readonly whenReady: Promise<void>;
  readonly whenFailed: Promise<unknown>;
  isReady(): boolean;
  ready(): void;
  fail(error: unknown): void;
}

function createEnding(): Ending {
  let [ready, refuse, failed] = [() => {}, (_: unknown) => {}, (_: unknown) => {}];
  let isReady = false;
  const whenReady = new Promise<void>((resolve, reject) => {
    ready = resolve;
    refuse = reject;
  });
  whenReady.catch(() => {});
  const whenFailed = new Promise<unknown>((resolve) => {
    failed = resolve;
  });
  return {
    ...{ whenReady, whenFailed },
    isReady: () => isReady,
    ready() {
      isReady = true;
      ready();
    },
    fail(error) {
      refuse(error);
      failed(error);
    },
  };
}
