export { KEY_BYTES, REJECT_AFTER_TIME_MS } from "./constants.ts";
export { createWgDevice } from "./device.ts";
export type {
  AddPeerRefusal,
  HandshakeInput,
  HandshakeOutcome,
  PeerOptions,
  PeerRef,
  WgDevice,
  WgDeviceOptions,
  WgEvent,
  WgPeerStats,
  WgTransmit,
} from "./device-face.ts";
export { isLowOrder } from "./low-order.ts";
export { CLIENT_POLICY, GATEWAY_POLICY, PLAIN_POLICY, type WgPolicy } from "./policy.ts";
export { type HandshakeCrypto, type KeyPair, NOBLE_SYMMETRIC } from "./primitives.ts";
export { WG_DROP_REASONS, type WgDropCounts, type WgDropReason } from "./reasons.ts";
