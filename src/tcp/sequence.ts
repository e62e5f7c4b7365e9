/** Arithmetic modulo 2^32 (RFC 9293 §3.4). */

export function plus(seq: number, octets: number): number {
  return (seq + octets) >>> 0;
}

/** How far `to` lies behind `from`; negative if it lies before. */
export function distance(from: number, to: number): number {
  return (to - from) | 0;
}
