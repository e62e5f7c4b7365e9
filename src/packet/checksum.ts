/** The Internet checksum (RFC 1071), one byte pair at a time: for the few packets that control makes. */

/** Ones' complement sum of `bytes` as big-endian words, added to `start`; an odd last byte is padded with zero. */
export function checksumAdd(bytes: Uint8Array, start = 0): number {
  let sum = start;
  for (let i = 0; i < bytes.length; i += 2) sum += ((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

/** What goes into a checksum field: the complement of the sum. */
export function checksumFinish(sum: number): number {
  return ~sum & 0xffff;
}

/** The sum over the pseudo-header of TCP, UDP and ICMPv6 (RFC 9293 §3.1, RFC 8200 §8.1). */
export function pseudoHeaderSum(options: {
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  readonly protocol: number;
  readonly lengthBytes: number;
}): number {
  const words = options.protocol + (options.lengthBytes >>> 16) + (options.lengthBytes & 0xffff);
  return checksumAdd(options.destination, checksumAdd(options.source, words));
}

/**
 * The checksum after `before` was replaced by `after`, at an even offset (RFC 1624 eqn. 3): a packet that was
 * corrupted stays recognisably corrupted.
 */
export function checksumReplace(checksum: number, before: Uint8Array, after: Uint8Array): number {
  let sum = (~checksum & 0xffff) + (~checksumAdd(before) & 0xffff) + checksumAdd(after);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
