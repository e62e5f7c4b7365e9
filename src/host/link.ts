/** The TUN's address set-up (PG-30). */
import { describeErrno, type Rtnetlink } from "../../bindings/linux/index.ts";
import { formatIp, IPV6_MTU_MIN, type IpAddress, type Log, PosternError } from "../base/index.ts";
import { readSysctl } from "./sysctl.ts";

/** An address of ours with the length of its network; host bits are kept. */
export interface HostAddress {
  readonly address: IpAddress;
  readonly bits: number;
}

export interface LinkSettings {
  readonly index: number;
  readonly name: string;
  readonly mtu: number;
  readonly txQueueLength: number;
  readonly addresses: readonly HostAddress[];
  /** An address that is refused is a failure. Otherwise a family may be missing (PG-30). */
  readonly needsAll?: boolean;
}

/** Which families have an address now; `none` only when none was wanted. */
export type LinkFamilies = "dual" | "v4-only" | "v6-only" | "none";

/**
 * Gives the device its MTU, queue length and addresses, and brings it up. Earlier addresses go.
 *
 * @throws PosternError `host` when the device refuses, or when no wanted address was accepted
 */
export function configureLink(rtnetlink: Rtnetlink, settings: LinkSettings, log: Log): LinkFamilies {
  const { index, name, mtu } = settings;
  // Refused where there is no IPv6. With it, a tentative link-local address would make the deletion of
  // the device fail for a while.
  rtnetlink.changeLink(index, { noLinkLocal: true });
  for (const old of rtnetlink.addresses()) if (old.index === index) rtnetlink.deleteAddress(old);
  // IPv6 disappears from a device whose MTU is below 1280, hence before the addresses.
  require(rtnetlink.changeLink(index, { mtu }), `cannot set the MTU of ${name} to ${mtu}`);
  const accepted = settings.addresses.filter(({ address, bits }) => {
    const refusal = rtnetlink.addAddress({ index, address, bits });
    if (settings.needsAll) require(refusal, `cannot give ${name} the address ${formatIp(address)}/${bits}`);
    if (refusal !== undefined) {
      log.debug?.("address refused", { device: name, address: formatIp(address), reason: refusal.message });
    }
    return refusal === undefined;
  });
  if (settings.addresses.length > 0 && accepted.length === 0) {
    throw new PosternError("host", `cannot give ${name} any address`, "see the log at level debug");
  }
  rtnetlink.changeLink(index, { txQueueLength: settings.txQueueLength });
  require(rtnetlink.changeLink(index, { isUp: true }), `cannot bring ${name} up`);
  return toFamilies(accepted);
}

/** Why a device cannot have IPv6; `undefined`: it can. */
export function whyNoIpv6(name: string, mtu: number): string | undefined {
  if (mtu < IPV6_MTU_MIN) return `the MTU is below ${IPV6_MTU_MIN}`;
  return readSysctl(`net/ipv6/conf/${name}/disable_ipv6`) === "0" ? undefined : "IPv6 is switched off";
}

function toFamilies(addresses: readonly HostAddress[]): LinkFamilies {
  const hasV4 = addresses.some(({ address }) => address.length === 4);
  const hasV6 = addresses.some(({ address }) => address.length === 16);
  if (hasV4 && hasV6) return "dual";
  return hasV4 ? "v4-only" : hasV6 ? "v6-only" : "none";
}

function require(refusal: ReturnType<Rtnetlink["changeLink"]>, what: string): void {
  if (refusal !== undefined) throw new PosternError("host", `${what}: ${describeErrno(refusal.errno)}`);
}
