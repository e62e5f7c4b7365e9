/** Addresses, routes and rules of the interface (WG-63, WG-64), and what there is no IPv6 for. */
import { setMark } from "../../../bindings/linux/index.ts";
import { type Log, PosternError } from "../../base/index.ts";
import {
  applyWgRoutes,
  configureLink,
  findFreeTable,
  planWgRoutes,
  removeWgLeftovers,
  TUN_TXQUEUELEN,
  type WantedHost,
  whyNoIpv6,
} from "../../host/index.ts";
import { allSockets, type PlaneHost, type UndoStack } from "../shell/index.ts";
import type { LocatedConfig } from "./read-config.ts";

export interface WgNetwork {
  /** The mark that the sockets have now, 0 for none. */
  readonly mark: number;
  /** What the host should look like from now on (PG-153). */
  readonly wanted: WantedHost;
}

/** `--bare`: the device alone. What else it gets, and keeps, is for who started us to say (WG-68). */
export function bareNetwork(
  { rtnetlink, tun }: PlaneHost,
  mtu: number,
  log: Log,
): { readonly mark: 0; readonly wanted: undefined } {
  const { index, name } = tun;
  configureLink(rtnetlink, { index, name, mtu, txQueueLength: TUN_TXQUEUELEN, addresses: [] }, log);
  return { mark: 0, wanted: undefined };
}

/**
 * Sets all of it up.
 *
 * @throws PosternError `host` at the first thing that the system refuses
 */
export function setUpNetwork(
  host: PlaneHost,
  file: LocatedConfig,
  mtu: number,
  undo: UndoStack,
  log: Log,
): WgNetwork {
  const { rtnetlink, tun } = host;
  const { index } = tun;
  const { name, config, table } = file;
  const removed = removeWgLeftovers(rtnetlink);
  if (removed > 0) log.info?.("rules of an earlier run removed", { count: removed });
  const { addresses, allowedIps } = withoutMissingFamily(file, mtu, log);
  const link = { index, name, mtu, txQueueLength: TUN_TXQUEUELEN, addresses, needsAll: true };
  configureLink(rtnetlink, link, log);
  const settings = { index, table, addresses, allowedIps, mark: config.fwMark };
  const plan = planWgRoutes(settings, findFreeTable(rtnetlink));
  if (plan.mark !== undefined) {
    for (const { fd } of allSockets(host.sockets())) setMark(host.kernel, fd, plan.mark);
  }
  const routes = applyWgRoutes(rtnetlink, plan, log);
  undo.add("routes and rules", () => routes.remove());
  const { rules, parameters } = routes;
  return { mark: plan.mark ?? 0, wanted: { link, rules, routes: plan.routes, parameters } };
}

/** One decision for addresses, routes and rules: a family that the device cannot have is left out of all. */
function withoutMissingFamily({ name, config }: LocatedConfig, mtu: number, log: Log) {
  const { addresses, peers } = config;
  const allowedIps = peers.flatMap((peer) => peer.allowedIps);
  const isV6 = ({ address }: { readonly address: Uint8Array }): boolean => address.length === 16;
  const reason = addresses.some(isV6) || allowedIps.some(isV6) ? whyNoIpv6(name, mtu) : undefined;
  if (reason === undefined) return { addresses, allowedIps };
  if (addresses.length > 0 && addresses.every(isV6)) {
    throw new PosternError("host", `cannot give ${name} any address: ${reason}`);
  }
  log.warn?.("IPv6 addresses and routes are left out", { device: name, reason });
  return {
    addresses: addresses.filter((one) => !isV6(one)),
    allowedIps: allowedIps.filter((one) => !isV6(one)),
  };
}
