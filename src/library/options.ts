/** What the library is told (PG-120), and what programs below it want to know. */
import { hostname } from "node:os";
import { type IpAddress, type Log, type Secret, secret } from "../base/index.ts";
import { externalIdOf, type PortalUrl, parsePortalUrl } from "../portal/protocol/index.ts";
import type { LogRecord } from "../program/log-format.ts";
import { type AskToken, inTime } from "../program/token-renewal.ts";
import { type InboundFlow, type SocketChoice, toAddress } from "../program/userspace/index.ts";
import { usage } from "./error.ts";
import { createRecordLog } from "./log.ts";
import { checkKinds } from "./option-kinds.ts";

export type { LogRecord } from "../program/log-format.ts";

/** What the function is told when it is asked for a token. */
export interface TokenRequest {
  /** The token that the portal refuses, or takes no more; absent at the start. */
  readonly refused?: string;
}

export type Token = string | ((request: TokenRequest) => string | Promise<string>);

/** Of every mode. */
export interface CommonOptions {
  /** `wss://portal.example`; with http and https, too. */
  readonly apiUrl: string | URL;
  /** A function is asked when the instance starts, and again when the portal refuses what it gave. */
  readonly token: Token;
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
  readonly log?: (record: LogRecord) => void;
  /** As `--log` has it, `[target=]level,…`; default `info`. */
  readonly logFilter?: string;
  /** Ends the start, and later the instance. */
  readonly signal?: AbortSignal;
}

export interface BaseOptions extends CommonOptions {
  /** Addresses of this machine to be reached at; default: those of all interfaces. */
  readonly addresses?: readonly string[];
  /**
   * `fast`: sockets of our own by FFI, and two threads; where they are not to be had the start fails. `plain`: the
   * runtime's sockets, nothing native, everything in this thread. Default `auto`, fast where that works; `status()`
   * says which, and why.
   */
  readonly sockets?: SocketChoice;
}

export interface ClientOptions extends BaseOptions {
  /** Without privilege and device. */
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
  /**
   * A record for `log` on target `flow_logs.tcp` or `flow_logs.udp` for each flow that has ended: who reached what, when,
   * and how much (PG-104). Default: no.
   */
  readonly flowLogs?: boolean;
}

/** Options as the programs have them. */
export interface ReadOptions {
  readonly url: PortalUrl;
  readonly token: Secret<string>;
  readonly askToken: AskToken | undefined;
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
  if (mode !== "userspace") throw usage(`there is no mode '${mode}'`, "use userspace or tun");
  refuse(options, ONLY_TUN, "tun");
  checkKinds(options);
  if (!["auto", "fast", "plain"].includes(sockets))
    throw usage(`there are no sockets '${sockets}'`, "use auto, fast or plain");
  const url = readWho(apiUrl, id);
  const log = createRecordLog(options.log, options.logFilter);
  return {
    url,
    ...(await readToken(options.token, options.signal)),
    login: { externalId: externalIdOf(id), name: name ?? hostname() },
    port: listenPort,
    addresses: addresses?.map(readAddress),
    sockets,
    env: process.env,
    log,
  };
}

/** Options that one mode alone has. */
export const ONLY_USERSPACE = ["addresses", "sockets", "systemResolvers", "onFlow", "resolver"];
const ONLY_TUN = [
  ...["tunName", "instance", "egressInterface", "threads", "dnsControl"],
  ...["masquerade", "hostAccess", "allowLinkLocal"],
];

/** What would have no effect is a mistake. @throws PosternError `host` with the detail `usage` */
export function refuse(options: object, names: readonly string[], mode: "userspace" | "tun"): void {
  const given = Object.entries(options).find(([name, value]) => value !== undefined && names.includes(name));
  if (given !== undefined) throw usage(`${given[0]} is an option of mode '${mode}' alone`, "leave it out");
}

/** @throws PosternError `host` with the detail `usage` */
export function readWho(apiUrl: string | URL, id: string): PortalUrl {
  const url = parsePortalUrl(String(apiUrl));
  if (!url.ok) throw usage(`apiUrl ${apiUrl} is no portal address`, "use ws://, wss://, http:// or https://");
  if (id === "") throw usage("id is empty", "give each instance a name of its own that stays the same");
  return url.value;
}

/** @throws what the function throws, or the signal's reason; PosternError `timeout`, `host` with the detail `usage` */
export async function readToken(
  given: Token,
  signal: AbortSignal | undefined,
): Promise<{ readonly token: Secret<string>; readonly askToken: AskToken | undefined }> {
  if (typeof given !== "function") return { token: toToken(given), askToken: undefined };
  return {
    token: toToken(await inTime(given({}), { signal })),
    askToken: async (refused) => toToken(await given({ refused: refused.reveal() })),
  };
}

/** What is no token is not shown: it may be a part of one. */
function toToken(given: unknown): Secret<string> {
  if (typeof given === "string" && given.trim() !== "") return secret(given);
  const found = typeof given === "string" ? "empty" : `no text but ${given === null ? "null" : typeof given}`;
  throw usage(
    `token is ${found}`,
    "give the token that was made for this instance, or a function that gives it",
  );
}

export function readAddress(text: string): IpAddress {
  const address = toAddress(text);
  if (address === undefined) throw usage(`${text} is no IP address`);
  return address;
}
