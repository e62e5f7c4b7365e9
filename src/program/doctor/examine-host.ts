/**
 * Looks at this host and changes nothing (PG-141). Sockets and one TUN device are opened to see what is
 * granted, and closed at once.
 */
import { spawnSync } from "node:child_process";
import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { release } from "node:os";
import {
  type BestRoute,
  type Kernel,
  OFFLOADS_ALL,
  OFFLOADS_TCP,
  openKernel,
  openRtnetlink,
  openTun,
  openUdpSockets,
  type Rtnetlink,
  supportsSegmentation,
  TUN_PATH,
} from "../../../bindings/linux/index.ts";
import { currentRuntime, runtimeVersion } from "../../../bindings/runtime/index.ts";
import { formatIp, malformed, type Parsed, PosternError, parsed } from "../../base/index.ts";
import {
  defaultRoutes,
  findHelper,
  helperEnvironment,
  isPrivileged,
  listDropChains,
  otherTunnel,
  parseResolvConf,
  policyRules,
  readSysctl,
  readTokenFile,
  type SysctlPath,
} from "../../host/index.ts";
import { describeError } from "../exit.ts";
import { RECEIVE_BUFFER_BYTES, SEND_BUFFER_BYTES } from "../shell/index.ts";
import type { HostFacts, KernelFacts, Role, TokenFact, UdpFacts, Way } from "./facts.ts";

/** Of no other program; it exists for a millisecond. */
const PROBE_DEVICE = "postern-doctor";
const RESOLVED_CONF = "/run/systemd/resolve/resolv.conf";
/** No device has this index. */
const NO_DEVICE = -1;

export interface Examination {
  readonly facts: HostFacts;
  /** Absent without system calls. */
  readonly kernel: Kernel | undefined;
}

/** @param tokenPath `--token-path`; absent: where the role's token is looked for */
export function examineHost(role: Role, tokenPath: string | undefined): Examination {
  const kernel = attempt(() => openKernel());
  const privileged = isPrivileged(readFileSync("/proc/self/status", "utf8"));
  const tunDevice = tunDeviceState();
  const kernelFacts = kernel.ok
    ? examineKernel(kernel.value, privileged && tunDevice === "usable")
    : undefined;
  const nft = findHelper("nft");
  const facts: HostFacts = {
    runtime: { name: currentRuntime(), version: runtimeVersion(), arch: process.arch },
    kernelRelease: release(),
    ffi: kernel.ok ? parsed(true) : kernel,
    isPrivileged: privileged,
    tunDevice,
    userNamespaces: whyNoUserNamespaces(),
    kernel: kernelFacts,
    sysctls: readSysctls(kernelFacts?.egress.v4?.device),
    nft,
    dropChains: nft === undefined ? undefined : attempt(listDropChains),
    nameServers: nameServers(),
    hasResolved: existsSync(RESOLVED_CONF),
    nowMs: Date.now(),
    tokens: tokenPaths(role, tokenPath).map(examineToken),
  };
  return { facts, kernel: kernel.ok ? kernel.value : undefined };
}

function examineKernel(kernel: Kernel, mayMakeDevice: boolean): KernelFacts {
  const rtnetlink = openRtnetlink(kernel);
  try {
    const { v4, v6 } = defaultRoutes(rtnetlink);
    const names = new Map(rtnetlink.links().map(({ index, name }) => [index, name]));
    return {
      egress: { v4: v4 && toWay(v4, names), v6: v6 && toWay(v6, names) },
      rules: examineRules(rtnetlink),
      otherTunnel: otherTunnel(rtnetlink, NO_DEVICE),
      udp: attempt(() => examineUdp(kernel)),
      tunOffloads: mayMakeDevice ? attempt(() => examineTun(kernel)) : undefined,
    };
  } finally {
    rtnetlink.close();
  }
}

function toWay({ outputIndex, gateway, source }: BestRoute, names: ReadonlyMap<number, string>): Way {
  return {
    device: names.get(outputIndex) ?? String(outputIndex),
    gateway: gateway && formatIp(gateway),
    source: source && formatIp(source),
  };
}

function examineRules(rtnetlink: Rtnetlink): KernelFacts["rules"] {
  const present = rtnetlink.rules(4);
  const ours = policyRules(4);
  const first = Math.min(...ours.map(({ priority = 0 }) => priority));
  const isOurTable = (table: number): boolean => ours.some((one) => one.table === table);
  const earlier = present.flatMap(({ priority = 0, table }) =>
    priority > 0 && priority < first && !isOurTable(table) ? [priority] : [],
  );
  const isTaken = present.some((rule) =>
    ours.some(
      ({ priority, table, mark }) =>
        rule.priority === priority && rule.table === table && !(rule.isInverted && rule.mark === mark),
    ),
  );
  return { earlier: [...new Set(earlier)].sort((a, b) => a - b), isTaken, isThere: present.length > 0 };
}

