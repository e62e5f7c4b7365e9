/** Agents for `node:http` and `node:https`, and a connector for undici, over a client's connections (PG-121). */
import { type AgentOptions, Agent as PlainAgent } from "node:http";
import { Agent as TlsAgent, type AgentOptions as TlsAgentOptions } from "node:https";
import { isIP } from "node:net";
import type { Duplex } from "node:stream";
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from "node:tls";
import type { Client } from "../face.ts";
import { createTunnelSocket } from "./tunnel-socket.ts";

type Dialer = Pick<Client, "dial">;

/** What agents are told of a connection that is wanted. */
interface Wanted extends Omit<ConnectionOptions, "host" | "port"> {
  readonly host?: string | undefined;
  readonly port?: number | undefined;
}

/** For `http.request({ agent })`. */
export class HttpAgent extends PlainAgent {
  readonly #client: Dialer;

  constructor(client: Dialer, options: AgentOptions = {}) {
    super({ keepAlive: true, ...options });
    this.#client = client;
  }

  override createConnection(options: object): Duplex {
    return createTunnelSocket(this.#client, targetOf(options, 80));
  }
}

/** For `https.request({ agent })`: TLS by the runtime over the tunnel's connection. */
export class HttpsAgent extends TlsAgent {
  readonly #client: Dialer;

  constructor(client: Dialer, options: TlsAgentOptions = {}) {
    super({ keepAlive: true, ...options });
    this.#client = client;
  }

  override createConnection(options: object): Duplex {
    return overTls(this.#client, options);
  }
}

function overTls(client: Dialer, options: Wanted): TLSSocket {
  const target = targetOf(options, 443);
  const socket = createTunnelSocket(client, target);
  const { path: _, ...rest } = options;
  const secure = connectTls({
    ...rest,
    socket,
    ...(isIP(target.host) === 0 && { servername: options.servername || target.host }),
  });
  // Whatever ends the connection below ends what is above, and the reason is told.
  socket.once("error", (error) => secure.destroy(error));
  return secure;
}

function targetOf({ host = "localhost", port }: Wanted, otherwise: number): { host: string; port: number } {
  return { host, port: Number(port ?? otherwise) };
}

/** What undici asks of a connector, as far as it is used here. */
export interface ConnectorOptions {
  readonly hostname: string;
  readonly protocol: string;
  readonly port: string;
  readonly servername?: string | null;
}

export type ConnectorCallback = (
  ...result: [error: null, socket: Duplex] | [error: Error, socket: null]
) => void;

/** For the caller's own undici: `new Agent({ connect: createConnector(client) })`. */
export function createConnector(
  client: Dialer,
  tls: ConnectionOptions = {},
): (options: ConnectorOptions, callback: ConnectorCallback) => void {
  return ({ hostname, protocol, port, servername }, callback) => {
    const isTls = protocol === "https:";
    const host = hostname.replace(/^\[(.*)\]$/, "$1");
    const wanted: Wanted = { host, ...(port !== "" && { port: Number(port) }) };
    const socket = isTls
      ? overTls(client, { ALPNProtocols: ["http/1.1"], ...tls, ...wanted, ...(servername && { servername }) })
      : createTunnelSocket(client, targetOf(wanted, 80));
    const failed = (error: Error): void => callback(error, null);
    socket.once("error", failed);
    socket.once(isTls ? "secureConnect" : "connect", () => {
      socket.removeListener("error", failed);
      callback(null, socket);
    });
  };
}
