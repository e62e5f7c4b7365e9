export type { ControlMessage, RelayDataPath, RelayPlaneOptions } from "./face.ts";
export { openRelayPlane } from "./relay-plane.ts";
