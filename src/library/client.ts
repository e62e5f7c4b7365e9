/** `connectClient`: a client in this process (PG-120 to PG-124). */
import { openUserspaceClient, type UserspaceClient } from "../program/userspace/index.ts";
import { toLibraryError } from "./error.ts";
import type { Client, ClientFetch } from "./face.ts";
import { createEventBus, createInstance, type Instance, untilReady } from "./instance.ts";
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
  await untilReady(running, signal);
  return faceOf(running, createInstance(running, bus, signal));
}

function faceOf(running: UserspaceClient, instance: Instance): Client {
  const { machine, shell } = running.peer.tunnel;
  let fetch: Promise<ClientFetch> | undefined;
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
