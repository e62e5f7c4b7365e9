export { checksumAdd, checksumFinish, pseudoHeaderSum } from "./checksum.ts";
export {
  type ControlEvent,
  encodeGoodbye,
  isControlEvent,
  type MalformedControlEvent,
  parseControlEvent,
} from "./control-event.ts";
export { encodeRefusal, type Refusal } from "./refusal.ts";
export { createTokenBucket, type TokenBucket } from "./token-bucket.ts";
