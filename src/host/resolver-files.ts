/** What a host says about names: /etc/resolv.conf (resolv.conf(5)) and /etc/hosts (hosts(5)). */
import { type IpAddress, parseIp } from "../base/index.ts";

export interface NameServer {
  readonly address: IpAddress;
  /** Of a link-local address: name or number of the interface (RFC 4007 §11). */
  readonly zone?: string;
}

export interface ResolverSettings {
  readonly servers: readonly NameServer[];
  /** Domains that short names are tried in. */
  readonly search: readonly string[];
  /** Names with at least that many dots are asked for as they are first. */
  readonly dotsMin: number;
  /** How long a server may take, and how often each is asked; absent: the asker's own numbers. */
  readonly timeoutMs?: number;
  readonly attempts?: number;
  /** Each question begins with another server. */
  readonly isRotated: boolean;
}

/** glibc reads no more of either. */
export const SERVERS_MAX = 3;
export const SEARCH_MAX = 6;
const DOTS_MAX = 15;
const TIMEOUT_S_MAX = 30;
const ATTEMPTS_MAX = 5;

/** Lines that cannot be read are skipped, as the system's resolver does. */
export function parseResolvConf(text: string, serversMax = SERVERS_MAX): ResolverSettings {
  const servers: NameServer[] = [];
  let search: readonly string[] = [];
  let options: ResolverOptions = { dotsMin: 1, isRotated: false };
  for (const line of text.split("\n")) {
    const [keyword, ...words] = line.trim().split(/\s+/);
    if (keyword === "nameserver") {
      const server = parseServer(words[0] ?? "");
      if (server !== undefined && servers.length < serversMax) servers.push(server);
    } else if (keyword === "search" || keyword === "domain") {
      // The last of these lines counts.
      search = words.slice(0, keyword === "domain" ? 1 : SEARCH_MAX).filter((domain) => domain !== ".");
    } else if (keyword === "options") {
      options = words.reduce(withOption, options);
    }
  }
  return { servers, search, ...options };
}

type ResolverOptions = Omit<ResolverSettings, "servers" | "search">;

/** One word of an `options` line; most of them are about what only the system's resolver does. */
function withOption(options: ResolverOptions, word: string): ResolverOptions {
  if (word === "rotate") return { ...options, isRotated: true };
  const [, name, digits] = /^(ndots|timeout|attempts):(\d{1,9})$/.exec(word) ?? [];
  const value = Number(digits);
  switch (name) {
    case "ndots":
      return { ...options, dotsMin: Math.min(DOTS_MAX, value) };
    case "timeout":
      return { ...options, timeoutMs: 1000 * Math.min(TIMEOUT_S_MAX, Math.max(1, value)) };
    case "attempts":
      return { ...options, attempts: Math.min(ATTEMPTS_MAX, Math.max(1, value)) };
    default:
      return options;
  }
}

function parseServer(text: string): NameServer | undefined {
  const [host = "", zone, ...more] = text.split("%");
  const address = parseIp(host);
  if (!address.ok || more.length > 0 || zone === "") return undefined;
  if (zone === undefined) return { address: address.value };
  return address.value.length === 16 ? { address: address.value, zone } : undefined;
}

/** The names to ask for, in order, when somebody says `name`. */
export function namesToTry(name: string, { search, dotsMin }: ResolverSettings): readonly string[] {
  if (name.endsWith(".")) return [name];
  const longer = search.map((domain) => `${name}.${domain}`);
  const dots = name.split(".").length - 1;
  return dots >= dotsMin ? [name, ...longer] : [...longer, name];
}

/** The addresses of a name in a hosts file, without regard to case. */
export function addressesInHosts(text: string, name: string): readonly IpAddress[] {
  const wanted = name.replace(/\.$/, "").toLowerCase();
  return text.split("\n").flatMap((line) => {
    const [address = "", ...names] = (line.split("#")[0] ?? "").trim().split(/\s+/);
    if (!names.some((one) => one.toLowerCase() === wanted)) return [];
    const parsed = parseIp(address);
    return parsed.ok ? [parsed.value] : [];
  });
}
