/**
 * Postern for Node's own and its packages' ways to connect (PG-121).
 *
 *     http.get("http://wiki.corp.example/", { agent: new HttpAgent(client) });
 *     new pg.Client({ stream: () => createConnection(client), … });
 */
import type { LookupAddress, LookupOptions } from "node:dns";
import type { Client } from "../face.ts";
import { createTunnelSocket, type Target, type TunnelSocket } from "./tunnel-socket.ts";

export {
  type ConnectorCallback,
  type ConnectorOptions,
  createConnector,
  HttpAgent,
  HttpsAgent,
} from "./agents.ts";
export { type Target, type TunnelSocket, toDuplex } from "./tunnel-socket.ts";

/** As `net.createConnection`: begins to connect, unless `connect` of the socket is to do that. */
export function createConnection(client: Pick<Client, "dial">, target?: Target): TunnelSocket {
  return createTunnelSocket(client, target);
}

type LookupCallback = (error: Error | null, address?: string | LookupAddress[], family?: number) => void;

/** As `dns.lookup`, for names of resources: what it finds can be dialled through this client only. */
export function createLookup(
  client: Pick<Client, "lookup">,
): (name: string, options: LookupOptions, callback: LookupCallback) => void {
  return (name, { family, all }, callback) => {
    client.lookup(name, family === 4 || family === 6 ? { family } : {}).then((texts) => {
      const found = texts.map((address) => ({ address, family: address.includes(":") ? 6 : 4 }));
      const [first] = found;
      if (all) callback(null, found);
      else callback(null, first?.address, first?.family);
    }, callback);
  };
}
