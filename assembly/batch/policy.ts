/**
 * What prefix tables decide (TN-20, TN-38, TN-61, TN-62, TN-110, WG-58); where they leave it to flows, `flow.ts` goes on.
 *
 * One judgement per frame on egress, one per packet on ingress; the packets have passed validation.
 * A judgement is a `TARGET_…` number and has no effect of its own. What else is asked of packets stands in
 * the plane's record, as `CHECK_…` bits and numbers that control publishes (`bindings/plane/rules.ts`).
 * The twin: `test/twin/plane/policy.ts`.
 */

import { Ip4, Ip6 } from "../header";
import {
  CHECK_ARRIVING,
  CHECK_CONTROL_EVENTS,
  CHECK_ICMP,
  CHECK_LEAVING,
  CHECK_PERMITS,
  CHECK_RESOLVER,
  CHECK_ROUTED_SOURCE,
  CHECK_SOURCES_OUT,
  Drop,
  Packet,
  PERMIT_BY_FLOW,
  PERMIT_MEMBER,
  Permit,
  PLANE_ADDRESS,
  Plane,
  Policy,
  TARGET_CONTROL,
  TARGET_DROP,
  TARGET_FLOW,
  TARGET_FLOW_OF,
  TARGET_FLOW_OR_PEER,
  TARGET_ICMP_ERROR,
  TARGET_ICMP_ERROR_OF,
  TARGET_NONE,
  TARGET_PEER,
  TARGET_REFUSE,
  TARGET_RESOLVER,
} from "../layout";
import { icmpReason, isIcmpError, isProhibited } from "../packet/icmp";
import { isForResolver } from "../packet/resolver";
import { hostTarget } from "../table/host-table";
import { destinationIn, sourceIn } from "../table/range-set";

/** Messages between the two ends inside the tunnel, which no IP stack makes (TN-40). */
const PROTOCOL_CONTROL_EVENT: u32 = 255;

/** Where the packet at `packet`, read from the TUN device and described at `found`, leads. */
export function judgeEgress(packet: usize, found: usize): u32 {
  const policy = atomic.load<usize>(PLANE_ADDRESS, Plane.POLICY);
  if (policy == 0) return TARGET_DROP + Drop.NOT_CONFIGURED;
  const checks = load<u32>(PLANE_ADDRESS, Plane.CHECKS);
  const reason = reasonNotToLeave(checks, policy, packet, found);
  if (reason != 0) return TARGET_DROP + reason;
  let target = hostTarget(packet);
  if (target == TARGET_NONE) target = destinationIn(policy + Policy.ROUTES, packet);
  if (target == TARGET_NONE) return load<u32>(PLANE_ADDRESS, Plane.MISS_TARGET);
  if (target == TARGET_FLOW && isIcmpError(packet, found)) return TARGET_ICMP_ERROR;
  if (target < TARGET_PEER || (checks & CHECK_SOURCES_OUT) == 0) return target;
  return judgeByEgressPermit(policy, target, packet, found);
}

/** TN-62 rows 3 to 10: `target` is the peer to which the packet's destination leads. */
function judgeByEgressPermit(policy: usize, target: u32, packet: usize, found: usize): u32 {
  const slot = target - TARGET_PEER;
  const permit = permitOf(policy, slot);
  if (permit == 0) return TARGET_DROP + Drop.NO_PEER_STATE;
  const isTranslated = load<u32>(permit, Permit.IS_TRANSLATED) != 0;
  // Errors come from routers on the way and are never filtered (TN-62 row 4).
  if (isIcmpError(packet, found)) return isTranslated ? TARGET_ICMP_ERROR_OF + slot : target;
  let member = sourceIn(permit + Permit.EGRESS_SOURCES, packet);
  if (member == 0 && load<u32>(permit, Permit.HAS_EGRESS_SOURCES) == 0) member = PERMIT_MEMBER;
  if (isTranslated) return (member == PERMIT_MEMBER ? TARGET_FLOW_OR_PEER : TARGET_FLOW_OF) + slot;
  if (member == PERMIT_BY_FLOW) return TARGET_FLOW_OF + slot;
  return member == 0 ? TARGET_DROP + Drop.NOT_ALLOWED : target;
}

/** What is wrong with a packet whatever its route (TN-20, TN-62 row 1): a reason, or 0. */
function reasonNotToLeave(checks: u32, policy: usize, packet: usize, found: usize): u32 {
  if ((checks & CHECK_CONTROL_EVENTS) != 0 && isControlEvent(packet, found)) return Drop.P2P_ON_TUN;
  const isLeaving = (checks & CHECK_LEAVING) != 0;
  if (isLeaving && isMulticast(packet)) return Drop.MULTICAST;
  if (load<u32>(policy, Policy.HAS_OWN) != 0) {
    if (sourceIn(policy + Policy.OWN, packet) == 0) return Drop.BAD_SOURCE;
    if (destinationIn(policy + Policy.OWN, packet) != 0) return Drop.TO_SELF;
  }
  // One that quotes a translated packet is for control to translate (TN-20 row 6).
  if (
    isLeaving &&
    isIcmpError(packet, found) &&
    destinationIn(policy + Policy.ROUTES, packet) != TARGET_FLOW
  ) {
    return Drop.ICMP_ERROR_OUT;
  }
  return (checks & CHECK_ICMP) != 0 ? icmpReason(packet, found) : 0;
}

