/** What the facts of a host mean for those who want to run Postern on it (PG-141). Pure. */
import { isStrict, reversePathOf } from "../../host/index.ts";
import type { HostFacts, KernelFacts, Role, UdpFacts, Way } from "./facts.ts";

export interface Finding {
  readonly check: string;
  readonly verdict: "ok" | "warn" | "fail";
  /** What is so. */
  readonly says: string;
  /** What to do, unless nothing has to be done. */
  readonly remedy?: string;
}

/** What a check finds; `bad` is as bad as the role that is to run needs it. */
type Found =
  | { readonly ok: string }
  | { readonly warn: string; readonly remedy: string }
  | { readonly bad: string; readonly remedy: string };

interface Check {
  readonly name: string;
  /** Who needs it. */
  readonly of: readonly Exclude<Role, undefined>[];
  /** `undefined`: there is nothing to say. */
  readonly judge: (facts: HostFacts, role: Role) => Found | undefined;
}

const ALL = ["client", "gateway", "relay", "portal", "wg"] as const;
const TUNNELS = ["client", "gateway", "wg"] as const;
const NODE_LEAST = 20;
const NODE_FASTEST = 24;
/** RL-50: each of its clients has sockets of its own. */
const RELAY_BUFFER_WANTED = 8 << 20;
/** The oldest kernel that is tested (PG-138). */
const KERNEL_LEAST = [5, 15] as const;
/** No clock was right that shows an earlier time: this was written later. */
const CLOCK_LEAST_MS = Date.UTC(2026, 0, 1);
const AS_ROOT = "run as root or grant CAP_NET_ADMIN";

const CHECKS: readonly Check[] = [
  { name: "runtime", of: ALL, judge: judgeRuntime },
  { name: "kernel", of: ALL, judge: judgeKernel },
  { name: "system calls", of: ["client", "gateway", "relay", "wg"], judge: judgeFfi },
  { name: "privilege", of: TUNNELS, judge: judgePrivilege },
  { name: "/dev/net/tun", of: TUNNELS, judge: judgeTunDevice },
  { name: "TUN offloads", of: TUNNELS, judge: ofKernel(judgeTunOffloads) },
  { name: "UDP sockets", of: ["client", "gateway", "relay", "wg"], judge: ofKernel(judgeUdp) },
  { name: "socket buffers", of: ["client", "gateway", "relay", "wg"], judge: ofKernel(judgeBuffers) },
  { name: "egress", of: ALL, judge: ofKernel(judgeEgress) },
  { name: "policy rules", of: ["client", "gateway"], judge: ofKernel(judgeRules) },
  { name: "other tunnels", of: ["client", "gateway"], judge: ofKernel(judgeOtherTunnel) },
  { name: "rp_filter", of: ["client"], judge: judgeReversePath },
  { name: "forwarding", of: ["gateway"], judge: judgeForwarding },
  { name: "nft", of: ["gateway"], judge: judgeNft },
  { name: "other firewalls", of: ["gateway"], judge: judgeDropChains },
  { name: "resolvers", of: ALL, judge: judgeResolvers },
  { name: "clock", of: ALL, judge: judgeClock },
  { name: "user namespaces", of: [], judge: judgeUserNamespaces },
];

/** A finding per check that the role needs, in the order of the table; tokens are the last. */
export function judgeHost(facts: HostFacts, role: Role): readonly Finding[] {
  const findings = CHECKS.flatMap(({ name, of, judge }) => {
    if (role !== undefined && !of.includes(role)) return [];
    const found = judge(facts, role);
    // What only some need fails for them; for all others it is good to know.
    const isForAll = of.length === ALL.length || of === TUNNELS;
    return found === undefined ? [] : [toFinding(name, found, role === undefined && !isForAll)];
  });
  return [...findings, ...judgeTokens(facts, role)];
}

function toFinding(check: string, found: Found, isMild: boolean): Finding {
  if ("ok" in found) return { check, verdict: "ok", says: found.ok };
  const { remedy } = found;
  if ("warn" in found) return { check, verdict: "warn", says: found.warn, remedy };
  return { check, verdict: isMild ? "warn" : "fail", says: found.bad, remedy };
}

/** A check of what only the kernel can tell: without system calls that is said already. */
function ofKernel(judge: (kernel: KernelFacts, role: Role) => Found | undefined): Check["judge"] {
  return (facts, role) => facts.kernel && judge(facts.kernel, role);
}

function judgeRuntime({ runtime }: HostFacts): Found {
  const { name, version, arch } = runtime;
  const says = `${name} ${version}, ${arch}`;
  const major = Number(version.split(".")[0]);
  if (name !== "node") return { ok: says };
  if (major < NODE_LEAST)
    return { bad: says, remedy: `use Node ${NODE_FASTEST}; ${NODE_LEAST} is the oldest` };
  if (major >= NODE_FASTEST) return { ok: says };
  return { warn: `${says}; a faster one exists`, remedy: `use Node ${NODE_FASTEST}` };
}

