/** `connectClient`: a client in this process (PG-120 to PG-124). */
import { openUserspaceClient, type UdpSocket, type UserspaceClient } from "../program/userspace/index.ts";
import { toLibraryError } from "./error.ts";
import type { Client, ClientFetch } from "./face.ts";
import { createEventBus, createInstance, type Instance, type Status, untilReady } from "./instance.ts";
import { type ClientOptions, readAddress, readOptions } from "./options.ts";

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
  await untilReady(running, { signal });
  const { machine, shell } = running.peer.tunnel;
  const setInternetResource = (isActive: boolean): void =>
    shell.input((now) => machine.setInternet(now, isActive));
  return faceOf({ ...running, setInternetResource }, createInstance(running, bus, { signal }));
}

/** What a client does, in either mode. */
interface Reach extends Pick<UserspaceClient, "lookup" | "dial" | "ping"> {
  status(): Pick<Status, "resources" | "connections">;
  udp(family?: 4 | 6): UdpSocket | Promise<UdpSocket>;
  setInternetResource(isActive: boolean): void;
}

export function faceOf<S>(running: Reach, instance: Instance<S>): Client<S> {
  let fetch: Promise<ClientFetch> | undefined;
  const face: Omit<Client<S>, keyof Instance> = {
    resources: () => running.status().resources,
    connections: () => running.status().connections,
    setInternetResource: running.setInternetResource,
    lookup: (name, { family } = {}) => running.lookup(name, family).catch(rethrow),
    dial: (target) => running.dial(target).catch(rethrow),
    async udp({ family, signal } = {}) {
      signal?.throwIfAborted();
      const socket = await Promise.resolve(running.udp(family)).catch(rethrow);
      signal?.addEventListener("abort", () => socket.close(), { once: true });
      return socket;
    },
    async fetch(url, options) {
      // HTTP is loaded by those who use it.
      fetch ??= import("./fetch.ts").then(({ createFetch }) =>
        createFetch({ ...face, closed: instance.closed }),
      );
      return await (await fetch)(url, options);
    },
    ping: (host, waiting) => running.ping(host, waiting).catch(rethrow),
  };
  return Object.assign(instance, face);
}

export function rethrow(error: unknown): never {
  throw toLibraryError(error);
}
