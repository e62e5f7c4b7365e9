/** Networks as ranges of addresses that neither overlap nor touch, as sets of nftables want them. Pure. */
import type { NftInterval } from "../../bindings/linux/index.ts";
import type { IpAddress, Prefix } from "../base/index.ts";

/** Of one family, as numbers; `end` is the address behind the last one. */
export interface AddressRange {
  readonly start: bigint;
  readonly end: bigint;
}

/** The ranges of the networks of one family, in order. */
export function toRanges(networks: readonly Prefix[], addressBytes: 4 | 16): readonly AddressRange[] {
  const all = networks
    .filter(({ address }) => address.length === addressBytes)
    .map(({ address, bits }) => {
      const start = numberOf(address);
      return { start, end: start + (1n << BigInt(addressBytes * 8 - bits)) };
    })
    .sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0));
  const merged: AddressRange[] = [];
  for (const range of all) {
    const last = merged.at(-1);
    if (last === undefined || range.start > last.end) merged.push(range);
    else if (range.end > last.end) merged.splice(-1, 1, { ...last, end: range.end });
  }
  return merged;
}

/** What is in `before` only, and what is in `wanted` only. */
export function differenceOf(
  before: readonly AddressRange[],
  wanted: readonly AddressRange[],
): { readonly gone: readonly AddressRange[]; readonly added: readonly AddressRange[] } {
  const without = (these: readonly AddressRange[], those: readonly AddressRange[]) => {
    const known = new Set(those.map(keyOf));
    return these.filter((range) => !known.has(keyOf(range)));
  };
  return { gone: without(before, wanted), added: without(wanted, before) };
}

function keyOf({ start, end }: AddressRange): string {
  return `${start}-${end}`;
}

export function toIntervals(ranges: readonly AddressRange[], addressBytes: 4 | 16): readonly NftInterval[] {
  const behindTheLast = 1n << BigInt(addressBytes * 8);
  return ranges.map(({ start, end }) => ({
    start: addressOf(start, addressBytes),
    end: end === behindTheLast ? undefined : addressOf(end, addressBytes),
  }));
}

function numberOf(address: IpAddress): bigint {
  return address.reduce((number, byte) => (number << 8n) | BigInt(byte), 0n);
}

function addressOf(number: bigint, addressBytes: 4 | 16): IpAddress {
  return Uint8Array.from({ length: addressBytes }, (_, i) =>
    Number((number >> BigInt(8 * (addressBytes - 1 - i))) & 0xffn),
  );
}
