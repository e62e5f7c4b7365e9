/** Our addresses as a runtime tells them, without netlink (PG-142). */
import { existsSync } from "node:fs";
import { type NetworkInterfaceInfo, networkInterfaces } from "node:os";
import {
  contains,
  type IpAddress,
  LINK_LOCAL,
  type Log,
  PosternError,
  parseIp,
  TUNNEL_V4,
  TUNNEL_V6,
} from "../../base/index.ts";
import { ADDRESSES_MAX_PER_FAMILY } from "../../host/index.ts";

export type Interfaces = Readonly<Record<string, readonly NetworkInterfaceInfo[] | undefined>>;

/**
 * Our addresses, looked for at each call. Where the system does not tell, because descriptors are used up for one, those
 * that it told last: nobody has lost the network by that (PG-210).
 *
 * @throws PosternError `host` when it does not tell the first time
 */
export function createOwnAddresses(
  log: Log,
  find: () => readonly IpAddress[] = ownAddresses,
): () => readonly IpAddress[] {
  let known: readonly IpAddress[] | undefined;
  return () => {
    try {
      known = find();
    } catch (cause) {
      if (known === undefined) {
        const what = "cannot read this machine's addresses";
        throw new PosternError("host", what, "look for a limit of open files (ulimit -n)", { cause });
      }
      const reason = cause instanceof Error ? cause.message : String(cause);
      log.warn?.("this machine's addresses cannot be read: tried again", { reason });
    }
    return known;
  };
}

/**
 * Of all interfaces, without loopback, link-local addresses, and those that a tunnel of ours has given. Where there is
 * nothing else, loopback: then everything is on this machine.
 */
export function ownAddresses(
  interfaces: Interfaces = networkInterfaces(),
  isTun: (name: string) => boolean = isTunDevice,
): readonly IpAddress[] {
  const all = Object.entries(interfaces).flatMap(([name, list = []]) =>
    list.flatMap(({ address, internal }) => {
      const parsed = parseIp(address.split("%", 1)[0] ?? "");
      return parsed.ok ? [{ name, address: parsed.value, isInternal: internal }] : [];
    }),
  );
  const outside = all.filter(
    ({ name, address, isInternal }) => !isInternal && !isExcluded(address, () => isTun(name)),
  );
  const chosen = outside.length > 0 ? outside : all.filter(({ isInternal }) => isInternal);
  return ([4, 16] as const).flatMap((length) =>
    chosen
      .filter(({ address }) => address.length === length)
      .slice(0, ADDRESSES_MAX_PER_FAMILY)
      .map(({ address }) => address),
  );
}

function isExcluded(address: IpAddress, isTun: () => boolean): boolean {
  if (LINK_LOCAL.some((network) => contains(network, address))) return true;
  // On other devices they are a carrier's (TN-16).
  return [TUNNEL_V4, TUNNEL_V6].some((network) => contains(network, address)) && isTun();
}

function isTunDevice(name: string): boolean {
  return existsSync(`/sys/class/net/${name}/tun_flags`);
}
