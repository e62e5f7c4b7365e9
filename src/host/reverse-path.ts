/**
 * Strict reverse-path filtering (PG-39). It asks by which interface an answer's source would be reached, without the
 * mark of our own packets: while the internet resource is on, that is the tunnel, and the answer is dropped.
 */
import type { Rtnetlink } from "../../bindings/linux/index.ts";
import type { Log, Prefix } from "../base/index.ts";
import { defaultRoutes } from "./network-watch.ts";
import { readSysctl, type SysctlPath } from "./sysctl.ts";

const STRICT = 1;

export interface ReversePath {
  /** 0: off, 1: strict, 2: loose; the kernel takes the larger of `all` and the interface's. */
  readonly strictness: number;
  /** A command that makes it loose. */
  readonly remedy: string;
}

/** `undefined`: this kernel has no such filter. */
export function reversePathOf(
  device: string | undefined,
  read: (path: SysctlPath) => string | undefined,
): ReversePath | undefined {
  const names = ["all", ...(device === undefined ? [] : [device])];
  const values = names.map((name) => read(`net/ipv4/conf/${name}/rp_filter`));
  if (values.every((value) => value === undefined)) return undefined;
  return {
    strictness: Math.max(...values.map((value) => Number(value ?? 0))),
    // Slashes, since a dot may be part of an interface's name (sysctl(8)).
    remedy: `sysctl -w ${names.map((name) => `net/ipv4/conf/${name}/rp_filter=2`).join(" ")}`,
  };
}

export function isStrict({ strictness }: ReversePath): boolean {
  return strictness === STRICT;
}

/** Warns once when all of IPv4 goes into the tunnel and the host would drop the answers to our own packets. */
export function createReversePathWarning(
  log: Log,
  read: (path: SysctlPath) => string | undefined = readSysctl,
): (rtnetlink: Pick<Rtnetlink, "bestRoute" | "links">, networks: readonly Prefix[]) => void {
  let isSaid = false;
  return (rtnetlink, networks) => {
    if (isSaid || !networks.some(({ address, bits }) => address.length === 4 && bits === 0)) return;
    const index = defaultRoutes(rtnetlink).v4?.outputIndex;
    const device = rtnetlink.links().find((link) => link.index === index)?.name;
    const found = reversePathOf(device, read);
    if (found === undefined || !isStrict(found)) return;
    isSaid = true;
    log.warn?.(
      "strict reverse-path filtering drops answers to this program's own packets while the internet resource is on",
      { device, remedy: found.remedy },
    );
  };
}
