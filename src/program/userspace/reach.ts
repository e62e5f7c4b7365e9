/**
 * How a client's program reaches resources, by whatever sockets (PG-120, PG-123): names and addresses of resources only,
 * each within a time, and nothing pends when the instance ends.
 */
import { type IpAddress, PosternError, type SocketAddress } from "../../base/index.ts";
import { type DialParts, type DialTarget, dialTarget, resolveHost, textsOf } from "./dial.ts";
import type { TcpSocket } from "./face.ts";
import { readPort } from "./port.ts";
import { instanceClosed, type UdpOptions } from "./sockets.ts";

export interface Waiting {
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Of the stack, or of the host's kernel. */
export interface ClientSockets<Udp> {
  connect(remote: SocketAddress, signal: AbortSignal): Promise<TcpSocket>;
  udp(options: UdpOptions): Udp;
  /** Milliseconds until the echo came. */
  ping(remote: IpAddress, signal: AbortSignal): Promise<number>;
  close(): void;
}

export interface ClientReach<Udp> {
  dial(target: DialTarget & Waiting): Promise<TcpSocket>;
  lookup(name: string, family?: 4 | 6): Promise<string[]>;
  ping(host: string, waiting?: Waiting): Promise<number>;
  udp(family?: 4 | 6): Udp;
  /** What pends rejects with `closed`, and so does what is asked later. */
  end(): void;
}

/** Until a connection opens: five SYNs take a minute. */
const DIAL_MS_MAX = 60_000;
const PING_MS_MAX = 10_000;

export function createReach<Udp>(
  parts: DialParts & { readonly sockets: ClientSockets<Udp> },
): ClientReach<Udp> {
  const { sockets } = parts;
  const closing = new AbortController();
  const bounded = (waiting: Waiting | undefined, ms: number, what: string): Bound => {
    return bound({ ...waiting, timeoutMs: waiting?.timeoutMs ?? ms }, closing.signal, what);
  };
  return {
    dial: ({ timeoutMs, signal, ...target }) =>
      bounded(
        { timeoutMs, signal },
        DIAL_MS_MAX,
        `dialing ${target.host} port ${target.port}`,
      )(async (one) => {
        return await dialTarget(parts, { ...target, port: readPort(target.port) }, one);
      }),
    lookup: (name, family) =>
      bounded(
        undefined,
        DIAL_MS_MAX,
        `looking up ${name}`,
      )(async () => textsOf(await resolveHost(parts, name, family))),
    ping: (host, waiting) =>
      bounded(
        waiting,
        PING_MS_MAX,
        `ping ${host}`,
      )(async (signal) => {
        const addresses = await resolveHost(parts, host, undefined);
        return await Promise.any(addresses.map((one) => sockets.ping(one, signal))).catch(
          (error: unknown) => {
            throw error instanceof AggregateError ? error.errors[0] : error;
          },
        );
      }),
    udp: (family = 4) =>
      sockets.udp({
        family,
        resolve: async (host) => (await resolveHost(parts, host, family))[0] ?? new Uint8Array(4),
      }),
    end() {
      closing.abort(instanceClosed());
      sockets.close();
    },
  };
}

type Bound = <T>(act: (signal: AbortSignal) => Promise<T>) => Promise<T>;

/** Ends with the time, with the caller's signal, and with the instance, whichever is first. */
function bound({ timeoutMs = DIAL_MS_MAX, signal }: Waiting, closing: AbortSignal, what: string): Bound {
  return async (act) => {
    const late = new AbortController();
    const timer = setTimeout(
      () => late.abort(new PosternError("timeout", `${what} took longer than ${timeoutMs / 1000} s`)),
      timeoutMs,
    );
    const any = AbortSignal.any([late.signal, closing, ...(signal ? [signal] : [])]);
    let stop = (): void => {};
    const aborted = new Promise<never>((_resolve, reject) => {
      stop = () => reject(any.reason);
      any.addEventListener("abort", stop);
    });
    aborted.catch(() => {});
    try {
      any.throwIfAborted();
      return await Promise.race([act(any), aborted]);
    } finally {
      clearTimeout(timer);
      any.removeEventListener("abort", stop);
    }
  };
}
