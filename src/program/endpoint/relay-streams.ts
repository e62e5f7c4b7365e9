/**
 * Streams to relays, as the machine of connections asks for them: TCP past the tunnel or through the
 * environment's proxy, TLS, and a bridge on loopback that the plane takes for the relay (RL-209 to RL-211).
 */
import { once } from "node:events";
import type { Socket } from "node:net";
import { formatIp, type Instant, ip, type Log, PosternError, type SocketAddress } from "../../base/index.ts";
import {
  RELAY_PORT,
  type StreamNews,
  type StreamPlace,
  type StreamRequest,
} from "../../connections/index.ts";
import { startTls } from "../../host/index.ts";
import { firstConnection, loadRoots, type OpenTcp, reasonOf } from "../portal-transport.ts";
import { type Environment, proxyFor, type Resolve, reachTarget } from "../proxy/index.ts";
import { type Bridge, openBridge } from "../stream/index.ts";

/** Connection, proxy and TLS together (RL-209). */
const OPEN_WITHIN_MS = 10_000;
/** Where the bridges are: each has an address of its own, and the port that relays have (RL-210). */
const BRIDGE_NETWORK = "127.128";
const BRIDGE_ADDRESSES = 1 << 16;
const LOOPBACK = ip("127.0.0.1");
/** RFC 7443; a web server on the same port answers to the other. */
const ALPN = ["stun.turn"];

/** What streams need of the world around. */
export interface StreamSurroundings {
  /** Port of the plane's IPv4 socket, which the bridges talk to; `undefined`: there is none. */
  readonly udpPort: () => number | undefined;
  /** Past the tunnel (PG-64). */
  readonly openTcp: OpenTcp;
  readonly resolve?: Resolve;
  readonly env: Environment;
  readonly caFile: string | undefined;
}

export interface RelayStreamsOptions {
  readonly surroundings: StreamSurroundings;
  /** Of the bridges; absent: that of relays, as plane and machine want it. */
  readonly bridgePort?: number;
  readonly now: () => Instant;
  readonly tell: (news: StreamNews) => void;
  readonly log: Log;
}

export interface StreamFigures {
  /** Bytes that wait to be written, by relay. */
  readonly waiting: ReadonlyMap<string, number>;
  /** Channel data that was too late, since the start (`turn_stream_late`). */
  readonly late: number;
}

export const NO_STREAMS: StreamFigures = { waiting: new Map(), late: 0 };

export interface RelayStreams {
  take(request: StreamRequest): void;
  figures(): StreamFigures;
  close(): void;
}

/** One stream, from its first packet on. */
interface Dial {
  /** Ends what is under way. */
  readonly abort: AbortController;
  bridge: Bridge | undefined;
}

interface State {
  readonly options: RelayStreamsOptions;
  readonly dials: Map<string, Dial>;
  nextBridge: number;
  /** Of streams that are over. */
  late: number;
}

export function createRelayStreams(options: RelayStreamsOptions): RelayStreams {
  const state: State = { options, dials: new Map(), nextBridge: 0, late: 0 };
  return {
    take(request) {
      if (request.kind === "close") end(state, request.relay);
      else void open(state, request.relay, request.place);
    },
    figures: () => figuresOf(state),
    close() {
      for (const relay of [...state.dials.keys()]) end(state, relay);
    },
  };
}

async function open(state: State, relay: string, place: StreamPlace): Promise<void> {
  end(state, relay);
  const { tell, log } = state.options;
  const dial: Dial = { abort: new AbortController(), bridge: undefined };
  const { signal } = dial.abort;
  state.dials.set(relay, dial);
  const timer = setTimeout(
    () => dial.abort.abort(new Error(`nothing within ${OPEN_WITHIN_MS / 1000} s`)),
    OPEN_WITHIN_MS,
  );
  const isCurrent = (): boolean => state.dials.get(relay) === dial;
  try {
    const stream = await abortable(connect(state, place, signal), signal, (late) => late.destroy());
    dial.bridge = await bridgeTo(state, stream, (reason) => {
      if (!isCurrent()) return;
      end(state, relay);
      tell({ kind: "ended", relay, reason });
    });
    if (!isCurrent()) return dial.bridge.close();
    log.info?.("a stream to a relay is open", { relay, transport: place.transport, name: place.name });
    tell({ kind: "opened", relay, socket: dial.bridge.udp });
  } catch (error) {
    if (!isCurrent()) return;
    state.dials.delete(relay);
    tell({ kind: "ended", relay, reason: reasonsOf(error) });
  } finally {
    clearTimeout(timer);
  }
}

