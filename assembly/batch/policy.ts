/**
 * The policy before flows exist: prefix tables carry all of it (TN-20, TN-38, TN-61, TN-62, WG-58).
 *
 * One judgement per frame on egress, one per packet on ingress; the packets have passed validation.
 * A judgement is a `TARGET_…` number and has no effect of its own. What else is asked of packets stands in
 * the plane's record, as `CHECK_…` bits and numbers that control publishes (`bindings/plane/rules.ts`).
 */
import {
  CHECK_ARRIVING,
  CHECK_CONTROL_EVENTS,
  CHECK_ICMP,
  CHECK_LEAVING,
  CHECK_PERMITS,
  CHECK_ROUTED_SOURCE,
  CHECK_SOURCES_OUT,
  DROP_BAD_DESTINATION,
  DROP_BAD_SOURCE,
  DROP_ICMP_ERROR_OUT,
  DROP_MULTICAST,
  DROP_NO_PEER_STATE,
  DROP_NOT_ALLOWED,
  DROP_NOT_CONFIGURED,
  DROP_NOT_GRANTED,
  DROP_P2P_ON_TUN,
  DROP_TO_SELF,
  DROP_WG_DISALLOWED_SOURCE,
  PACKET_FAMILY,
  PACKET_PROTOCOL,
  PERMIT_BYTES,
  PERMIT_DESTINATIONS,
  PERMIT_EGRESS_SOURCES,
  PERMIT_HAS_DESTINATIONS,
  PERMIT_HAS_EGRESS_SOURCES,
  PERMIT_IS_PRESENT,
  PERMIT_REFUSES_DESTINATION,
  PERMIT_SOURCES,
  PLANE_ADDRESS,
  PLANE_CHECKS,
  PLANE_MISS_TARGET,
  PLANE_POLICY,
  PLANE_SOURCE_REASON,
  POLICY_HAS_OWN,
  POLICY_OWN,
  POLICY_PERMIT_COUNT,
  POLICY_PERMITS,
  POLICY_ROUTES,
  TARGET_CONTROL,
  TARGET_DROP,
  TARGET_NONE,
  TARGET_PEER,
  TARGET_REFUSE,
} from "../layout";
import { icmpReason, isIcmpError } from "../packet/icmp";
import { destinationIn, sourceIn } from "../table/range-set";

/** Messages between the two ends inside the tunnel, which no IP stack makes (TN-40). */
const PROTOCOL_CONTROL_EVENT: u32 = 255;

/** Where the packet at `packet`, read from the TUN device and described at `d`, leads. */
export function judgeEgress(packet: usize, d: usize): u32 {
  const policy = atomic.load<usize>(PLANE_ADDRESS, PLANE_POLICY);
  if (policy == 0) return TARGET_DROP + DROP_NOT_CONFIGURED;
  const checks = load<u32>(PLANE_ADDRESS, PLANE_CHECKS);
  const reason = reasonNotToLeave(checks, policy, packet, d);
  if (reason != 0) return TARGET_DROP + reason;
  const target = destinationIn(policy + POLICY_ROUTES, packet);
  if (target == TARGET_NONE) return load<u32>(PLANE_ADDRESS, PLANE_MISS_TARGET);
  if (target < TARGET_PEER || (checks & CHECK_SOURCES_OUT) == 0) return target;
  const permit = permitOf(policy, target - TARGET_PEER);
  if (permit == 0) return TARGET_DROP + DROP_NO_PEER_STATE;
  // Errors come from routers on the way and are never filtered (TN-62 row 4).
  const isChecked = load<u32>(permit, PERMIT_HAS_EGRESS_SOURCES) != 0 && !isIcmpError(packet, d);
  if (isChecked && sourceIn(permit + PERMIT_EGRESS_SOURCES, packet) == 0)
    return TARGET_DROP + DROP_NOT_ALLOWED;
  return target;
}

/** What is wrong with a packet whatever its route (TN-20, TN-62 row 1): a reason, or 0. */
function reasonNotToLeave(checks: u32, policy: usize, packet: usize, d: usize): u32 {
  if ((checks & CHECK_CONTROL_EVENTS) != 0 && isControlEvent(packet, d)) return DROP_P2P_ON_TUN;
  const isLeaving = (checks & CHECK_LEAVING) != 0;
  if (isLeaving && isMulticast(packet)) return DROP_MULTICAST;
  if (load<u32>(policy, POLICY_HAS_OWN) != 0) {
    if (sourceIn(policy + POLICY_OWN, packet) == 0) return DROP_BAD_SOURCE;
    if (destinationIn(policy + POLICY_OWN, packet) != 0) return DROP_TO_SELF;
  }
  if (isLeaving && isIcmpError(packet, d)) return DROP_ICMP_ERROR_OUT;
  return (checks & CHECK_ICMP) != 0 ? icmpReason(packet, d) : 0;
}

