/**
 * Proxy addresses by blocks of 256, as a gateway may speak for them (TN-39).
 *
 * Each resource has blocks of its own (DN-42), so that neighbours are names of one gateway. A block of which every name
 * is served by one gateway is one prefix of its allowed sources, with what is not assigned yet: a new name there needs
 * no new tables. Of any other block each name's addresses are listed.
 */
import { type IpAddress, type Prefix, toPrefix } from "../base/index.ts";
import type { AssignedName } from "../dns/index.ts";
import { addressKey } from "./nat/keys.ts";

/** Where names come from, in the order in which they were assigned; none ever goes. */
export interface NameSource {
  names(): Iterable<AssignedName>;
  nameCount(): number;
}

export interface ProxyBlocks {
  /** What each gateway may speak for. From now on `isCovered` answers by it. */
  prefixes(gatewayOf: (rid: string) => string | undefined): ReadonlyMap<string, readonly Prefix[]>;
  /** Whether the prefixes asked for last hold for a name that was assigned since, served by that gateway or by none. */
  isCovered(proxies: readonly IpAddress[], gid: string | undefined): boolean;
}

/** All but the last byte of an address names its block. */
interface Block {
  readonly prefix: Prefix;
  /** Of each resource that has names here. */
  readonly addresses: Map<string, IpAddress[]>;
}

export function createProxyBlocks(source: NameSource | undefined): ProxyBlocks {
  const blocks = new Map<string, Block>();
  /** Blocks that were given to one gateway as a whole. */
  const whole = new Map<string, string>();
  let names: Iterator<AssignedName> | undefined;
  let seen = 0;

  /** The iterator is never asked beyond the end: so it goes on with names that come later. */
  function takeNewNames(): void {
    const count = source?.nameCount() ?? 0;
    names ??= source?.names()[Symbol.iterator]();
    for (; seen < count; seen++) {
      const next = names?.next();
      if (next === undefined || next.done === true) return;
      for (const address of next.value.proxies) add(next.value.rid, address);
    }
  }

  function add(rid: string, address: IpAddress): void {
    const key = blockKey(address);
    const block = blocks.get(key) ?? { prefix: blockOf(address), addresses: new Map<string, IpAddress[]>() };
    blocks.set(key, block);
    const ofResource = block.addresses.get(rid);
    if (ofResource === undefined) block.addresses.set(rid, [address]);
    else ofResource.push(address);
  }

  return {
    prefixes(gatewayOf) {
      takeNewNames();
      whole.clear();
      const lists = new Map<string, Prefix[]>();
      const give = (gid: string, prefixes: readonly Prefix[]): void => {
        const list = lists.get(gid) ?? [];
        lists.set(gid, list);
        for (const prefix of prefixes) list.push(prefix);
      };
      for (const [key, { prefix, addresses }] of blocks) {
        const owners = new Map([...addresses.keys()].map((rid) => [rid, gatewayOf(rid)]));
        const [only, ...others] = new Set(owners.values());
        if (only !== undefined && others.length === 0) {
          whole.set(key, only);
          give(only, [prefix]);
          continue;
        }
        for (const [rid, gid] of owners) {
          if (gid !== undefined) give(gid, (addresses.get(rid) ?? []).map(host));
        }
      }
      return lists;
    },
    isCovered: (proxies, gid) => proxies.every((address) => whole.get(blockKey(address)) === gid),
  };
}

function blockOf(address: IpAddress): Prefix {
  return toPrefix(address, address.length * 8 - 8);
}

function blockKey(address: IpAddress): string {
  return addressKey(address.subarray(0, -1));
}

function host(address: IpAddress): Prefix {
  return toPrefix(address, address.length * 8);
}
