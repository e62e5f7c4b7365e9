/**
 * The policy before flows exist: prefix tables carry all of it (TN-20, TN-38, TN-61, TN-62, WG-58).
 *
 * One judgement per frame on egress, one per packet on ingress; the packets have passed validation.
 * A judgement is a `TARGET_…` number and has no effect of its own.
 */
import {
  DROP_BAD_DESTINATION,
  DROP_BAD_SOURCE,
  DROP_ICMP_ERROR_OUT,
  DROP_MULTICAST,
  DROP_NO_PEER_STATE,
  DROP_NOT_A_PEER,
  DROP_NOT_ALLOWED,
  DROP_NOT_ALLOWED_SOURCE,
  DROP_NOT_CLIENT_IP,
  DROP_NOT_CONFIGURED,
  DROP_NOT_GRANTED,
  DROP_P2P_ON_TUN,
  DROP_TO_SELF,
  DROP_UNKNOWN_RESOURCE,
  DROP_WG_DISALLOWED_SOURCE,
  MODE_CLIENT,
  MODE_GATEWAY,
  MODE_PLAIN,
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
  PLANE_MODE,
  PLANE_POLICY,
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
  const mode = load<u32>(PLANE_ADDRESS, PLANE_MODE);
  if (mode != MODE_PLAIN) {
    if (isControlEvent(packet, d)) return TARGET_DROP + DROP_P2P_ON_TUN;
    let reason = mode == MODE_CLIENT ? reasonNotToLeave(policy, packet, d) : 0;
    if (reason == 0) reason = icmpReason(packet, d);
    if (reason != 0) return TARGET_DROP + reason;
  }
  const target = destinationIn(policy + POLICY_ROUTES, packet);
  if (target == TARGET_NONE) {
    if (mode == MODE_PLAIN) return TARGET_REFUSE;
    return TARGET_DROP + (mode == MODE_CLIENT ? DROP_UNKNOWN_RESOURCE : DROP_NOT_A_PEER);
  }
  if (mode == MODE_GATEWAY && target >= TARGET_PEER) {
    const permit = permitOf(policy, target - TARGET_PEER);
    if (permit == 0) return TARGET_DROP + DROP_NO_PEER_STATE;
    // Errors come from routers on the way and are never filtered (TN-62 row 4).
    const isChecked = load<u32>(permit, PERMIT_HAS_EGRESS_SOURCES) != 0 && !isIcmpError(packet, d);
    if (isChecked && sourceIn(permit + PERMIT_EGRESS_SOURCES, packet) == 0) {
      return TARGET_DROP + DROP_NOT_ALLOWED;
    }
  }
  return target;
}

/** TN-20 rows 2, 3, 5, 6: a reason, or 0. */
function reasonNotToLeave(policy: usize, packet: usize, d: usize): u32 {
  if (isMulticast(packet)) return DROP_MULTICAST;
  if (load<u32>(policy, POLICY_HAS_OWN) != 0) {
    if (sourceIn(policy + POLICY_OWN, packet) == 0) return DROP_BAD_SOURCE;
    if (destinationIn(policy + POLICY_OWN, packet) != 0) return DROP_TO_SELF;
  }
  return isIcmpError(packet, d) ? DROP_ICMP_ERROR_OUT : 0;
}

/**
 * What becomes of the packet that the peer of `slot` sent: TARGET_NONE lets it pass, TARGET_REFUSE and
 * TARGET_CONTROL hand it to control, anything else is TARGET_DROP plus a reason.
 */
export function judgeIngress(slot: u32, packet: usize, d: usize): u32 {
  const policy = atomic.load<usize>(PLANE_ADDRESS, PLANE_POLICY);
  if (policy == 0) return TARGET_DROP + DROP_NOT_CONFIGURED;
  const mode = load<u32>(PLANE_ADDRESS, PLANE_MODE);
  if (mode == MODE_PLAIN) {
    // The source must lead to the sender: a prefix that a longer one of another peer covers does not.
    const isAllowed = sourceIn(policy + POLICY_ROUTES, packet) == TARGET_PEER + slot;
    return isAllowed ? TARGET_NONE : TARGET_DROP + DROP_WG_DISALLOWED_SOURCE;
  }
  if (isControlEvent(packet, d)) return TARGET_CONTROL;
  const permit = permitOf(policy, slot);
  if (permit == 0) return TARGET_DROP + DROP_NO_PEER_STATE;
  const target =
    mode == MODE_CLIENT ? judgeForClient(policy, permit, packet) : judgeForGateway(permit, packet, d);
  if (target != TARGET_NONE) return target;
  const reason = icmpReason(packet, d);
  return reason == 0 ? TARGET_NONE : TARGET_DROP + reason;
}

/** TN-38. */
function judgeForClient(policy: usize, permit: usize, packet: usize): u32 {
  if (sourceIn(permit + PERMIT_SOURCES, packet) == 0) return TARGET_DROP + DROP_NOT_ALLOWED_SOURCE;
  if (load<u32>(policy, POLICY_HAS_OWN) != 0 && destinationIn(policy + POLICY_OWN, packet) == 0) {
    return TARGET_DROP + DROP_BAD_DESTINATION;
  }
  return TARGET_NONE;
}

/** TN-61 rows 3 to 7, 12 and 14. */
function judgeForGateway(permit: usize, packet: usize, d: usize): u32 {
  if (isMulticast(packet)) return TARGET_DROP + DROP_MULTICAST;
  if (isIcmpError(packet, d)) return TARGET_DROP + DROP_ICMP_ERROR_OUT;
  if (sourceIn(permit + PERMIT_SOURCES, packet) == 0) return TARGET_DROP + DROP_NOT_CLIENT_IP;
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
