export { type BestRoutes, type BestRoutesOptions, createBestRoutes, type KnownRoute } from "./best-routes.ts";
export { type BufferSizes, raiseBufferLimits } from "./buffer-limits.ts";
export { readClock } from "./clock.ts";
export {
  FWMARK,
  TABLE_INTERNET,
  TABLE_LINK,
  TABLE_RESOURCES,
  TUN_TXQUEUELEN,
  WG_FWMARK,
  WG_TABLE,
} from "./constants.ts";
export {
  DNS_CONTROL_PATHS,
  type DnsControl,
  type DnsControlOptions,
  type DnsControlPaths,
  type HostDnsWanted,
  openDnsControl,
  type Resolvectl,
  revertHostDns,
} from "./dns-control.ts";
export type { DnsMode } from "./dns-mode.ts";
export {
  acceptChain,
  type DropChain,
  foreignDropChains,
  gatewayRuleset,
  listDropChains,
  removeFirewall,
  setUpFirewall,
  tearDownFirewall,
} from "./firewall.ts";
export {
  enableForwarding,
  type Forwarding,
  type ForwardingPlan,
  type ForwardingSnapshot,
  forwardingParameters,
  planForwarding,
  type SysctlWrite,
} from "./forwarding.ts";
export { createGuard, type Guard, guardTable } from "./guard.ts";
export { findHelper, helperEnvironment } from "./helper-programs.ts";
export { readHostState, repairChange } from "./host-repair.ts";
export {
  compareHost,
  describeChange,
  type HostChange,
  type HostSnapshot,
  type WantedHost,
  withoutMissing,
} from "./host-state.ts";
export {
  fromMachineId,
  type IdentifiedRole,
  type IdentifierSource,
  resolveIdentifier,
  toIdentifier,
} from "./identifier.ts";
export { type KeptSysctls, readKeptSysctls, reportKeptSysctls } from "./kept-sysctls.ts";
export { type KeptTable, keepFirewall } from "./kept-table.ts";
export { configureLink, type HostAddress, type LinkFamilies, type LinkSettings, whyNoIpv6 } from "./link.ts";
export { type InstanceLock, takeLock } from "./lock.ts";
export { type MarkedTarget, openMarkedSocket, startTls, type TlsTrust } from "./marked-socket.ts";
export {
  createNameLookup,
  createNameResolver,
  type NameResolver,
  type NameResolverOptions,
} from "./name-resolver.ts";
export {
  type BurstWatch,
  createBurstWatch,
  defaultRoutes,
  NO_NETWORK,
  networkFingerprint,
  PROBE_V4,
  PROBE_V6,
} from "./network-watch.ts";
export { asksMulticastFirst } from "./nsswitch.ts";
export {
  ADDRESSES_MAX_PER_FAMILY,
  equalAddresses,
  type NetworkSnapshot,
  readNetwork,
  selectOwnAddresses,
} from "./own-addresses.ts";
export { runFolders, stateFolder } from "./own-folders.ts";
export { isPrivileged, requirePrivilege } from "./privilege.ts";
export { createRepairLimit, type RepairLimit } from "./repair-limit.ts";
export type { NamedServer } from "./resolv-conf.ts";
export {
  addressesInHosts,
  type NameServer,
  namesToTry,
  parseResolvConf,
  type ResolverSettings,
} from "./resolver-files.ts";
export { readHostServers, SYSTEM_FILES } from "./resolver-settings.ts";
export { createReversePathWarning, isStrict, reversePathOf } from "./reverse-path.ts";
export { parseRouteTables, routeTableNumber } from "./route-tables.ts";
export {
  addPolicyRules,
  applyRoutes,
  applyTunnelRoutes,
  flushPolicyRouting,
  linkRoutes,
  otherTunnel,
  policyRules,
  type RouteChanges,
  routeChanges,
  synchroniseLinkRoutes,
  tunnelRoutes,
} from "./routes.ts";
export { createSuspendWatch, type SuspendWatch } from "./suspend-watch.ts";
export { readSysctl, type SysctlPath, writeSysctl } from "./sysctl.ts";
export {
  readTokenFile,
  resolveToken,
  type StoredToken,
  type TokenFile,
  type TokenSource,
  tokenFileProblem,
} from "./token.ts";
export { storeToken, type TokenStore } from "./token-file.ts";
export {
  describeNetworks,
  type TunnelNetworks,
  type TunnelNetworksInput,
  tunnelNetworks,
} from "./tunnel-networks.ts";
export { wgMtu } from "./wg-mtu.ts";
export {
  applyWgRoutes,
  findFreeTable,
  planWgRoutes,
  removeWgLeftovers,
  type WgRoutePlan,
  type WgRouteSettings,
  type WgRoutes,
} from "./wg-routes.ts";