/** Rejects when it is aborted; what comes later is given back. */
async function abortable<T>(
  promise: Promise<T>,
  signal: AbortSignal,
  giveBack: (late: T) => void,
): Promise<T> {
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } catch (error) {
    // A failure that comes later still is nobody's.
    promise.then(giveBack, () => {});
    throw error;
  }
}

function end(state: State, relay: string): void {
  const dial = state.dials.get(relay);
  if (dial === undefined) return;
  state.dials.delete(relay);
  state.late += dial.bridge?.stats().late ?? 0;
  dial.abort.abort(new Error("closed"));
  dial.bridge?.close();
}

async function connect({ options }: State, place: StreamPlace, signal: AbortSignal): Promise<Socket> {
  const { surroundings, log } = options;
  const { transport, name } = place;
  const tcp = await connectTcp(surroundings, place, log);
  tcp.setNoDelay(true);
  if (transport === "tcp" || name === undefined) return tcp;
  const ca = loadRoots(surroundings.caFile);
  const tls = startTls(tcp, { servername: name, ca, alpn: ALPN });
  try {
    // A server that does not go on says nothing, and nobody else would close the connection.
    await once(tls, "secureConnect", { signal });
  } catch (error) {
    tcp.destroy();
    throw error;
  }
  return tls;
}

/** All addresses at once, or the first one through the proxy, if one is named for both address and name. */
async function connectTcp(
  { openTcp, resolve, env, caFile }: StreamSurroundings,
  { addresses, name }: Omit<StreamPlace, "transport">,
  log: Log,
): Promise<Socket> {
  const [first] = addresses;
  if (first === undefined) throw new PosternError("connect-failed", "the relay has no address");
  const target = { host: formatIp(first.address), port: first.port };
  const isDirect =
    proxyFor(target, env) === undefined ||
    (name !== undefined && proxyFor({ ...target, host: name }, env) === undefined);
  if (isDirect) return await firstOf(addresses, openTcp);
  const reach = reachTarget({ target, env, openTcp, resolve, caFile, log });
  return await firstConnection(await reach.resolve(target.host), target.port, reach.openTcp);
}

/** Of all addresses that were tried; a family that the host does not have is no reason beside others. */
function reasonsOf(error: unknown): string {
  if (!(error instanceof AggregateError)) return reasonOf(error);
  const reasons = [...new Set(error.errors.map(reasonOf))];
  const telling = reasons.filter((reason) => !reason.includes("ENETUNREACH"));
  return (telling.length > 0 ? telling : reasons).join("; ");
}

async function firstOf(addresses: readonly SocketAddress[], openTcp: OpenTcp): Promise<Socket> {
  const port = addresses[0]?.port ?? 0;
  const own = addresses.filter((address) => address.port === port).map(({ address }) => address);
  return await firstConnection(own, port, openTcp);
}

async function bridgeTo(state: State, stream: Socket, onEnd: (reason: string) => void): Promise<Bridge> {
  const { surroundings, now, bridgePort = RELAY_PORT } = state.options;
  const at = 1 + (state.nextBridge++ % (BRIDGE_ADDRESSES - 2));
  try {
    return await openBridge({
      stream,
      address: `${BRIDGE_NETWORK}.${at >> 8}.${at & 255}`,
      port: bridgePort,
      peer: () => ({ address: LOOPBACK, port: surroundings.udpPort() ?? 0 }),
      now,
      onEnd,
    });
  } catch (cause) {
    stream.destroy();
    const hint = `a relay or TURN server on this host must not have port ${RELAY_PORT} of all addresses`;
    throw new PosternError("host", `no socket on loopback for a stream: ${reasonOf(cause)}`, hint, { cause });
  }
}

function figuresOf({ dials, late }: State): StreamFigures {
  const open = [...dials].flatMap(([relay, { bridge }]) =>
    bridge === undefined ? [] : [[relay, bridge.stats()] as const],
  );
  return {
    waiting: new Map(open.map(([relay, { waiting }]) => [relay, waiting])),
    late: open.reduce((sum, [, stats]) => sum + stats.late, late),
  };
}
