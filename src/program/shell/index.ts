export { readFeatures } from "./features.ts";
export { openPlaneHost, type PlaneFeatures, type PlaneHost, type PlaneHostOptions } from "./plane-host.ts";
export {
  createShell,
  type Shell,
  type ShellCommand,
  type ShellMachine,
  type ShellOptions,
  type ShellPlane,
  type ShellTransmit,
} from "./shell.ts";
