/** What systemd-resolved is told about our device, as commands of resolvectl (DN-98 to DN-101). Pure. */
import { formatIp, type IpAddress } from "../base/index.ts";

/** systemd 252 took 200 domains and refused a call with 300 altogether (measured). */
const RESOLVED_MAX_DOMAINS = 200;

export interface ResolvedWanted {
  readonly servers: readonly IpAddress[];
  readonly searchDomain: string | undefined;
  /** Ends of the patterns of DNS resources, without wildcards (DN-100). */
  readonly suffixes: readonly string[];
}

export interface ResolvedCommand {
  readonly parameters: readonly string[];
  /** Old versions do not know the others. */
  readonly isNeeded: boolean;
}

export function resolvedCommands(tun: string, wanted: ResolvedWanted): readonly ResolvedCommand[] {
  const needed = (...parameters: string[]): ResolvedCommand => ({ parameters, isNeeded: true });
  const optional = (...parameters: string[]): ResolvedCommand => ({ parameters, isNeeded: false });
  return [
    needed("dns", tun, ...wanted.servers.map(formatIp)),
    needed("domain", tun, ...resolvedDomains(wanted)),
    optional("default-route", tun, "true"),
    optional("llmnr", tun, "true"),
    // Proxy addresses of signed zones would be bogus.
    optional("dnssec", tun, "no"),
    optional("dnsovertls", tun, "no"),
  ];
}

/**
 * `~.` is always there: with a search domain alone other links would be asked at the same time, and the first
 * answer would win (measured with systemd 252). A suffix beats another link's shorter domain.
 */
export function resolvedDomains({
  searchDomain,
  suffixes,
}: Omit<ResolvedWanted, "servers">): readonly string[] {
  const fixed = [...(searchDomain === undefined ? [] : [searchDomain]), "~."];
  const longestFirst = [...new Set(suffixes)]
    .filter((suffix) => suffix !== "" && suffix !== searchDomain)
    .sort((a, b) => b.split(".").length - a.split(".").length || (a < b ? -1 : 1));
  return [...fixed, ...longestFirst.map((suffix) => `~${suffix}`)].slice(0, RESOLVED_MAX_DOMAINS);
}
