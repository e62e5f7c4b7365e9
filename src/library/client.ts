/** `connectClient`: a client in this process (PG-120 to PG-124). */
import type { ResourceView } from "../program/control/index.ts";
import type { ConnectionView } from "../program/control/status.ts";
import {
  openUserspaceClient,
  type TcpSocket,
  type UdpSocket,
  type UserspaceClient,
} from "../program/userspace/index.ts";
import { toLibraryError } from "./error.ts";
import { createEventBus, createInstance, type Instance, untilReady } from "./instance.ts";
import { type ClientOptions, readAddress, readOptions } from "./options.ts";

export type Resource = ResourceView;
export type Connection = ConnectionView;

export interface DialOptions {
  /** A name or an address of a resource. */
  readonly host: string;
  readonly port: number;
  readonly family?: 4 | 6;
  /** Default: a minute. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

export interface Client extends Instance {
  resources(): readonly Resource[];
  connections(): readonly Connection[];
  /** The user's switch for the internet resource. */
  setInternetResource(isActive: boolean): void;
  /** Addresses that stand for a name of a resource. @throws PosternError `not_a_resource` */
  lookup(name: string, options?: { readonly family?: 4 | 6 }): Promise<string[]>;
  /**
   * Opens a TCP connection to a resource.
   *
   * @throws PosternError `not_a_resource`, `offline`, `refused`, `prohibited`, `unreachable`, `timeout`, `closed`
   */
  dial(options: DialOptions): Promise<TcpSocket>;
  udp(options?: { readonly family?: 4 | 6; readonly signal?: AbortSignal }): Promise<UdpSocket>;
  /** Milliseconds until the echo came. */
  ping(
    host: string,
    options?: { readonly timeoutMs?: number; readonly signal?: AbortSignal },
  ): Promise<number>;
}

/**
 * Signs in at the portal; resolves when it has sent the first configuration.
 *
 * @throws PosternError `auth`, `portal_unreachable`, `portal_tls`, `host`
 */
export async function connectClient(options: ClientOptions): Promise<Client> {
  const { signal, internetResource = false, systemResolvers = [], maxPartitionMs, ca } = options;
  signal?.throwIfAborted();
  const bus = createEventBus();
  const read = await readOptions(options);
  const running = await openUserspaceClient({
    ...read,
    ...{ isInternetOn: internetResource, maxPartitionMs, ca, tell: bus.emit },
    systemResolvers: systemResolvers.map(readAddress),
  }).catch(rethrow);
  await untilReady(running, signal);
  return faceOf(running, createInstance(running, bus, signal));
}

function faceOf(running: UserspaceClient, instance: Instance): Client {
  const { machine, shell } = running.peer.tunnel;
  const face: Omit<Client, keyof Instance> = {
    resources: () => running.status().resources,
    connections: () => running.status().connections,
    setInternetResource: (isActive) => shell.input((now) => machine.setInternet(now, isActive)),
    lookup: (name, { family } = {}) => running.lookup(name, family).catch(rethrow),
    dial: (target) => running.dial(target).catch(rethrow),
    async udp({ family, signal } = {}) {
      signal?.throwIfAborted();
      const socket = running.udp(family);
      signal?.addEventListener("abort", () => socket.close(), { once: true });
      return socket;
    },
    ping: (host, waiting) => running.ping(host, waiting).catch(rethrow),
  };
  return Object.assign(instance, face);
}

export function rethrow(error: unknown): never {
  throw toLibraryError(error);
}
