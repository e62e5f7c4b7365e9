/**
 * The host's DNS while the client runs: whom it asks, what it asked before, and that it asks as before when the
 * client has ended (DN-95 to DN-110, PG-40).
 */
import { spawnSync } from "node:child_process";
import {
  accessSync,
  constants,
  existsSync,
  lstatSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import type { Kernel } from "../../bindings/linux/index.ts";
import { after, equalValues, formatIp, type Instant, type Log } from "../base/index.ts";
import { isSentinelRange } from "../dns/index.ts";
import { chooseDnsMode, type DnsMode, type DnsSnapshot } from "./dns-mode.ts";
import { helperEnvironment, runLater } from "./helper-programs.ts";
import { createRepairLimit } from "./repair-limit.ts";
import { type NamedServer, serversIn, serversInResolvectl } from "./resolv-conf.ts";
import {
  openResolvConf,
  RESOLV_CONF_PATHS,
  type ResolvConfFile,
  type ResolvConfPaths,
  readText,
} from "./resolv-conf-file.ts";
import { type ResolvedWanted, resolvedCommands } from "./resolved.ts";
import { createWriteLock } from "./write-lock.ts";

export type HostDnsWanted = ResolvedWanted;

export interface DnsControl {
  readonly mode: DnsMode;
  /** The servers that the host asked before us. */
  systemServers(): readonly NamedServer[];
  /** Brings the host to what is wanted; what fails is logged, and tried again by `look`. */
  want(now: Instant, wanted: HostDnsWanted): void;
  /** Looks whether the host is as wanted; the files to watch are `watched`. */
  look(now: Instant): void;
  /** Makes the host forget answers (DN-101). */
  flush(): void;
  /** Everything as before. Blocks; never throws. */
  revert(): void;
  readonly watched: readonly string[];
}

export interface DnsControlPaths extends ResolvConfPaths {
  /** The servers of all links, as systemd-resolved lists them. */
  readonly resolvedServers: string;
  /** Held while the file is written; whoever may not write there cannot hold up who may (DN-104). */
  readonly lock: string;
}

export const DNS_CONTROL_PATHS: DnsControlPaths = {
  ...RESOLV_CONF_PATHS,
  resolvedServers: "/run/systemd/resolve/resolv.conf",
  lock: "/run/postern/resolv.conf.lock",
};

export interface DnsControlOptions {
  readonly wanted: "auto" | DnsMode;
  readonly tunName: string;
  /** The file says whose servers it names, since several clients may have set it. */
  readonly instance: string;
  readonly log: Log;
  /** Keeps clients that write the file in the same instant apart (DN-104). */
  readonly kernel?: Kernel;
  readonly paths?: DnsControlPaths;
  /** Runs resolvectl; tests have their own. */
  readonly resolvectl?: Resolvectl;
}

export interface Resolvectl {
  /** To its end; `undefined` when it fails or is not there. */
  now(parameters: readonly string[]): string | undefined;
  later(parameters: readonly string[]): Promise<string | undefined>;
}

const NAMED_NETWORKS = "/run/netns";
const RESOLVECTL_MS_MAX = 5_000;
/** How soon what has failed is tried again (DN-96). */
const AGAIN_MS = 30_000;
const OVERWRITTEN_MAX = 5;
const OVERWRITTEN_PAUSE_MS = 600_000;

/**
 * Chooses how, and undoes what an earlier process has left.
 *
 * @throws PosternError `host` for a mode that was asked for and cannot be
 */
export function openDnsControl(options: DnsControlOptions): DnsControl {
  const { log, paths = DNS_CONTROL_PATHS, resolvectl = SYSTEM_RESOLVECTL } = options;
  const parts = { ...options, paths, resolvectl };
  // What stands in another network's file may be in use there.
  if (!isForeign(paths.file)) revertHostDns(parts);
  const { mode, reason } = chooseDnsMode(options.wanted, readSnapshot(paths, resolvectl));
  if (reason !== undefined)
    log.warn?.("the host's DNS stays as it is: names of resources do not resolve", { reason });
  log.info?.("DNS control", { mode });
  switch (mode) {
    case "systemd-resolved":
      return controlResolved(parts);
    case "etc-resolv-conf":
      return controlFile(parts);
    case "disabled":
      return leaveAlone(parts);
  }
}

/** `--revert-dns`, and the beginning of every start (DN-105, DN-108). */
export function revertHostDns(options: Omit<DnsControlOptions, "wanted">): void {
  const { log, tunName, paths = DNS_CONTROL_PATHS, resolvectl = SYSTEM_RESOLVECTL } = options;
  try {
    const others = openFile({ ...options, paths }).revert();
    if (others.length > 0) log.info?.("DNS servers of clients that run stay", { instances: others });
  } catch (error) {
    log.error?.("the file of DNS servers cannot be put back", {
      file: paths.file,
      backup: paths.backup,
      reason: String(error),
    });
  }
  // Without the device there is nothing to revert, and the command fails.
  resolvectl.now(["revert", tunName]);
}

type Parts = Required<Omit<DnsControlOptions, "kernel">> & Pick<DnsControlOptions, "kernel">;

function openFile({
  paths,
  instance,
  log,
  kernel,
}: Omit<Parts, "wanted" | "tunName" | "resolvectl">): ResolvConfFile {
  const startedAt = startOfProcess(process.pid) ?? 0;
  const file = openResolvConf(paths, isSentinelRange, log, {
    self: { instance, process: process.pid, startedAt },
    isAlive: (owner) => startOfProcess(owner.process) === owner.startedAt,
  });
  const locked = createWriteLock(kernel, paths.lock, log);
  return {
    ...file,
    apply: (wanted) => locked(() => file.apply(wanted)),
    revert: () => locked(() => file.revert()),
  };
}

/** When a process started, in the kernel's ticks since boot (proc_pid_stat(5)); `undefined` if there is none. */
function startOfProcess(pid: number): number | undefined {
  const text = readText(`/proc/${pid}/stat`);
  // The name in parentheses may contain anything.
  const field = text?.slice(text.lastIndexOf(")") + 2).split(" ")[19];
  return field === undefined ? undefined : Number(field);
}

/** By commands to systemd-resolved, which forgets them with the device (DN-98 to DN-102). */
function controlResolved({ tunName, log, paths, resolvectl }: Parts): DnsControl {
  let wanted: HostDnsWanted | undefined;
  let again: Instant | undefined;
  let running = Promise.resolve();

  function tell(now: Instant, to: HostDnsWanted): void {
    again = undefined;
    // One after the other: an older call must not overtake a newer one.
    running = running.then(async () => {
      for (const { parameters, isNeeded } of resolvedCommands(tunName, to)) {
        if (to !== wanted) return;
        if ((await resolvectl.later(parameters)) !== undefined) continue;
        if (!isNeeded) {
          log.debug?.("resolvectl refused a setting", { parameters });
          continue;
        }
        log.error?.("systemd-resolved does not take our DNS servers: tried again in 30 s", { parameters });
        again = after(now, AGAIN_MS);
        return;
      }
      await resolvectl.later(["flush-caches"]);
      log.info?.("DNS control applied", { servers: to.servers.map(formatIp), domain: to.searchDomain });
    });
  }

  return {
    mode: "systemd-resolved",
    systemServers() {
      const text = readText(paths.resolvedServers);
      return text === undefined ? serversInResolvectl(resolvectl.now(["dns"]) ?? "") : serversIn(text);
    },
    want(now, to) {
      if (isNothing(to, log) || equalValues(to, wanted)) return;
      wanted = to;
      tell(now, to);
    },
    look(now) {
      if (wanted !== undefined && again !== undefined && now >= again) tell(now, wanted);
    },
    flush: () => void resolvectl.later(["flush-caches"]),
    revert() {
      wanted = undefined;
      resolvectl.now(["revert", tunName]);
      log.info?.("DNS control reverted");
    },
    watched: [paths.resolvedServers],
  };
}

/** By the file that programs read themselves (DN-103 to DN-107). */
function controlFile(parts: Parts): DnsControl {
  const { log, paths } = parts;
  const file = openFile(parts);
  const limit = createRepairLimit({ repairsMax: OVERWRITTEN_MAX, pauseMs: OVERWRITTEN_PAUSE_MS });
  let wanted: HostDnsWanted | undefined;
  let again: Instant | undefined;

  function apply(now: Instant, to: HostDnsWanted): void {
    again = undefined;
    try {
      file.apply(to);
      log.info?.("DNS control applied", { servers: to.servers.map(formatIp), domain: to.searchDomain });
    } catch (error) {
      log.error?.("the file of DNS servers cannot be written: tried again in 30 s", {
        reason: String(error),
      });
      again = after(now, AGAIN_MS);
    }
  }

  return {
    mode: "etc-resolv-conf",
    systemServers: () => serversIn(file.original()),
    want(now, to) {
      if (isNothing(to, log) || equalValues(to, wanted)) return;
      wanted = to;
      apply(now, to);
    },
    look(now) {
      if (wanted === undefined) return;
      if (again !== undefined) {
        if (now >= again) apply(now, wanted);
        return;
      }
      if (!file.isOverwritten()) return;
      const verdict = limit.ask(now);
      if (verdict === "give-up") {
        log.error?.("somebody else keeps writing the file of DNS servers: it is left alone for 10 minutes", {
          file: paths.file,
        });
      }
      if (verdict === "repair") apply(now, wanted);
    },
    // The host keeps no answers in this mode; nscd is not ours (DN-110).
    flush: () => {},
    revert() {
      wanted = undefined;
      try {
        file.revert();
        log.info?.("DNS control reverted");
      } catch (error) {
        log.error?.("the file of DNS servers cannot be put back", {
          backup: paths.backup,
          reason: String(error),
        });
      }
    },
    watched: [paths.file],
  };
}

/** Sentinels answer, but nobody is told of them. */
function leaveAlone(parts: Parts): DnsControl {
  const { log, paths } = parts;
  const file = openFile(parts);
  return {
    mode: "disabled",
    systemServers() {
      const servers = serversIn(file.original());
      const isStub = servers.every(({ address }) => formatIp(address).startsWith("127.0.0.5"));
      // Its stub would ask whom we tell it to ask (PG-151).
      const behind = isStub ? serversIn(readText(paths.resolvedServers) ?? "") : [];
      return behind.length > 0 ? behind : servers;
    },
    want: (_, { servers }) => log.info?.("DNS servers of the tunnel", { servers: servers.map(formatIp) }),
    look: () => {},
    flush: () => {},
    revert: () => {},
    watched: [paths.file],
  };
}

/** A host without any server would be without names (DN-97). */
function isNothing({ servers }: HostDnsWanted, log: Log): boolean {
  if (servers.length > 0) return false;
  log.warn?.("no DNS server to give to the host: nothing is changed");
  return true;
}

export function readSnapshot(paths: DnsControlPaths, resolvectl: Resolvectl): DnsSnapshot {
  return {
    resolvConf: readResolvConf(paths.file),
    isForeign: isForeign(paths.file),
    hasResolved: resolvectl.now(["status"]) !== undefined,
  };
}

/** Whether we are in a network namespace of our own, with the file of the host. */
function isForeign(path: string): boolean {
  return (
    path === RESOLV_CONF_PATHS.file && hasOwnNetwork() && !isMountPoint(path) && !isMountPoint(dirname(path))
  );
}

/** Not that of process 1, or one that `ip netns` has made. */
function hasOwnNetwork(): boolean {
  try {
    const own = statSync("/proc/self/ns/net").ino;
    const named = existsSync(NAMED_NETWORKS) ? readdirSync(NAMED_NETWORKS) : [];
    if (named.some((name) => statSync(join(NAMED_NETWORKS, name)).ino === own)) return true;
    return statSync("/proc/1/ns/net").ino !== own;
  } catch {
    // Who may not look at process 1 has no right to write files of root's either.
    return false;
  }
}

/** Mounted over: by `ip netns exec` from /etc/netns, or by a container. */
function isMountPoint(path: string): boolean {
  const lines = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
  return lines.some((line) => line.split(" ")[4] === path);
}

function readResolvConf(path: string): DnsSnapshot["resolvConf"] {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return { kind: "absent" };
  const text = readText(path) ?? "";
  if (stat.isSymbolicLink()) {
    // Most links of installers begin with "..".
    return { kind: "symlink", target: resolve(dirname(path), readlinkSync(path)), text };
  }
  return stat.isFile() ? { kind: "file", isWritable: isWritable(path), text } : { kind: "other" };
}

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

const SYSTEM_RESOLVECTL: Resolvectl = {
  now(parameters) {
    const child = spawnSync("resolvectl", parameters, {
      ...{ encoding: "utf8", timeout: RESOLVECTL_MS_MAX, env: helperEnvironment() },
      stdio: ["ignore", "pipe", "ignore"],
    });
    return child.error === undefined && child.status === 0 ? child.stdout : undefined;
  },
  later: (parameters) => runLater("resolvectl", parameters, { timeout: RESOLVECTL_MS_MAX }),
};
