/** Reads the host as `compareHost` wants it, and repairs what differs (PG-153). */
import { errnoName, type Rtnetlink } from "../../bindings/linux/index.ts";
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

/** Takes one change back. Returns why that was refused. */
export function repairChange(rtnetlink: Rtnetlink, index: number, change: HostChange): string | undefined {
  switch (change.kind) {
    case "link-down":
      return rtnetlink.changeLink(index, { isUp: true })?.message;
    case "mtu":
      return rtnetlink.changeLink(index, { mtu: change.mtu })?.message;
    case "address":
      return rtnetlink.addAddress({ index, ...change.address })?.message;
    case "route":
      return rtnetlink.addRoute(change.route)?.message;
    case "rule": {
      const refusal = rtnetlink.addRule(change.rule);
      // One of the same priority and mark that is not ours, for instance without the `not`.
      if (refusal !== undefined && errnoName(refusal.errno) === "EEXIST") return "another rule stands there";
      return refusal?.message;
    }
    case "parameter":
      return writeSysctl(change.wanted.path, change.wanted.value);
  }
}