function judgeKernel({ kernelRelease }: HostFacts): Found {
  const [major = 0, minor = 0] = kernelRelease.split(".").map((part) => Number.parseInt(part, 10));
  const [leastMajor, leastMinor] = KERNEL_LEAST;
  const isOld = major < leastMajor || (major === leastMajor && minor < leastMinor);
  if (!isOld) return { ok: `Linux ${kernelRelease}` };
  return {
    warn: `Linux ${kernelRelease} is older than what is tested`,
    remedy: `use Linux ${leastMajor}.${leastMinor} or later`,
  };
}

function judgeFfi({ ffi }: HostFacts): Found {
  if (ffi.ok) return { ok: "can be made" };
  return { bad: ffi.reason, remedy: "install the optional package koffi (npm install koffi)" };
}

function judgePrivilege({ isPrivileged }: HostFacts): Found {
  if (isPrivileged) return { ok: "root or CAP_NET_ADMIN" };
  return { bad: "neither root nor CAP_NET_ADMIN", remedy: AS_ROOT };
}

function judgeTunDevice({ tunDevice, isPrivileged }: HostFacts): Found {
  switch (tunDevice) {
    case "usable":
      return { ok: "can be opened" };
    case "refused":
      return { bad: "may not be opened", remedy: "run as root, or chmod 0666 /dev/net/tun" };
    case "missing":
      if (isPrivileged) return { ok: "is missing; the programs make it where they may" };
      return {
        bad: "is missing",
        remedy: "load the module tun, or give the container --device /dev/net/tun",
      };
  }
}

function judgeTunOffloads({ tunOffloads }: KernelFacts): Found | undefined {
  if (tunOffloads === undefined) return undefined;
  if (!tunOffloads.ok) return { bad: tunOffloads.reason, remedy: "pass /dev/net/tun and CAP_NET_ADMIN" };
  switch (tunOffloads.value) {
    case "all":
      return { ok: "TCP and UDP" };
    case "tcp":
      return { ok: "TCP; for UDP the kernel is too old (6.2)" };
    case "none":
      return {
        warn: "none: each packet costs a system call",
        remedy: "use a kernel with virtio-net headers",
      };
  }
}

function judgeUdp({ udp }: KernelFacts): Found {
  if (!udp.ok) return { bad: udp.reason, remedy: "let the process open UDP sockets" };
  const { gso, gro, missing } = udp.value;
  const families = missing.length === 0 ? "IPv4 and IPv6" : `no ${missing.join(", no ")}`;
  if (gso && gro) return { ok: `${families}; GSO, GRO` };
  const without = [...(gso ? [] : ["GSO"]), ...(gro ? [] : ["GRO"])].join(" and ");
  return { warn: `${families}; without ${without}, which costs speed`, remedy: "use Linux 5.0 or later" };
}

function judgeBuffers({ udp }: KernelFacts, role: Role): Found | undefined {
  if (!udp.ok) return undefined;
  const { sendBytes, receiveBytes }: UdpFacts = udp.value;
  const sendBytesWanted = role === "relay" ? RELAY_BUFFER_WANTED : udp.value.sendBytesWanted;
  const receiveBytesWanted = role === "relay" ? RELAY_BUFFER_WANTED : udp.value.receiveBytesWanted;
  const says = `send ${mib(sendBytes)}, receive ${mib(receiveBytes)}`;
  if (sendBytes >= sendBytesWanted && receiveBytes >= receiveBytesWanted) return { ok: says };
  return {
    warn: `${says} of ${mib(sendBytesWanted)} and ${mib(receiveBytesWanted)}: bursts may be lost`,
    remedy: `--inc-buf as root, or sysctl -w net.core.wmem_max=${sendBytesWanted} net.core.rmem_max=${receiveBytesWanted}`,
  };
}

function mib(bytes: number): string {
  const value = bytes / (1 << 20);
  return `${value >= 10 ? Math.round(value) : value.toFixed(1)} MiB`;
}

function judgeEgress({ egress }: KernelFacts): Found {
  const { v4, v6 } = egress;
  if (v4 === undefined && v6 === undefined) {
    return { bad: "no way into the internet", remedy: "look at 'ip route' and 'ip -6 route'" };
  }
  return { ok: `IPv4 ${describeWay(v4)}; IPv6 ${describeWay(v6)}` };
}

function describeWay(way: Way | undefined): string {
  if (way === undefined) return "none";
  const by = way.gateway === undefined ? "" : ` by ${way.gateway}`;
  return `${way.device}${by}${way.source === undefined ? "" : ` as ${way.source}`}`;
}

