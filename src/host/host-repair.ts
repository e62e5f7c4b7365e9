/** Reads the host as `compareHost` wants it, and repairs what differs (PG-153). */
import { errnoName, isErrno, type Refusal, type Rtnetlink, SHORTAGES } from "../../bindings/linux/index.ts";
import { FAMILIES } from "./constants.ts";
import type { HostChange, HostSnapshot, WantedHost } from "./host-state.ts";
import { readSysctl, writeSysctl } from "./sysctl.ts";

/** Of the routes only those on our device are read: the main table may hold a million. */
export function readHostState(rtnetlink: Rtnetlink, { link, routes }: WantedHost): HostSnapshot {
  const tables = [...new Set(routes.map(({ table }) => table))];
  return {
    links: rtnetlink.links(),
    addresses: rtnetlink.addresses(),
    rules: FAMILIES.flatMap((family) => rtnetlink.rules(family)),
    routes: tables.flatMap((table) =>
      FAMILIES.flatMap((family) => rtnetlink.routes(family, table, link.index)),
    ),
    readParameter: readSysctl,
  };
}

/** Why a change stays. `isPassing`: the kernel is short of something for a moment (PG-36). */
export interface RepairRefusal {
  readonly reason: string;
  readonly isPassing: boolean;
}

/** Takes one change back. Returns why that was refused. */
export function repairChange(
  rtnetlink: Rtnetlink,
  index: number,
  change: HostChange,
): RepairRefusal | undefined {
  switch (change.kind) {
    case "link-down":
      return toRepairRefusal(rtnetlink.changeLink(index, { isUp: true }));
    case "mtu":
      return toRepairRefusal(rtnetlink.changeLink(index, { mtu: change.mtu }));
    case "address":
      return toRepairRefusal(rtnetlink.addAddress({ index, ...change.address }));
    case "route":
      return toRepairRefusal(rtnetlink.addRoute(change.route));
    case "rule": {
      const refusal = rtnetlink.addRule(change.rule);
      // One of the same priority and mark that is not ours, for instance without the `not`.
      if (refusal !== undefined && errnoName(refusal.errno) === "EEXIST")
        return { reason: "another rule stands there", isPassing: false };
      return toRepairRefusal(refusal);
    }
    case "parameter": {
      const reason = writeSysctl(change.wanted.path, change.wanted.value);
      return reason === undefined
        ? undefined
        : { reason, isPassing: SHORTAGES.some((name) => name === reason) };
    }
  }
}

function toRepairRefusal(refusal: Refusal | undefined): RepairRefusal | undefined {
  if (refusal === undefined) return undefined;
  return { reason: refusal.message, isPassing: isErrno(refusal.errno, ...SHORTAGES) };
}