function examineUdp(kernel: Kernel): UdpFacts {
  const wanted = { sendBufferBytes: SEND_BUFFER_BYTES, receiveBufferBytes: RECEIVE_BUFFER_BYTES };
  const sockets = openUdpSockets(kernel, { port: { kind: "any" }, gro: true, ...wanted });
  try {
    const open = [sockets.v4, sockets.v6].filter((socket) => socket !== undefined);
    return {
      gso: open.every(({ fd }) => supportsSegmentation(kernel, fd)),
      gro: open.every(({ gro }) => gro),
      sendBytes: Math.min(...open.map(({ sendBufferBytes }) => sendBufferBytes)),
      receiveBytes: Math.min(...open.map(({ receiveBufferBytes }) => receiveBufferBytes)),
      sendBytesWanted: SEND_BUFFER_BYTES,
      receiveBytesWanted: RECEIVE_BUFFER_BYTES,
      missing: sockets.missing.map(({ family }) => `IPv${family}`),
    };
  } finally {
    sockets.close();
  }
}

function examineTun(kernel: Kernel): "all" | "tcp" | "none" {
  const tun = openTun(kernel, { name: PROBE_DEVICE });
  try {
    if ((tun.offloads & OFFLOADS_ALL) === OFFLOADS_ALL) return "all";
    return (tun.offloads & OFFLOADS_TCP) === OFFLOADS_TCP ? "tcp" : "none";
  } finally {
    tun.close();
  }
}

function tunDeviceState(): HostFacts["tunDevice"] {
  if (!existsSync(TUN_PATH)) return "missing";
  return isAllowed(TUN_PATH, constants.R_OK | constants.W_OK) ? "usable" : "refused";
}

/** Asked by making one: the reasons against it are many, and differ by distribution. */
function whyNoUserNamespaces(): string | undefined {
  if (process.geteuid?.() === 0) return undefined;
  const child = spawnSync("unshare", ["--user", "--map-root-user", "--net", "true"], {
    env: helperEnvironment(),
    encoding: "utf8",
    timeout: 5_000,
  });
  if (child.status === 0) return undefined;
  return child.error?.message ?? child.stderr.trim().split("\n")[0] ?? "refused";
}

function readSysctls(device: string | undefined): HostFacts["sysctls"] {
  const paths: readonly SysctlPath[] = [
    "net/ipv4/ip_forward",
    "net/ipv6/conf/all/forwarding",
    "net/ipv4/conf/all/rp_filter",
    ...(device === undefined ? [] : [`net/ipv4/conf/${device}/rp_filter` as const]),
  ];
  return new Map(
    paths.flatMap((path) => {
      const value = readSysctl(path);
      const isWritable = isAllowed(`/proc/sys/${path}`, constants.W_OK);
      return value === undefined ? [] : [[path, { value, isWritable }] as const];
    }),
  );
}

function nameServers(): readonly string[] {
  try {
    return parseResolvConf(readFileSync("/etc/resolv.conf", "utf8")).servers.map(({ address, zone }) =>
      zone === undefined ? formatIp(address) : `${formatIp(address)}%${zone}`,
    );
  } catch {
    // No file, no servers.
    return [];
  }
}

const TOKEN_ROLES = ["client", "gateway", "relay"] as const;

function tokenPaths(role: Role, path: string | undefined): readonly string[] {
  if (path !== undefined) return [path];
  return TOKEN_ROLES.filter((one) => role === undefined || one === role).map(
    (one) => `/etc/postern/${one}-token`,
  );
}

function examineToken(path: string): TokenFact {
  try {
    return { path, state: readTokenFile(path) === "" ? "empty" : "good" };
  } catch (error) {
    if (error instanceof PosternError && error.code === "token-missing") return { path, state: "missing" };
    return { path, state: "good", problem: describeError(error) };
  }
}

function isAllowed(path: string, mode: number): boolean {
  try {
    accessSync(path, mode);
    return true;
  } catch {
    return false;
  }
}

function attempt<T>(look: () => T): Parsed<T> {
  try {
    return parsed(look());
  } catch (error) {
    return malformed(describeError(error));
  }
}
