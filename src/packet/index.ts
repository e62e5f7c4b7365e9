export {
  type Addresses,
  encodeEchoRequest,
  encodeIcmp,
  encodeIp,
  encodeUdp,
  MAX_IP_SIZE,
  PACKET_BYTES_MAX,
  PACKET_HOP_LIMIT,
  type PacketTooBig,
  UDP_HEADER_BYTES,
} from "./build.ts";
export { checksumAdd, checksumFinish, checksumReplace, pseudoHeaderSum } from "./checksum.ts";
export {
  type AssignedIps,
  type ControlEvent,
  type DomainStatus,
  encodeAssignedIps,
  encodeDomainStatus,
  encodeGoodbye,
  isControlEvent,
  type MalformedControlEvent,
  parseControlEvent,
} from "./control-event.ts";
export { cutPacket, cutUdp, FRAGMENT_HEADER_BYTES } from "./cut.ts";
export { type FragmentOf, fragmentOf } from "./fragment.ts";
export {
  ECHO_REQUEST,
  ICMP_HEADER_BYTES,
  type IcmpQuote,
  isIcmpError,
  isProhibited,
  type MalformedIcmp,
  parseIcmpQuote,
} from "./icmp.ts";
export {
  type MalformedPacket,
  type PacketDescriptor,
  type PacketLimits,
  PROTOCOL,
  parsePacket,
} from "./ip.ts";
export { encodeRefusal, encodeTooBig, ICMP_HOP_LIMIT, type Refusal } from "./refusal.ts";
export { type Translation, translated } from "./rewrite.ts";
export { farewellOf, isSyn } from "./tcp.ts";
export { createTokenBucket, type TokenBucket } from "./token-bucket.ts";
export { type PacketView, viewPacket } from "./view.ts";
