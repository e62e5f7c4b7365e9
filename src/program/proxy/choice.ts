/** Which HTTP proxy the environment names for a connection (RL-211). */
import {
  contains,
  type IpAddress,
  PosternError,
  type Prefix,
  parseIp,
  parsePrefix,
  type Secret,
  secret,
} from "../../base/index.ts";

export interface HttpProxy {
  readonly scheme: "http" | "https";
  /** A name or an address, IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
  /** `USER:PASSWORD`, decoded. */
  readonly credentials: Secret<string> | undefined;
}

export interface Target {
  readonly host: string;
  readonly port: number;
}

export type Environment = Readonly<Record<string, string | undefined>>;

/** Lowercase forms win, as curl has it. */
const PROXY_VARIABLES = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] as const;
const EXCEPTION_VARIABLES = ["no_proxy", "NO_PROXY"] as const;
const DEFAULT_PORTS = { http: 80, https: 443 } as const;

/**
 * @returns `undefined`: no proxy is named, or `NO_PROXY` covers the target
 * @throws PosternError `usage` when the address of the proxy cannot be read
 */
export function proxyFor(target: Target, env: Environment): HttpProxy | undefined {
  const name = PROXY_VARIABLES.find((variable) => (env[variable] ?? "") !== "");
  if (name === undefined || isExcepted(target, env)) return undefined;
  return parseProxy(name, env[name] ?? "");
}

function parseProxy(variable: string, text: string): HttpProxy {
  const address = text.includes("://") ? text : `http://${text}`;
  if (!URL.canParse(address)) throw unusable(variable, "is not an address");
  const url = new URL(address);
  const scheme = url.protocol.slice(0, -1);
  if (url.hostname === "") throw unusable(variable, "names no host");
  if (scheme !== "http" && scheme !== "https") throw unusable(variable, `names a proxy by ${scheme}://`);
  const credentials = url.username === "" && url.password === "" ? undefined : credentialsOf(variable, url);
  return {
    scheme,
    host: withoutBrackets(url.hostname),
    port: url.port === "" ? DEFAULT_PORTS[scheme] : Number(url.port),
    credentials,
  };
}

function credentialsOf(variable: string, url: URL): Secret<string> {
  try {
    return secret(`${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`);
  } catch {
    throw unusable(variable, "has credentials with a broken percent sign");
  }
}

/** The value is not shown: it may hold a password. */
function unusable(variable: string, why: string): PosternError {
  const hint = "set it to http://HOST:PORT or https://HOST:PORT, or name the host in NO_PROXY";
  return new PosternError("usage", `${variable} ${why}`, hint);
}

function isExcepted({ host, port }: Target, env: Environment): boolean {
  const name = EXCEPTION_VARIABLES.find((variable) => env[variable] !== undefined);
  const entries = (name === undefined ? "" : (env[name] ?? "")).split(/[\s,]+/);
  const address = parseIp(host);
  return entries.some((entry) => {
    if (entry === "*") return true;
    const { host: pattern, port: only } = splitPort(entry);
    if (pattern === "" || (only !== undefined && only !== port)) return false;
    return address.ok ? coversAddress(pattern, address.value) : coversName(pattern, host);
  });
}

function coversAddress(pattern: string, address: IpAddress): boolean {
  const parsed = parsePrefix(pattern.includes("/") ? pattern : wholePrefix(pattern));
  return parsed.ok && isOfFamily(parsed.value, address) && contains(parsed.value, address);
}

function wholePrefix(address: string): string {
  return `${address}/${address.includes(":") ? 128 : 32}`;
}

function isOfFamily(prefix: Prefix, address: IpAddress): boolean {
  return prefix.address.length === address.length;
}

/** `example.com`, `.example.com` and `*.example.com` are the domain and all that is below it. */
function coversName(pattern: string, host: string): boolean {
  const domain = pattern.toLowerCase().replace(/^\*?\./, "");
  const name = host.toLowerCase().replace(/\.$/, "");
  return name === domain || name.endsWith(`.${domain}`);
}

/** `HOST:PORT`; an IPv6 address with a port stands in brackets. */
function splitPort(entry: string): { readonly host: string; readonly port: number | undefined } {
  const match = /^(?<host>\[[^\]]*\]|[^:]*)(?::(?<port>\d{1,5}))?$/.exec(entry);
  if (match?.groups === undefined) return { host: entry, port: undefined };
  const { host = "", port } = match.groups;
  return { host: withoutBrackets(host), port: port === undefined ? undefined : Number(port) };
}

function withoutBrackets(host: string): string {
  return host.replace(/^\[(.*)\]$/, "$1");
}
