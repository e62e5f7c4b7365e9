export { type Certificate, makeCertificate } from "./certificate.ts";
export {
  type Child,
  type ChildExit,
  type ChildOptions,
  runCommand,
  startChild,
  type WaitOptions,
} from "./child.ts";
export { enter, isInside } from "./enter.ts";
export { MAIN } from "./main-file.ts";
export {
  createLab,
  INHERITED_SETTINGS,
  type Lab,
  missingForLab,
  type Namespace,
  type Port,
  removeLeftovers,
} from "./namespaces.ts";
export { patient, slownessOf } from "./patience.ts";
export { addWire, type Wire, type WireCounters, type WireOptions, type WireSettings } from "./wire.ts";
