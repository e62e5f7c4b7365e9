/** How a benchmark ends that is told to: as any other end, by an exit, at which everybody takes back what is theirs. */
import { spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { constants } from "node:os";

const SIGNALS = ["SIGHUP", "SIGINT", "SIGTERM"];

function codeOf(signal) {
  return 128 + constants.signals[signal];
}

/**
 * From now on a signal ends this process by an exit. A lab removes its namespaces then, with all that runs in them
 * (TS-22). A second signal changes nothing.
 */
export function endOnSignals() {
  for (const signal of SIGNALS) process.on(signal, () => process.exit(codeOf(signal)));
}

const children = new Set();
const folders = new Set();
let isHeard = false;

/** A process outside of a lab, which would outlive us. */
export function endWithUs(child) {
  undoAtExit();
  children.add(child);
  child.once("exit", () => children.delete(child));
  return child;
}

/** A folder outside of a lab; whoever is done with it may remove it before. */
export function removeWithUs(folder) {
  undoAtExit();
  folders.add(folder);
  return folder;
}

function undoAtExit() {
  if (isHeard) return;
  isHeard = true;
  process.once("exit", () => {
    for (const child of children) child.kill("SIGKILL");
    for (const folder of folders) rmSync(folder, { recursive: true, force: true });
  });
}

/** Runs a process in place of this one, which hands it the signals that it gets. @returns its exit code */
export async function runInOurPlace(command, args, options) {
  const child = spawn(command, args, { stdio: "inherit", ...options });
  const handOn = (signal) => child.kill(signal);
  for (const signal of SIGNALS) process.on(signal, handOn);
  const status = await new Promise((resolve) => {
    child.once("error", () => resolve(1));
    child.once("close", (code, signal) => resolve(code ?? codeOf(signal)));
  });
  for (const signal of SIGNALS) process.off(signal, handOn);
  return status;
}
