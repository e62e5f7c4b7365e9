/** What a flood brings and what of it passes: the twin of `assembly/guard/flood.ts` (PG-160). */
import { equalBytes, type SocketAddress } from "../../../src/base/index.ts";

const BEGINS = 20_000;
const ENDS = 12_000;
const PASSED = 9000;
const LEAST = 1 / 64;

/**
 * Which part of the initiations without a cookie may pass, after so many in so much time; 1: all.
 * @param replies of all that there can be, from 0 to 1
 */
export function passingPart(came: number, elapsedMs: number, before: number, replies = 1): number {
  const perSecond = ((came / before) * 1000) / elapsedMs;
  if (perSecond < (before === 1 ? BEGINS : ENDS) * replies) return 1;
  return Math.max(LEAST, (PASSED * replies) / perSecond);
}

/**
 * Whether a datagram passes.
 * @param part of those without a mac2, and `stalePart` of those with one
 * @param chance from 0 to 1, drawn for it
 * @param peers where the paths of peers lead
 */
export function passesFilter(
  { from, bytes }: { readonly from: Uint8Array; readonly bytes: Uint8Array },
  {
    part,
    stalePart,
    chance,
    peers,
  }: { part: number; stalePart: number; chance: number; peers: readonly SocketAddress[] },
): boolean {
  const isInitiation = bytes.length === 148 && equalBytes(bytes.subarray(0, 4), Uint8Array.of(1, 0, 0, 0));
  if (!isInitiation) return true;
  const hasMac2 = bytes.subarray(132).some((byte) => byte !== 0);
  if (chance < (hasMac2 ? stalePart : part)) return true;
  const known = from.length === 16 ? 8 : 4;
  return peers.some(
    ({ address }) =>
      address.length === from.length && equalBytes(address.subarray(0, known), from.subarray(0, known)),
  );
}
