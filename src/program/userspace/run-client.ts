/** `postern client --mode userspace`: resources for programs that know proxies, without root (PG-129). */

import { secret } from "../../base/index.ts";
import { readTokenFile } from "../../host/index.ts";
import type { ProgramIo } from "../io.ts";
import type { ClientOptions } from "../options.ts";
import { openUserspaceClient } from "./client.ts";
import { runProgram } from "./program.ts";
import { openProxies } from "./proxy/proxy.ts";

export function runUserspaceClient(options: ClientOptions, io: ProgramIo): Promise<number> {
  const { socks, httpProxy, proxyPasswordPath, internetResource, maxPartitionTime } = options;
  if (socks === undefined && httpProxy === undefined) {
    io.log.warn?.("nobody can use this client: neither --socks nor --http-proxy is given");
  }
  const password = proxyPasswordPath === undefined ? undefined : secret(readTokenFile(proxyPasswordPath));
  return runProgram({
    ...{ role: "client", options, io },
    async open(common, undo) {
      const client = await openUserspaceClient({
        ...common,
        ...{ isInternetOn: internetResource, maxPartitionMs: maxPartitionTime, systemResolvers: "host" },
      });
      try {
        const log = io.log.scope("proxy");
        const proxies = await openProxies({ client, socks, httpProxy, password, log });
        undo.add("proxies", () => proxies.close());
      } catch (error) {
        await client.close();
        throw error;
      }
      return { peer: client.peer, status: client.status, methods: client.methods, close: client.close };
    },
  });
}
