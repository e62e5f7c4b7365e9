/** Brings the TUN device to what the tunnel wants: addresses, rules, routes (PG-30 to PG-37). */
import type { Family } from "../../../bindings/linux/index.ts";
import type { Log } from "../../base/index.ts";
import {
  addPolicyRules,
  applyTunnelRoutes,
  configureLink,
  createGuard,
  type Guard,
  type LinkSettings,
  policyRules,
  TUN_TXQUEUELEN,
  tunnelRoutes,
} from "../../host/index.ts";
import type { TunnelInterface } from "../../tunnel/index.ts";
import type { PlaneHost, UndoStack } from "../shell/index.ts";
import type { HostKeeper } from "./host-keeper.ts";
import type { RoleOnHost } from "./role.ts";

export interface HostInterface {
  /** @throws PosternError `host` when the device refuses its addresses */
  apply(wanted: TunnelInterface): void;
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
  const { host, role, keeper, log } = options;
  const { tun, rtnetlink } = host;
  let addresses = "";
  let families: readonly Family[] = [];
  let link: LinkSettings | undefined;
  let guard: Guard | undefined | "none" = role.isGuarded ? undefined : "none";
  return {
    apply(wanted) {
      const text = wanted.addresses.map((address) => address.join(".")).join();
      if (link === undefined || text !== addresses) {
        link = toLink(host, options.mtu, wanted);
        families = familiesOf(configureLink(rtnetlink, link, log));
        addPolicyRules(rtnetlink, families, log);
        addresses = text;
      }
      applyTunnelRoutes(rtnetlink, tun.index, wanted.routes, log);
      const isCarried = ({ address }: { readonly address: Uint8Array }): boolean =>
        families.includes(address.length === 4 ? 4 : 6);
      const networks = wanted.routes.filter(isCarried);
      keeper.want({
        link: { ...link, addresses: link.addresses.filter(isCarried) },
        rules: families.flatMap(policyRules),
        routes: tunnelRoutes(networks, tun.index),
        parameters: role.parameters,
      });
      guard ??= openGuard(options);
      // Everything but what is directly connected lies behind a default route: no chain could tell.
      if (guard !== "none") guard.want(networks.filter(({ bits }) => bits > 0));
    },
  };
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

/** A host without nftables works without it. */
function openGuard({ host, keeper, undo, log }: HostInterfaceOptions): Guard | "none" {
  const guard = createGuard(host.tun.name);
  try {
    guard.want([]);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    log.info?.("packets are not kept from leaving past the tunnel", { reason });
    return "none";
  }
  undo.add("guard", () => guard.remove());
  keeper.keep(guard);
  return guard;
}
