/**
 * Tunnel addresses, one of each family per device and gateway, for its lifetime (PT-103).
 */
import { contains, type IpAddress, type Prefix, prefix } from "../../base/index.ts";

/** No resource and no DNS server may lie in these (PT-103). */
export const FORBIDDEN_RANGES: readonly Prefix[] = [prefix("100.64.0.0/10"), prefix("fd00:2021:1111::/48")];

export interface AddressPool {
  /** The highest in use + 1, wrapping, skipping used ones; `undefined` when none is left. */
  take(): IpAddress | undefined;
  /** Marks an address from the store as used. One outside of the range does not count. */
  reserve(address: IpAddress): void;
  /** Of a peer that is forgotten; it is given again last. */
  release(address: IpAddress): void;
}

/** Addresses of a range whose host part has at most 31 bits; never its first or last. */
export function createAddressPool(range: Prefix): AddressPool {
  const last = 2 ** (range.address.length * 8 - range.bits) - 2;
  const used = new Set<number>();
  let highest = 0;
  return {
    take() {
      if (used.size >= last) return undefined;
      let index = highest >= last ? 1 : highest + 1;
      while (used.has(index)) index = index >= last ? 1 : index + 1;
      used.add(index);
      highest = Math.max(highest, index);
      return addressAt(range, index);
    },
    reserve(address) {
      if (!contains(range, address)) return;
      const index = indexOf(range, address);
      used.add(index);
      highest = Math.max(highest, index);
    },
    release(address) {
      if (contains(range, address)) used.delete(indexOf(range, address));
    },
  };
}

function addressAt(range: Prefix, index: number): IpAddress {
  const address = Uint8Array.from(range.address);
  const view = new DataView(address.buffer);
  const at = address.length - 4;
  view.setUint32(at, (view.getUint32(at) | index) >>> 0);
  return address;
}

/** The host part; the store holds 100,000 of them at a start, so nothing is copied here. */
function indexOf(range: Prefix, address: IpAddress): number {
  const at = address.length - 4;
  const word = new DataView(address.buffer, address.byteOffset + at, 4).getUint32(0);
  return (word & (2 ** (address.length * 8 - range.bits) - 1)) >>> 0;
}
