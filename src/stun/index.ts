export {
  type BindingMessage,
  type BindingRequest,
  encodeBindingError,
  encodeBindingRequest,
  encodeBindingSuccess,
  type IceRole,
  type MalformedBinding,
  parseBinding,
  type RoleClaim,
} from "./binding.ts";
export {
  ATTRIBUTE_HEADER_BYTES,
  ERROR_CODE,
  FAMILY_IPV4,
  FAMILY_IPV6,
  FINGERPRINT_BYTES,
  HEADER_BYTES,
  MAGIC_COOKIE,
  METHOD_BINDING,
  ROLE_CONFLICT,
  SOFTWARE,
  TRANSACTION_ID_BYTES,
  USERNAME,
  XOR_MAPPED_ADDRESS,
} from "./constants.ts";
export { crc32 } from "./crc32.ts";
export {
  attributeOf,
  encodeFrame,
  type FrameContent,
  isStunShaped,
  type MalformedFrame,
  parseFrame,
  type StunAttribute,
  type StunClass,
  type StunFrame,
  verifyIntegrity,
} from "./message.ts";
export { parseXorAddress, toXorAddress } from "./xor-address.ts";
