/** Brings the TUN device to what the tunnel wants: addresses, rules, routes (PG-30 to PG-37). */
import type { Family } from "../../../bindings/linux/index.ts";
import {
  contains,
  equalValues,
  formatIp,
  type IpAddress,
  type Log,
  PosternError,
  type Prefix,
} from "../../base/index.ts";
import {
  addPolicyRules,
  applyTunnelRoutes,
  configureLink,
  createReversePathWarning,
  describeNetworks,
  type LinkSettings,
  policyRules,
  readNetwork,
  TUN_TXQUEUELEN,
  type TunnelNetworks,
  tunnelNetworks,
  tunnelRoutes,
} from "../../host/index.ts";
import { type PeerChange, RESERVED_RANGES, type TunnelInterface } from "../../tunnel/index.ts";
import type { HostKeeper, PlaneHost, UndoStack } from "../shell/index.ts";
import { createHostGuard, type HostGuard, NO_GUARD } from "./host-guard.ts";
import type { RoleOnHost } from "./role.ts";

export interface HostInterface {
  /** @throws PosternError `host` when the device refuses its addresses at first; later it is a WARN, and tried again */
  apply(wanted: TunnelInterface): void;
  /** Peers' tunnel addresses have come or gone: a matter for the host only in a network of its own. */
  changePeers(change: PeerChange): void;
  /** The host's networks have changed: what goes into the tunnel may be more or less now. */
  refresh(): void;
  /** Sets what could not be set before; called now and then. */
  catchUp(): void;
  /** The addresses that the device has accepted (PG-30). */
  addresses(): readonly IpAddress[];
}

export interface HostInterfaceOptions {
  readonly host: PlaneHost;
  readonly mtu: number;
  readonly role: RoleOnHost;
  readonly keeper: HostKeeper;
  readonly undo: UndoStack;
  readonly log: Log;
}

export function createHostInterface(options: HostInterfaceOptions): HostInterface {
  const state: InterfaceState = {
    wanted: undefined,
    link: undefined,
    families: [],
    networks: undefined,
    isSetUp: false,
    isOwed: false,
    guard: options.role.isGuarded ? createHostGuard(options) : NO_GUARD,
    said: "",
    warnOfReversePath: createReversePathWarning(options.log),
    peers: new Map(),
    shadowed: [],
  };
  return {
    apply(wanted) {
      state.wanted = wanted;
      bring(options, state);
    },
    changePeers({ removed, added }) {
      for (const address of removed) state.peers.delete(formatIp(address));
      for (const address of added) state.peers.set(formatIp(address), address);
      const isApart = [...removed, ...added].some((peer) =>
        state.shadowed.some((network) => contains(network, peer)),
      );
      if (isApart) bring(options, state);
    },
    refresh: () => bring(options, state),
    catchUp() {
      if (state.isOwed) bring(options, state);
      state.guard.catchUp();
    },
    addresses: () =>
      (state.wanted?.addresses ?? []).filter(({ length }) => state.families.includes(length === 4 ? 4 : 6)),
  };
}

interface InterfaceState {
  wanted: TunnelInterface | undefined;
  /** As it was configured last; absent: it has to be. */
  link: LinkSettings | undefined;
  families: readonly Family[];
  /** What is routed into the device; absent: nothing yet. */
  networks: readonly Prefix[] | undefined;
  isSetUp: boolean;
  /** The kernel refused something when all was set up before: it is tried again. */
  isOwed: boolean;
  readonly guard: HostGuard;
  /** What was last said about the host's own networks. */
  said: string;
  readonly warnOfReversePath: ReturnType<typeof createReversePathWarning>;
  readonly peers: Map<string, IpAddress>;
  /** Networks of the host in the tunnel's range: there a peer's address needs a route of its own. */
  shadowed: readonly Prefix[];
}

/** Brings the device to what is wanted. A start that cannot ends; what runs goes on with what it has. */
function bring(options: HostInterfaceOptions, state: InterfaceState): void {
  const { wanted } = state;
  if (wanted === undefined) return;
  try {
    setUpLink(options, state, wanted);
    route(options, state, wanted);
    state.isSetUp = true;
    state.isOwed = false;
  } catch (error) {
    if (!state.isSetUp || !(error instanceof PosternError)) throw error;
    state.isOwed = true;
    options.log.warn?.("the tunnel's interface cannot be set: tried again", { reason: error.message });
  }
}

function setUpLink(
  { host, mtu, log }: HostInterfaceOptions,
  state: InterfaceState,
  to: TunnelInterface,
): void {
  const link = toLink(host, mtu, to);
  if (equalValues(state.link, link)) return;
  state.link = undefined;
  // Its old addresses go, and with them what led there.
  state.networks = undefined;
  state.families = familiesOf(configureLink(host.rtnetlink, link, log));
  addPolicyRules(host.rtnetlink, state.families, log);
  state.link = link;
}

/** Routes what the tunnel wants, as far as the host's own networks leave it (TN-16, TN-18). */
function route(options: HostInterfaceOptions, state: InterfaceState, { routes }: TunnelInterface): void {
  const { host, role, keeper, log } = options;
  const { tun, rtnetlink } = host;
  const { link, families } = state;
  if (link === undefined) return;
  const network = readNetwork(rtnetlink);
  const peers = [...state.peers.values()];
  const found = tunnelNetworks({ routes, reserved: RESERVED_RANGES, peers, network, tunIndex: tun.index });
  state.shadowed = found.shadowed;
  sayOverlaps(state, found, log);
  if (equalValues(found.networks, state.networks)) return;
  // Until all of it is done.
  state.networks = undefined;
  applyTunnelRoutes(rtnetlink, tun.index, found.networks, log);
  const isCarried = ({ address }: { readonly address: Uint8Array }): boolean =>
    families.includes(address.length === 4 ? 4 : 6);
  const networks = found.networks.filter(isCarried);
  keeper.want({
    link: { ...link, addresses: link.addresses.filter(isCarried) },
    rules: families.flatMap(policyRules),
    routes: tunnelRoutes(networks, tun.index),
    parameters: role.parameters,
  });
  // Everything but what is directly connected lies behind a default route: no chain could tell.
  state.guard.want(networks.filter(({ bits }) => bits > 0));
  state.networks = found.networks;
  state.warnOfReversePath(rtnetlink, found.networks);
}

function sayOverlaps(state: InterfaceState, { shadowed, captured }: TunnelNetworks, log: Log): void {
  const [direct, tunnelled] = [describeNetworks(shadowed), describeNetworks(captured)];
  const saying = JSON.stringify([direct, tunnelled]);
  if (saying === state.said) return;
  state.said = saying;
  if (direct.length > 0) {
    log.warn?.("networks of this host lie in the tunnel's range and are reached directly, except for peers", {
      networks: direct.join(", "),
    });
  }
  if (tunnelled.length > 0) {
    log.warn?.(
      "networks of this host are part of a resource or of reserved ranges and are reached through the tunnel",
      { networks: tunnelled.join(", ") },
    );
  }
}

function toLink({ tun }: PlaneHost, mtu: number, wanted: TunnelInterface): LinkSettings {
  return {
    index: tun.index,
    name: tun.name,
    mtu,
    txQueueLength: TUN_TXQUEUELEN,
    addresses: wanted.addresses.map((address) => ({ address, bits: address.length * 8 })),
  };
}

function familiesOf(accepted: ReturnType<typeof configureLink>): readonly Family[] {
  if (accepted === "v4-only") return [4];
  return accepted === "v6-only" ? [6] : [4, 6];
}
