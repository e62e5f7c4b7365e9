/**
 * Kernel parameters that a program changes and does not change back: by the time it ends, others may rely on
 * them (PG-15). What is left is said at the end, so that nobody has to find out.
 */
import { readdirSync } from "node:fs";
import type { Log } from "../base/index.ts";
import { readSysctl, type SysctlPath } from "./sysctl.ts";

const KEPT: readonly SysctlPath[] = [
  "net/core/rmem_max",
  "net/core/wmem_max",
  "net/ipv4/conf/all/src_valid_mark",
  "net/ipv4/ip_forward",
  "net/ipv6/conf/all/disable_ipv6",
  "net/ipv6/conf/all/forwarding",
  "net/ipv6/conf/default/forwarding",
];

const INTERFACES = "/proc/sys/net/ipv6/conf";

export type KeptSysctls = ReadonlyMap<SysctlPath, string>;

export function readKeptSysctls(): KeptSysctls {
  const values = new Map<SysctlPath, string>();
  for (const path of [...KEPT, ...acceptRa()]) {
    const value = readSysctl(path);
    if (value !== undefined) values.set(path, value);
  }
  return values;
}

/** One INFO line with what differs from `before`, as `sysctl` writes it, and how it was. */
export function reportKeptSysctls(before: KeptSysctls, log: Log): void {
  const changed = [...readKeptSysctls()].filter(([path, value]) => (before.get(path) ?? value) !== value);
  if (changed.length === 0) return;
  log.info?.("kernel parameters stay as they were set", {
    parameters: changed.map(
      ([path, value]) => `${path.replaceAll("/", ".")}=${value} (was ${before.get(path)})`,
    ),
  });
}

/** Of every interface: the gateway's way out must go on hearing router advertisements (PG-68). */
function acceptRa(): readonly SysctlPath[] {
  try {
    return readdirSync(INTERFACES).map((name): SysctlPath => `net/ipv6/conf/${name}/accept_ra`);
  } catch {
    // A kernel without IPv6.
    return [];
  }
}
