export {
  createShell,
  type Shell,
  type ShellCommand,
  type ShellMachine,
  type ShellOptions,
  type ShellPlane,
  type ShellTransmit,
} from "./shell.ts";
