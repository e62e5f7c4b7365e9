/** Kernel parameters that let a gateway forward (PG-68). They stay after a clean stop (PG-15). */
import { type KernelRoute, type Link, RTPROT_RA } from "../../bindings/linux/index.ts";
import { type Log, PosternError } from "../base/index.ts";
import { readSysctl, type SysctlPath, writeSysctl } from "./sysctl.ts";

export interface ForwardingSnapshot {
  readonly links: readonly Link[];
  /** IPv6 routes of the main table. */
  readonly routes: readonly KernelRoute[];
  /** A parameter's present value; `undefined` when there is none of that name. */
  readonly read: (path: SysctlPath) => string | undefined;
}

export interface SysctlWrite {
  readonly path: SysctlPath;
  readonly value: string;
}

const V4: readonly SysctlWrite[] = [
  { path: "net/ipv4/ip_forward", value: "1" },
  { path: "net/ipv4/conf/all/src_valid_mark", value: "1" },
];

const V6: readonly SysctlWrite[] = [
  { path: "net/ipv6/conf/all/disable_ipv6", value: "0" },
  { path: "net/ipv6/conf/all/forwarding", value: "1" },
  { path: "net/ipv6/conf/default/forwarding", value: "1" },
];

export interface ForwardingPlan {
  readonly v4: readonly SysctlWrite[];
  readonly v6: readonly SysctlWrite[];
}

/**
 * What has to be written, in order; right values are left alone. An interface that learnt its default
 * route from router advertisements must be told to go on listening before it becomes a router's, else
 * the host would lose that route.
 */
export function planForwarding(snapshot: ForwardingSnapshot): ForwardingPlan {
  const wrong = ({ path, value }: SysctlWrite): boolean => {
    const present = snapshot.read(path);
    // An accept_ra of 2 is wanted only where it is 1; the others exist or the family is missing.
    return present !== undefined && present !== value;
  };
  const advertised = snapshot.links
    .filter(({ index }) =>
      snapshot.routes.some(
        (route) =>
          route.protocol === RTPROT_RA && route.destination.bits === 0 && route.outputIndex === index,
      ),
    )
    .map(({ name }): SysctlWrite => ({ path: `net/ipv6/conf/${name}/accept_ra`, value: "2" }));
  const v6 = V6.filter(wrong);
  return { v4: V4.filter(wrong), v6: v6.length === 0 ? [] : [...advertised.filter(wrong), ...v6] };
}

/** What stays as it was set while the gateway runs (PG-153). */
export function forwardingParameters(forwarding: Forwarding): readonly SysctlWrite[] {
  return forwarding === "dual" ? [...V4, ...V6] : V4;
}

/** Which families the gateway forwards. */
export type Forwarding = "dual" | "v4-only";

/**
 * Writes what `planForwarding` found.
 *
 * @throws PosternError `host` when IPv4 cannot be forwarded; IPv6 alone is a WARN
 */
export function enableForwarding(snapshot: Omit<ForwardingSnapshot, "read">, log: Log): Forwarding {
  const plan = planForwarding({ ...snapshot, read: readSysctl });
  for (const { path, value } of plan.v4) {
    const reason = writeSysctl(path, value);
    if (reason === undefined) continue;
    const name = path.replaceAll("/", ".");
    throw new PosternError(
      "host",
      `cannot set ${name} to ${value}: ${reason}`,
      `set it on the host (sysctl -w ${name}=${value}), or create the container with it`,
    );
  }
  for (const { path, value } of plan.v6) {
    const reason = writeSysctl(path, value);
    if (reason === undefined) continue;
    log.warn?.("IPv6 is not forwarded", { parameter: path.replaceAll("/", "."), value, reason });
    return "v4-only";
  }
  return readSysctl("net/ipv6/conf/all/forwarding") === "1" ? "dual" : "v4-only";
}
