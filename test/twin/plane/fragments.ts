/**
 * Datagrams in fragments, and what became of the first: the twin of `assembly/table/fragment.ts` (TN-112).
 */
import { equalBytes, type Instant } from "../../../src/base/index.ts";
import type { PacketDescriptor } from "../../../src/packet/index.ts";
import type { FlowRecord } from "../../../src/plane/index.ts";

export type TwinFragment = TwinPassed | TwinUnpassed;

interface Known {
  /** Family, protocol, addresses and identification. */
  readonly key: Uint8Array;
  readonly atS: number;
}

/** The first passed by a record. */
export interface TwinPassed extends Known {
  readonly kind: "passed";
  /** Whether it is a record of the first one's flow. */
  readonly isOfFlow: (record: FlowRecord) => boolean;
  readonly generation: number;
  readonly slot: number;
  readonly change: (packet: Uint8Array) => Uint8Array;
}

/** The record refuses the first, or a later one came without it. */
interface TwinUnpassed extends Known {
  readonly kind: "refused" | "missed";
}

const REMEMBERED = 256;
const TTL_S = { passed: 30, refused: 30, missed: 1 } as const;

/** The newest first. */
export function remember(fragments: TwinFragment[], fragment: TwinFragment): void {
  fragments.unshift(fragment);
  fragments.length = Math.min(fragments.length, REMEMBERED);
}

export function findFragment(
  fragments: readonly TwinFragment[],
  key: Uint8Array,
  now: Instant,
): TwinFragment | undefined {
  const found = fragments.find((fragment) => equalBytes(fragment.key, key));
  return found !== undefined && Math.floor(now / 1000) - found.atS <= TTL_S[found.kind] ? found : undefined;
}

export function isLater(
  packet: Uint8Array,
  { isFragment, family, transportOffset }: PacketDescriptor,
): boolean {
  if (!isFragment) return false;
  const at = family === 4 ? 6 : transportOffset - 6;
  const field = ((packet[at] ?? 0) << 8) | (packet[at + 1] ?? 0);
  return (field & (family === 4 ? 0x1fff : 0xfff8)) !== 0;
}

export function keyOf(
  packet: Uint8Array,
  { family, protocol, transportOffset }: PacketDescriptor,
): Uint8Array {
  const parts = family === 4 ? [4, 6, 12, 20] : [transportOffset - 4, transportOffset, 8, 40];
  const [from, to, addresses, end] = parts;
  return Uint8Array.of(family, protocol, ...packet.subarray(from, to), ...packet.subarray(addresses, end));
}
