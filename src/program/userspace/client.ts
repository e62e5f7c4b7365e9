/** A client in this thread: dials resources, resolves their names, pings them (PG-120, PG-122 to PG-124). */
import { PosternError } from "../../base/index.ts";
import type { StackEvent } from "../../stack/index.ts";
import type { TunnelClient } from "../../tunnel/index.ts";
import { clientRole } from "../client/client-role.ts";
import type { ControlMethods } from "../control/index.ts";
import type { DnsService } from "../dns/index.ts";
import { type DialParts, type DialTarget, dialTarget, ownerOf, resolveHost, textsOf } from "./dial.ts";
import type { TcpSocket, UdpSocket } from "./face.ts";
import { openNames, type SystemResolvers } from "./names.ts";
import { openPeer, type UserspaceOptions, type UserspacePeer } from "./peer.ts";
import { createSockets, instanceClosed } from "./sockets.ts";
import { readUserspaceStatus, type UserspaceStatus } from "./status.ts";

export interface UserspaceClientOptions
  extends Omit<UserspaceOptions<TunnelClient>, "role" | "onStack" | "lookUp"> {
  readonly systemResolvers: SystemResolvers;
  readonly isInternetOn: boolean;
  readonly maxPartitionMs?: number | undefined;
  readonly ca?: readonly string[] | undefined;
}

export interface Waiting {
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface UserspaceClient {
  readonly peer: UserspacePeer<TunnelClient>;
  dial(target: DialTarget & Waiting): Promise<TcpSocket>;
  lookup(name: string, family?: 4 | 6): Promise<string[]>;
  ping(host: string, waiting?: Waiting): Promise<number>;
  udp(family?: 4 | 6): UdpSocket;
  status(): UserspaceStatus;
  /** What a client can be told over the control socket. */
  readonly methods: ControlMethods;
  close(): Promise<void>;
}

/** Until a connection opens: five SYNs take a minute. */
const DIAL_MS_MAX = 60_000;
const PING_MS_MAX = 10_000;

export async function openUserspaceClient(options: UserspaceClientOptions): Promise<UserspaceClient> {
  const { log, isInternetOn, maxPartitionMs, caFile, ca, systemResolvers } = options;
  let dns: DnsService | undefined;
  const openDns = openNames({ systemResolvers, log: log.scope("dns") });
  const role = clientRole(
    { maxPartitionTime: maxPartitionMs, caFile, ...(ca && { ca }) },
    {
      isInternetOn,
      openDns(parts) {
        dns = openDns(parts);
        return dns;
      },
    },
  );
  let onStack = (_: StackEvent): void => {};
  let onResources = (): void => {};
  const peer = await openPeer({
    ...options,
    role,
    onStack: (event) => onStack(event),
    tell(event) {
      options.tell(event);
      // Not from within the control loop's turn.
      if (event.event === "resources") queueMicrotask(() => onResources());
    },
  });
  const sockets = createSockets(peer.engine);
  onStack = sockets.handle;
  if (dns === undefined) throw new Error("the role opens its names");
  const { machine, shell } = peer.tunnel;
  const parts: DialParts = {
    ...{ machine, dns, sockets },
    resourceOfProxy(address) {
      let rid: string | undefined;
      shell.input((now) =>
        machine.useResolver(now, (resolver) => {
          rid = resolver.assignmentOf(address)?.rid;
        }),
      );
      return rid;
    },
  };
  onResources = () => sockets.revoke((address) => ownerOf(parts, address) !== undefined);
  const status = (): UserspaceStatus =>
    readUserspaceStatus({ ...{ peer, role, login: options.login }, sockets: sockets.counts() });
  const methods = role.methodsOf?.(machine, shell.input, peer.engine.now) ?? {};
  return { ...faceOf(peer, parts), status, methods };
}

function faceOf(
  peer: UserspacePeer<TunnelClient>,
  parts: DialParts,
): Omit<UserspaceClient, "status" | "methods"> {
  const { sockets } = parts;
  const closing = new AbortController();
  const bounded = (waiting: Waiting | undefined, ms: number, what: string): Bound => {
    return bound({ ...waiting, timeoutMs: waiting?.timeoutMs ?? ms }, closing.signal, what);
  };
  return {
    peer,
    dial: ({ timeoutMs, signal, ...target }) =>
      bounded(
        { timeoutMs, signal },
        DIAL_MS_MAX,
        `dialing ${target.host} port ${target.port}`,
      )((one) => dialTarget(parts, target, one)),
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
    async close() {
      closing.abort(instanceClosed());
      sockets.close();
      await peer.close();
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
