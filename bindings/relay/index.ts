export type { ControlMessage, RelayDataPath, RelayPlaneOptions } from "./face.ts";
export { compileRelay } from "./relay-module.ts";
export { openRelayPlane } from "./relay-plane.ts";
