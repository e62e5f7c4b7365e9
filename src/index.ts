/**
 * Postern in a program: reach private resources, or offer them (PG-120), without root, device or native add-on, or with
 * a TUN device for the whole host.
 *
 *     const client = await connectClient({ apiUrl: "wss://portal.example", token, id: "report-job" });
 *     const socket = await client.dial({ host: "db.corp.example", port: 5432 });
 *
 * Importing it does nothing: what an instance needs is loaded when the first one starts.
 */
import type { Client } from "./library/face.ts";
import type { Gateway } from "./library/gateway.ts";
import type { ClientOptions, GatewayOptions } from "./library/options.ts";
import type { Portal, PortalOptions } from "./library/portal.ts";
import type { Relay, RelayOptions } from "./library/relay.ts";
import type { TunClient, TunClientOptions, TunGateway, TunGatewayOptions } from "./library/tun.ts";

export { type ErrorCode, PosternError } from "./library/error.ts";
export type { Client, ClientFetch, Connection, DialOptions, FetchOptions, Resource } from "./library/face.ts";
export type { Gateway } from "./library/gateway.ts";
export type {
  AnyEvent,
  CloseReason,
  Events,
  Instance,
  InstanceState,
  Status,
  TunStatus,
} from "./library/instance.ts";
export type {
  BaseOptions,
  ClientOptions,
  CommonOptions,
  GatewayOptions,
  LogRecord,
  Token,
  TokenRequest,
} from "./library/options.ts";
export type { Portal, PortalOptions } from "./library/portal.ts";
export type { Relay, RelayOptions, RelayStatus } from "./library/relay.ts";
export type {
  TunClient,
  TunClientOptions,
  TunGateway,
  TunGatewayOptions,
  TunOptions,
} from "./library/tun.ts";
export type {
  Addr,
  DatagramFlow,
  FlowRefusal,
  HostTarget,
  InboundEcho,
  InboundFlow,
  InboundTcpFlow,
  InboundUdpFlow,
  TcpSocket,
  UdpSocket,
} from "./program/userspace/index.ts";

/**
 * Signs in at the portal as a client; resolves when it has sent the first configuration. With `mode: "tun"` the whole
 * host reaches resources, by a device, routes and DNS, as with the program `postern client`: that needs root or
 * CAP_NET_ADMIN, and `close` takes all of it back.
 *
 * @throws PosternError `auth`, `portal_unreachable`, `portal_tls`, `host`
 */
export async function connectClient(options: TunClientOptions): Promise<TunClient>;
export async function connectClient(options: ClientOptions): Promise<Client>;
export async function connectClient(options: ClientOptions | TunClientOptions): Promise<Client | TunClient> {
  options.signal?.throwIfAborted();
  if (options.mode === "tun") return await (await import("./library/tun.ts")).connectTunClient(options);
  const library = await import("./library/client.ts");
  return await library.connectClient(options);
}

/**
 * Signs in at the portal as a gateway; resolves when clients can be sent here. With `mode: "tun"` the host's kernel
 * forwards what they send, as with the program `postern gateway`: that needs root or CAP_NET_ADMIN.
 *
 * @throws PosternError `auth`, `portal_unreachable`, `portal_tls`, `host`
 */
export async function startGateway(options: TunGatewayOptions): Promise<TunGateway>;
export async function startGateway(options: GatewayOptions): Promise<Gateway>;
export async function startGateway(
  options: GatewayOptions | TunGatewayOptions,
): Promise<Gateway | TunGateway> {
  options.signal?.throwIfAborted();
  if (options.mode === "tun") return await (await import("./library/tun.ts")).startTunGateway(options);
  const library = await import("./library/gateway.ts");
  return await library.startGateway(options);
}

/** Serves a portal from a file, or with `dev` for trying out. @throws PosternError `host` */
export async function startPortal(options: PortalOptions): Promise<Portal> {
  const library = await import("./library/portal.ts");
  return await library.startPortal(options);
}

/**
 * Relays data between clients and gateways that find no other way; resolves when the portal has joined it. Needs FFI,
 * no privilege.
 *
 * @throws PosternError `auth`, `host`
 */
export async function startRelay(options: RelayOptions): Promise<Relay> {
  const library = await import("./library/relay.ts");
  return await library.startRelay(options);
}