function judgeRules({ rules }: KernelFacts): Found {
  if (!rules.isThere) {
    return { bad: "this kernel has no policy routing", remedy: "use one with CONFIG_IP_MULTIPLE_TABLES" };
  }
  if (rules.isTaken) {
    return {
      bad: "a rule of others has the priority and table of one of ours",
      remedy: "look at 'ip rule'; remove the one with priority 100, 200 or 300",
    };
  }
  if (rules.earlier.length === 0) return { ok: "nobody asks before us" };
  return {
    warn: `rules of others are asked first (priority ${rules.earlier.join(", ")})`,
    remedy: "if resources are not reached: 'ip rule'; another VPN may take their packets",
  };
}

function judgeOtherTunnel({ otherTunnel }: KernelFacts): Found {
  if (otherTunnel === undefined) return { ok: "none of Postern" };
  return {
    warn: `a client or gateway runs already, by the device ${otherTunnel}`,
    remedy: "a second one wants a network namespace of its own and an --instance",
  };
}

/** The kernel drops answers to packets whose mark it does not consider (PG-39). */
function judgeReversePath({ sysctls, kernel }: HostFacts): Found | undefined {
  const device = kernel?.egress.v4?.device;
  const found = reversePathOf(device, (path) => sysctls.get(path)?.value);
  if (found === undefined) return undefined;
  if (!isStrict(found)) return { ok: found.strictness === 0 ? "off" : "loose" };
  return {
    warn: "strict: with the internet resource, answers to our own packets would be dropped",
    remedy: found.remedy,
  };
}

const FORWARDING = [
  { path: "net/ipv4/ip_forward", value: "1", of: "IPv4" },
  { path: "net/ipv6/conf/all/forwarding", value: "1", of: "IPv6" },
] as const;

function judgeForwarding({ sysctls }: HostFacts): Found {
  const states = FORWARDING.map(({ path, value, of }) => {
    const present = sysctls.get(path);
    return { path, of, isOn: present?.value === value, isFixed: present?.isWritable !== true };
  });
  const stuck = states.filter(({ isOn, isFixed }) => !isOn && isFixed);
  const v4 = stuck.find(({ of }) => of === "IPv4");
  const says = states.map(({ of, isOn }) => `${of} ${isOn ? "on" : "off"}`).join(", ");
  if (v4 !== undefined) {
    return {
      bad: `${says}; this process may not switch it on`,
      remedy: "as root: sysctl -w net.ipv4.ip_forward=1; a container is created with it",
    };
  }
  return { ok: states.every(({ isOn }) => isOn) ? says : `${says}; the gateway switches on what it can` };
}

function judgeNft({ nft }: HostFacts): Found {
  if (nft !== undefined) return { ok: nft };
  return { bad: "not installed", remedy: "install nftables, or use --masquerade off and forward yourself" };
}

function judgeDropChains({ dropChains }: HostFacts): Found | undefined {
  if (dropChains === undefined) return undefined;
  if (!dropChains.ok) return { warn: dropChains.reason, remedy: "run as root to see them" };
  const foreign = dropChains.value.filter(({ isOurs }) => !isOurs).map(({ name }) => name);
  const handled = dropChains.value.filter(({ isOurs }) => isOurs).map(({ name }) => name);
  if (foreign.length > 0) {
    return {
      bad: `${foreign.join(", ")} drops forwarded packets`,
      remedy: "let it accept what enters and leaves by the tunnel's device (tun-postern)",
    };
  }
  if (handled.length === 0) return { ok: "none drops forwarded packets" };
  return { ok: `${handled.join(", ")}: the gateway puts its rules there` };
}

function judgeResolvers({ nameServers, hasResolved }: HostFacts): Found {
  if (nameServers.length === 0) {
    return { warn: "no name server", remedy: "name one in /etc/resolv.conf, or use addresses" };
  }
  return { ok: `${nameServers.join(", ")}${hasResolved ? " (systemd-resolved)" : ""}` };
}

function judgeClock({ nowMs }: HostFacts): Found {
  const says = new Date(nowMs).toISOString();
  if (nowMs >= CLOCK_LEAST_MS) return { ok: says };
  return { bad: `${says}: that is over`, remedy: "set the clock, or start a time service" };
}

/** Only the demo, and only as an ordinary user, wants them. */
function judgeUserNamespaces({ userNamespaces }: HostFacts): Found {
  if (userNamespaces === undefined) return { ok: "an ordinary user may make them, so the demo runs" };
  return { ok: `${userNamespaces}: the demo runs as root only` };
}

function judgeTokens({ tokens }: HostFacts, role: Role): readonly Finding[] {
  return tokens.flatMap(({ path, state, problem }): readonly Finding[] => {
    const check = "token";
    if (problem !== undefined) {
      const remedy = `chown and chmod 0600 ${path}`;
      return [{ check, verdict: "fail", says: problem, remedy }];
    }
    if (state === "good") return [{ check, verdict: "ok", says: path }];
    // Without a role nobody knows which token is wanted here.
    if (role === undefined) return [];
    const remedy = "store one there, or set POSTERN_TOKEN";
    return [{ check, verdict: "warn", says: `${path} is ${state}`, remedy }];
  });
}
