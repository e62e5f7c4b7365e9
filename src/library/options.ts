/** What the library is told (PG-120), and what programs below it want to know. */
import { hostname } from "node:os";
import { type IpAddress, type Log, type Secret, secret } from "../base/index.ts";
import { externalIdOf, type PortalUrl, parsePortalUrl } from "../portal/protocol/index.ts";
import type { LogRecord } from "../program/log-format.ts";
import { type InboundFlow, type SocketChoice, toAddress } from "../program/userspace/index.ts";
import { usage } from "./error.ts";
import { createRecordLog } from "./log.ts";

export type { LogRecord } from "../program/log-format.ts";

export interface BaseOptions {
  /** `wss://portal.example`; with http and https, too. */
  readonly apiUrl: string | URL;
  /** Asked for once, when the instance starts. */
  readonly token: string | (() => string | Promise<string>);
  /** What the portal knows this instance by; it stays the same from start to start. */
  readonly id: string;
  /** For people; default: the host's name. */
  readonly name?: string;
  /** UDP port; default: any. */
  readonly listenPort?: number;
  /** How long to try to come back to a portal that is lost; default: for ever, a gateway a day. */
  readonly maxPartitionMs?: number;
  /** Further trusted roots for the portal, as PEM. */
  readonly ca?: readonly string[];
  /** Addresses of this machine to be reached at; default: those of all interfaces. */
  readonly addresses?: readonly string[];
  /**
   * `fast`: sockets of our own by FFI, and two threads; where they are not to be had the start fails. `plain`: the
   * runtime's sockets, nothing native, everything in this thread. Default `auto`, fast where that works; `status()`
   * says which, and why.
   */
  readonly sockets?: SocketChoice;
  readonly log?: (record: LogRecord) => void;
  /** As `--log` has it, `[target=]level,…`; default `info`. */
  readonly logFilter?: string;
  /** Ends the start, and later the instance. */
  readonly signal?: AbortSignal;
}

export interface ClientOptions extends BaseOptions {
  /** Without privilege and device: the only one there is yet. */
  readonly mode?: "userspace";
  /** Whom to ask for names that no resource has, if the portal names nobody. */
  readonly systemResolvers?: readonly string[];
  /** Whether the internet resource is used, if it is granted; default: no. */
  readonly internetResource?: boolean;
}

export interface GatewayOptions extends BaseOptions {
  readonly mode?: "userspace";
  /**
   * Addresses of a name that is granted; default: the system's resolver, and then the host's name servers are asked
   * for clients' other questions about such names (TXT, MX, SRV), too.
   */
  readonly resolver?: (name: string, family: 4 | 6) => Promise<readonly string[]>;
  /** Answers flows; one that it does not decide about is refused. Default: `flow.forward()`. */
  readonly onFlow?: (flow: InboundFlow) => void | Promise<void>;
}

/** Options as the programs have them. */
export interface ReadOptions {
  readonly url: PortalUrl;
  readonly token: Secret<string>;
  readonly login: { readonly externalId: string; readonly name: string };
  readonly port: number;
  readonly addresses: readonly IpAddress[] | undefined;
  readonly sockets: SocketChoice;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly log: Log;
}

/** @throws PosternError `host` with the detail `usage` */
export async function readOptions(options: BaseOptions & { readonly mode?: string }): Promise<ReadOptions> {
  const { apiUrl, id, name, listenPort = 0, addresses, mode = "userspace", sockets = "auto" } = options;
  if (mode !== "userspace")
    throw usage(`there is no mode '${mode}'`, "run `postern client` for a TUN device");
  if (!["auto", "fast", "plain"].includes(sockets))
    throw usage(`there are no sockets '${sockets}'`, "use auto, fast or plain");
  const url = parsePortalUrl(String(apiUrl));
  if (!url.ok) throw usage(`apiUrl ${apiUrl} is no portal address`, "use ws://, wss://, http:// or https://");
  if (id === "") throw usage("id is empty", "give each instance a name of its own that stays the same");
  const log = createRecordLog(options.log, options.logFilter);
  const token = typeof options.token === "string" ? options.token : await options.token();
  return {
    url: url.value,
    token: secret(token),
    login: { externalId: externalIdOf(id), name: name ?? hostname() },
    port: listenPort,
    addresses: addresses?.map(readAddress),
    sockets,
    env: process.env,
    log,
  };
}

export function readAddress(text: string): IpAddress {
  const address = toAddress(text);
  if (address === undefined) throw usage(`${text} is no IP address`);
  return address;
}
