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
export { ROLE_CONFLICT, TRANSACTION_ID_BYTES } from "./constants.ts";
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
