/** What `test/unit/plane` calls: packet and segment without the rest of the plane. */
export { fold, pseudoSum, sum, updated } from "../../packet/checksum";
export { innerEcn, mergeEcn } from "../../packet/ecn";
export { icmpReason, isIcmpError } from "../../packet/icmp";
export { validate } from "../../packet/ip";
export {
  coalesceAccept,
  coalesceBegin,
  coalesceClose,
  coalesceDiscard,
  coalesceInit,
  coalesceTarget,
} from "../../segment/coalesce";
export { splitBegin, splitNext } from "../../segment/split";