/**
 * What becomes of the packet that the peer of `slot` sent: TARGET_NONE lets it pass, TARGET_REFUSE, TARGET_CONTROL and
 * TARGET_RESOLVER hand it to control, TARGET_FLOW_OF and TARGET_ICMP_ERROR_OF name the peer once more, anything
 * else is TARGET_DROP plus a reason.
 */
export function judgeIngress(slot: u32, packet: usize, found: usize): u32 {
  const policy = atomic.load<usize>(PLANE_ADDRESS, Plane.POLICY);
  if (policy == 0) return TARGET_DROP + Drop.NOT_CONFIGURED;
  const checks = load<u32>(PLANE_ADDRESS, Plane.CHECKS);
  // The source must lead to the sender: a prefix that a longer one of another peer covers does not.
  const isStrayed =
    (checks & CHECK_ROUTED_SOURCE) != 0 && sourceIn(policy + Policy.ROUTES, packet) != TARGET_PEER + slot;
  if (isStrayed) return TARGET_DROP + Drop.WG_DISALLOWED_SOURCE;
  if ((checks & CHECK_CONTROL_EVENTS) != 0 && isControlEvent(packet, found)) return TARGET_CONTROL;
  if ((checks & CHECK_PERMITS) != 0) {
    const target = judgeByPermit(checks, policy, slot, packet, found);
    if (target != TARGET_NONE) return target;
  }
  const reason = (checks & CHECK_ICMP) != 0 ? icmpReason(packet, found) : 0;
  if (reason != 0) return TARGET_DROP + reason;
  if ((checks & CHECK_RESOLVER) == 0) return TARGET_NONE;
  if (isForResolver(packet, found)) return TARGET_RESOLVER;
  // The gateway may have lost what the client believes to be granted (TN-36).
  return isProhibited(packet, found) ? TARGET_ICMP_ERROR_OF + slot : TARGET_NONE;
}

/** TN-38; TN-61 rows 2 to 7, 12 and 14. */
function judgeByPermit(checks: u32, policy: usize, slot: u32, packet: usize, found: usize): u32 {
  const permit = permitOf(policy, slot);
  if (permit == 0) return TARGET_DROP + Drop.NO_PEER_STATE;
  const isArriving = (checks & CHECK_ARRIVING) != 0;
  if (isArriving && isMulticast(packet)) return TARGET_DROP + Drop.MULTICAST;
  const member = destinationIn(permit + Permit.DESTINATIONS, packet);
  const isError = isArriving && isIcmpError(packet, found);
  if (isError && member != PERMIT_BY_FLOW) return TARGET_DROP + Drop.ICMP_ERROR_OUT;
  if (sourceIn(permit + Permit.SOURCES, packet) == 0) {
    return TARGET_DROP + load<u32>(PLANE_ADDRESS, Plane.SOURCE_REASON);
  }
  if (load<u32>(policy, Policy.HAS_OWN) != 0 && destinationIn(policy + Policy.OWN, packet) == 0) {
    return TARGET_DROP + Drop.BAD_DESTINATION;
  }
  if (member == PERMIT_BY_FLOW) {
    const reason = (checks & CHECK_ICMP) != 0 ? icmpReason(packet, found) : 0;
    if (reason != 0) return TARGET_DROP + reason;
    return (isError ? TARGET_ICMP_ERROR_OF : TARGET_FLOW_OF) + slot;
  }
  if (member != 0 || load<u32>(permit, Permit.HAS_DESTINATIONS) == 0) return TARGET_NONE;
  if (load<u32>(permit, Permit.REFUSES_DESTINATION) != 0) return TARGET_REFUSE;
  return TARGET_DROP + Drop.NOT_GRANTED;
}

/** The peer's permit row, its own one before that of the tables, or 0. */
function permitOf(policy: usize, slot: u32): usize {
  const permits = load<usize>(PLANE_ADDRESS, Plane.PERMITS);
  const own = atomic.load<usize>(permits + ((<usize>slot) << 2));
  if (own != 0) return own;
  if (slot >= load<u32>(policy, Policy.PERMIT_COUNT)) return 0;
  const permit = load<usize>(policy, Policy.PERMITS) + <usize>slot * Permit.BYTES;
  return load<u32>(permit, Permit.IS_PRESENT) != 0 ? permit : 0;
}

/** TN-40: IPv6, protocol 255, from :: to ::. */
function isControlEvent(packet: usize, found: usize): bool {
  if (load<u32>(found, Packet.PROTOCOL) != PROTOCOL_CONTROL_EVENT || load<u32>(found, Packet.FAMILY) != 6) {
    return false;
  }
  return !v128.any_true(v128.or(v128.load(packet, Ip6.SOURCE), v128.load(packet, Ip6.DESTINATION)));
}

/** Multicast of either family, or the limited broadcast. */
function isMulticast(packet: usize): bool {
  if (load<u8>(packet) >> 4 == 6) return load<u8>(packet, Ip6.DESTINATION) == 0xff;
  return load<u8>(packet, Ip4.DESTINATION) >> 4 == 14 || load<u32>(packet, Ip4.DESTINATION) == 0xffffffff;
}
