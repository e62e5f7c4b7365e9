/** Names that clients tell a gateway, and what it finds for them (TN-63, TN-64). */
import { contains, equalValues, type Instant, type IpAddress } from "../base/index.ts";
import { domainOf, matchesPattern, type Name, type NamePermit, type SetupResult } from "../dns/index.ts";
import { type AssignedIps, encodeDomainStatus } from "../packet/index.ts";
import { rejudge } from "./gateway-flows.ts";
import { place } from "./gateway-policies.ts";
import { forgetFlows, type GatewayState, natOf } from "./gateway-state.ts";
import { resetClientNat } from "./nat/client-nat.ts";
import {
  entryOf,
  isProxyList,
  isRenumbered,
  keepEntries,
  type NamedResource,
  setEntries,
  usableReals,
} from "./nat/entries.ts";
import type { Setup } from "./nat/setups.ts";
import { grantedNetworks } from "./policy.ts";
import { reachOf } from "./reach/reach.ts";

/** *Assigned IPs*: looked up, or refused at once. */
export function handleAssignedIps(
  gateway: GatewayState,
  now: Instant,
  cid: string,
  { rid, domain, proxies }: AssignedIps,
): void {
  const { log, setups } = gateway;
  const name = { rid, domain };
  const refusal = refusalOf(gateway, cid, { ...name, cid, proxies });
  if (refusal !== undefined) {
    // At WARN it says nothing of the name, which is the client's affair.
    log.warn?.("name of a client refused", { cid, rid, reason: refusal });
    return tellStatus(gateway, now, cid, name, false);
  }
  if (setups.begin(now, { cid, ...name, proxies }) === "full") {
    log.warn?.("too many names are being looked up; the client asks again", { cid, rid });
  }
}

function refusalOf(
  { grants }: GatewayState,
  cid: string,
  { rid, domain, proxies }: Setup,
): string | undefined {
  const grant = grants.client(cid)?.grants.get(rid);
  const pattern = grant && reachOf(grant.resource).pattern;
  if (pattern === undefined) return "no name resource that is granted";
  if (!isProxyList(proxies)) return "its addresses are no list of proxy addresses";
  return matchesPattern(pattern, domain) ? undefined : "it does not match the resource";
}

/** What the lookup of a name came to. */
export function handleSetupResult(
  gateway: GatewayState,
  now: Instant,
  token: number,
  result: SetupResult,
): void {
  const setup = gateway.setups.finish(token);
  if (setup !== undefined) finishSetup(gateway, now, setup, result);
}

/** Lookups that took too long count as errors. */
export function handleSetupTimeout(gateway: GatewayState, now: Instant): void {
  for (const setup of gateway.setups.handleTimeout(now)) finishSetup(gateway, now, setup, { kind: "error" });
}

function finishSetup(gateway: GatewayState, now: Instant, setup: Setup, result: SetupResult): void {
  const { grants, log, isLinkLocalAllowed } = gateway;
  const { cid, proxies } = setup;
  gateway.lookups[result.kind]++;
  const name = { rid: setup.rid, domain: setup.domain };
  if (grants.client(cid)?.grants.has(setup.rid) !== true) return tellStatus(gateway, now, cid, name, false);
  const nat = natOf(gateway, cid);
  const isAnew = isRenumbered(nat.entries, name, proxies);
  if (isAnew) {
    log.info?.("client numbers its names anew", { cid });
    resetClientNat(nat);
  }
  const found = result.kind === "addresses" ? result.addresses : [];
  const reals = usableReals(found, { allowLinkLocal: isLinkLocalAllowed });
  const before = proxies.map((proxy) => entryOf(nat.entries, proxy));
  if (result.kind === "error") keepEntries(nat.entries, name, proxies);
  else setEntries(nat.entries, name, { proxies, reals });
  const changed = proxies.filter((proxy, i) => !equalValues(entryOf(nat.entries, proxy), before[i]));
  if (isAnew) forgetFlows(gateway, cid);
  else rejudge(gateway, now, cid, changed);
  // Nothing else of the tables depends on what names lead to (TN-110).
  const former = before.flatMap((entry) => entry?.real ?? []);
  if (isAnew || (changed.length > 0 && areShared(gateway, cid, [...former, ...reals])))
    place(gateway, now, cid);
  log.debug?.("name looked up", { cid, ...name, result: result.kind, addresses: reals.length });
  tellStatus(gateway, now, cid, name, reals.length > 0);
}

/** Whether a network that needs no flows otherwise has any of these addresses. */
function areShared({ grants, flowLog }: GatewayState, cid: string, reals: readonly IpAddress[]): boolean {
  const client = grants.client(cid);
  const { plain } = client ? grantedNetworks(client, [], flowLog !== undefined) : { plain: [] };
  return reals.some((real) => plain.some((network) => contains(network, real)));
}

function tellStatus(
  { connections }: GatewayState,
  now: Instant,
  cid: string,
  name: NamedResource,
  isActive: boolean,
): void {
  connections.sendPacket(now, cid, encodeDomainStatus({ ...name, isActive }));
}

/** Whether the client at that address is granted a resource that has the name (DN-85). */
export function permitName({ grants }: GatewayState, address: IpAddress, name: Name): NamePermit {
  const client = grants.holderOf(address);
  if (client === undefined) return { isGranted: false };
  const domain = domainOf(name);
  const isGranted = [...client.grants.values()].some(({ resource }) => {
    const { pattern } = reachOf(resource);
    return pattern !== undefined && matchesPattern(pattern, domain);
  });
  return { cid: client.cid, isGranted };
}
