/**
 * Sequence numbers (RFC 9293 §3.4). Inside of the machine an octet has its *offset* in its stream, counted from 0 and
 * never wrapping; numbers modulo 2^32 exist only in headers. FIN has the offset behind the last octet.
 */

export function plus(seq: number, octets: number): number {
  return (seq + octets) >>> 0;
}

/** How far `to` lies behind `from`; negative if it lies before. */
export function distance(from: number, to: number): number {
  return (to - from) | 0;
}

/**
 * The offset that `seq` means, if `first` is the number of offset 0: the one next to `near`. It is negative for what
 * lies before the stream.
 */
export function toOffset(first: number, near: number, seq: number): number {
  return near + distance(plus(first, near), seq);
}
