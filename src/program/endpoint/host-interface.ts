/** Brings the TUN device to what the tunnel wants: addresses, rules, routes (PG-30 to PG-37). */
import type { Family } from "../../../bindings/linux/index.ts";
import { contains, equalValues, formatIp, type IpAddress, type Log, type Prefix } from "../../base/index.ts";
import {
  addPolicyRules,
  applyTunnelRoutes,
  configureLink,
  createGuard,
  createReversePathWarning,
  describeNetworks,
  type Guard,
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
import type { RoleOnHost } from "./role.ts";

export interface HostInterface {
  /** @throws PosternError `host` when the device refuses its addresses */
  apply(wanted: TunnelInterface): void;
  /** Peers' tunnel addresses have come or gone: a matter for the host only in a network of its own. */
  changePeers(change: PeerChange): void;
  /** The host's networks have changed: what goes into the tunnel may be more or less now. */
  refresh(): void;
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
    networks: [],
    guard: options.role.isGuarded ? undefined : "none",
    said: "",
    warnOfReversePath: createReversePathWarning(options.log),
    peers: new Map(),
    shadowed: [],
  };
  return {
    apply(wanted) {
      const isNew = !equalValues(state.wanted?.addresses, wanted.addresses);
      state.wanted = wanted;
      if (isNew || state.link === undefined) setUpLink(options, state, wanted);
      route(options, state, wanted, isNew);
    },
    changePeers({ removed, added }) {
      for (const address of removed) state.peers.delete(formatIp(address));
      for (const address of added) state.peers.set(formatIp(address), address);
      const isApart = [...removed, ...added].some((peer) =>
        state.shadowed.some((network) => contains(network, peer)),
      );
      if (isApart && state.wanted !== undefined) route(options, state, state.wanted, false);
    },
    refresh() {
      if (state.wanted !== undefined) route(options, state, state.wanted, false);
    },
    addresses: () =>
      (state.wanted?.addresses ?? []).filter(({ length }) => state.families.includes(length === 4 ? 4 : 6)),
  };
}

interface InterfaceState {
  wanted: TunnelInterface | undefined;
  link: LinkSettings | undefined;
  families: readonly Family[];
  /** What is routed into the device. */
  networks: readonly Prefix[];
  guard: Guard | undefined | "none";
  /** What was last said about the host's own networks. */
  said: string;
  readonly warnOfReversePath: ReturnType<typeof createReversePathWarning>;
  readonly peers: Map<string, IpAddress>;
  /** Networks of the host in the tunnel's range: there a peer's address needs a route of its own. */
  shadowed: readonly Prefix[];
}

function setUpLink(
  { host, mtu, log }: HostInterfaceOptions,
  state: InterfaceState,
  to: TunnelInterface,
): void {
  state.link = toLink(host, mtu, to);
  state.families = familiesOf(configureLink(host.rtnetlink, state.link, log));
  addPolicyRules(host.rtnetlink, state.families, log);
}

/** Routes what the tunnel wants, as far as the host's own networks leave it (TN-16, TN-18). */
function route(
  options: HostInterfaceOptions,
  state: InterfaceState,
  { routes }: TunnelInterface,
  isNew: boolean,
): void {
  const { host, role, keeper, log } = options;
  const { tun, rtnetlink } = host;
  const { link, families } = state;
  if (link === undefined) return;
  const network = readNetwork(rtnetlink);
  const peers = [...state.peers.values()];
  const found = tunnelNetworks({ routes, reserved: RESERVED_RANGES, peers, network, tunIndex: tun.index });
  state.shadowed = found.shadowed;
  sayOverlaps(state, found, log);
  if (!isNew && equalValues(found.networks, state.networks)) return;
  state.networks = found.networks;
  applyTunnelRoutes(rtnetlink, tun.index, found.networks, log);
  state.warnOfReversePath(rtnetlink, found.networks);
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
  guard(
    options,
    state,
    networks.filter(({ bits }) => bits > 0),
  );
}

/** A host without nftables works without it. */
function guard(
  { host, undo, log }: HostInterfaceOptions,
  state: InterfaceState,
  networks: readonly Prefix[],
): void {
  if (state.guard === "none") return;
  try {
    if (state.guard === undefined) {
      const opened = createGuard(host.kernel, host.tun.name);
      undo.add("guard", () => opened.close());
      state.guard = opened;
    }
    state.guard.want(networks);
  } catch (error) {
    state.guard = "none";
    const reason = error instanceof Error ? error.message : String(error);
    log.info?.("packets are not kept from leaving past the tunnel", { reason });
  }
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
