export {
  type Hook,
  type HookKind,
  locateConfig,
  parseWgConfig,
  type WgConfig,
  type WgConfigPeer,
} from "./config-file.ts";
export type { ConfigRemark } from "./config-line.ts";
export { toSet } from "./config-set.ts";
export { type ConfigHost, type InterfaceAddress, parseAnyBase, parseNumber } from "./config-value.ts";
export { type Endpoint, parseEndpoint } from "./endpoint.ts";
export {
  createWgInterface,
  type WgInterface,
  type WgInterfaceCommand,
  type WgInterfaceOptions,
  type WgInterfaceTransmit,
  type WgSetRefusal,
} from "./interface.ts";
export { partsOf, type WgSetPart } from "./set-parts.ts";
export type { Steps } from "./steps.ts";
export {
  createUapiReader,
  formatErrno,
  formatStatus,
  formatStatusInSteps,
  parseSet,
  parseSetInSteps,
  UAPI_ERRNO,
  UAPI_LINE_BYTES_MAX,
  UAPI_REQUEST_BYTES_MAX,
  type UapiReader,
  type UapiRequest,
  type WgPeerSet,
  type WgPeerStatus,
  type WgSet,
  type WgStatus,
} from "./uapi.ts";