/**
 * What becomes of the packet that the peer of `slot` sent: TARGET_NONE lets it pass, TARGET_REFUSE and
 * TARGET_CONTROL hand it to control, anything else is TARGET_DROP plus a reason.
 */
export function judgeIngress(slot: u32, packet: usize, d: usize): u32 {
  const policy = atomic.load<usize>(PLANE_ADDRESS, PLANE_POLICY);
  if (policy == 0) return TARGET_DROP + DROP_NOT_CONFIGURED;
  const checks = load<u32>(PLANE_ADDRESS, PLANE_CHECKS);
  // The source must lead to the sender: a prefix that a longer one of another peer covers does not.
  const isStrayed =
    (checks & CHECK_ROUTED_SOURCE) != 0 && sourceIn(policy + POLICY_ROUTES, packet) != TARGET_PEER + slot;
  if (isStrayed) return TARGET_DROP + DROP_WG_DISALLOWED_SOURCE;
  if ((checks & CHECK_CONTROL_EVENTS) != 0 && isControlEvent(packet, d)) return TARGET_CONTROL;
  if ((checks & CHECK_PERMITS) != 0) {
    const target = judgeByPermit(checks, policy, slot, packet, d);
    if (target != TARGET_NONE) return target;
  }
  const reason = (checks & CHECK_ICMP) != 0 ? icmpReason(packet, d) : 0;
  return reason == 0 ? TARGET_NONE : TARGET_DROP + reason;
}

/** TN-38; TN-61 rows 2 to 7, 12 and 14. */
function judgeByPermit(checks: u32, policy: usize, slot: u32, packet: usize, d: usize): u32 {
  const permit = permitOf(policy, slot);
  if (permit == 0) return TARGET_DROP + DROP_NO_PEER_STATE;
  if ((checks & CHECK_ARRIVING) != 0) {
    if (isMulticast(packet)) return TARGET_DROP + DROP_MULTICAST;
    if (isIcmpError(packet, d)) return TARGET_DROP + DROP_ICMP_ERROR_OUT;
  }
  if (sourceIn(permit + PERMIT_SOURCES, packet) == 0) {
    return TARGET_DROP + load<u32>(PLANE_ADDRESS, PLANE_SOURCE_REASON);
  }
  if (load<u32>(policy, POLICY_HAS_OWN) != 0 && destinationIn(policy + POLICY_OWN, packet) == 0) {
    return TARGET_DROP + DROP_BAD_DESTINATION;
  }
  if (load<u32>(permit, PERMIT_HAS_DESTINATIONS) == 0) return TARGET_NONE;
  if (destinationIn(permit + PERMIT_DESTINATIONS, packet) != 0) return TARGET_NONE;
  if (load<u32>(permit, PERMIT_REFUSES_DESTINATION) != 0) return TARGET_REFUSE;
  return TARGET_DROP + DROP_NOT_GRANTED;
}

/** The peer's permit row, or 0. */
function permitOf(policy: usize, slot: u32): usize {
  if (slot >= load<u32>(policy, POLICY_PERMIT_COUNT)) return 0;
  const permit = load<usize>(policy, POLICY_PERMITS) + <usize>slot * PERMIT_BYTES;
  return load<u32>(permit, PERMIT_IS_PRESENT) != 0 ? permit : 0;
}

/** TN-40: IPv6, protocol 255, from :: to ::. */
function isControlEvent(packet: usize, d: usize): bool {
  if (load<u32>(d, PACKET_PROTOCOL) != PROTOCOL_CONTROL_EVENT || load<u32>(d, PACKET_FAMILY) != 6) {
    return false;
  }
  return !v128.any_true(v128.or(v128.load(packet, 8), v128.load(packet, 24)));
}

/** Multicast of either family, or the limited broadcast. */
function isMulticast(packet: usize): bool {
  if (load<u8>(packet) >> 4 == 6) return load<u8>(packet, 24) == 0xff;
  return load<u8>(packet, 16) >> 4 == 14 || load<u32>(packet, 16) == 0xffffffff;
}
