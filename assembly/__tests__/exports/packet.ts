/** What `test/unit` calls: packet, segment and the MACs of handshakes, without the rest of the plane. */
import { mac } from "../../crypto/blake2s";

export { sealCookie } from "../../crypto/xaead";
export { fold, pseudoSum, sum, updated } from "../../packet/checksum";
export { innerEcn, mergeEcn } from "../../packet/ecn";
export { icmpReason, isIcmpError } from "../../packet/icmp";
export { validate } from "../../packet/ip";
export { clampMss, isSyn } from "../../packet/mss";
export { rewriteDestination, rewriteSource } from "../../packet/rewrite";
export { checksumsHold } from "../../packet/verify";
export {
  coalesceAccept,
  coalesceBegin,
  coalesceClose,
  coalesceDiscard,
  coalesceInit,
  coalesceTarget,
} from "../../segment/coalesce";
export { splitBegin, splitNext } from "../../segment/split";

/** A vector cannot leave the module. */
export function macTo(
  key: usize,
  keyBytes: u32,
  message: usize,
  bytes: u32,
  scratch: usize,
  out: usize,
): void {
  v128.store(out, mac(key, keyBytes, message, bytes, scratch));
}
