/** Whom the host asks for names, past what DNS control has made of its files (DN-83, DN-87, PG-64). */
import { readFileSync } from "node:fs";
import { formatIp } from "../base/index.ts";
import { isSentinelRange } from "../dns/index.ts";
import { isOurs, recoverOriginal } from "./resolv-conf.ts";
import { RESOLV_CONF_PATHS } from "./resolv-conf-file.ts";
import { type NameServer, parseResolvConf, type ResolverSettings } from "./resolver-files.ts";

export interface ResolverFiles {
  readonly resolvConf: string;
  /** What it was before DNS control. */
  readonly backup: string;
  /** The servers behind systemd-resolved's stub. */
  readonly resolvedConf: string;
  readonly hosts: string;
}

export const SYSTEM_FILES: ResolverFiles = {
  resolvConf: RESOLV_CONF_PATHS.file,
  backup: RESOLV_CONF_PATHS.backup,
  resolvedConf: "/run/systemd/resolve/resolv.conf",
  hosts: "/etc/hosts",
};

/** systemd-resolved's stub, which asks on unmarked. */
const LOCAL_STUBS = ["127.0.0.53", "127.0.0.54"];

/**
 * Never the client's own sentinels: whoever is asked past the tunnel must not lie in it (PG-64).
 * @param serversMax default: as many as glibc reads
 */
export function readSettings(files: ResolverFiles, serversMax?: number): ResolverSettings {
  const settings = withoutSentinels(parseResolvConf(readResolvConf(files), serversMax));
  const isStub = settings.servers.every((server) => LOCAL_STUBS.includes(formatIp(server.address)));
  if (!isStub) return settings;
  const { servers } = withoutSentinels(parseResolvConf(readOrEmpty(files.resolvedConf), serversMax));
  return servers.length === 0 ? settings : { ...settings, servers };
}

/** The servers of the host, in the order of its file. */
export function readHostServers(serversMax: number, files = SYSTEM_FILES): readonly NameServer[] {
  return readSettings(files, serversMax).servers;
}

export function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // A host without the file knows nothing by it.
    return "";
  }
}

/** While DNS control has the file, what it was before (DN-107). */
function readResolvConf({ resolvConf, backup }: ResolverFiles): string {
  const text = readOrEmpty(resolvConf);
  if (!isOurs(text)) return text;
  const before = readOrEmpty(backup);
  return before === "" ? recoverOriginal(text, isSentinelRange) : before;
}

/** systemd-resolved lists the servers of our own link, too. */
function withoutSentinels(settings: ResolverSettings): ResolverSettings {
  return { ...settings, servers: settings.servers.filter(({ address }) => !isSentinelRange(address)) };
}
