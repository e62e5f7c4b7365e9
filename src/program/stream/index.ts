export { type Bridge, type BridgeOptions, type BridgeStats, openBridge } from "./bridge.ts";
export {
  openStreamListener,
  type StreamCertificate,
  type StreamCounters,
  type StreamListener,
  type StreamListenerOptions,
} from "./listener.ts";
