/** Whether the machine was quiet while something was measured (TS-50). */
import { readFileSync } from "node:fs";
import { machineSeconds } from "../lib/processor.mjs";

/** Above these a sample is invalid: what others used of one core, and stolen time. */
const OTHERS_MAX = 0.05;
const STEAL_MAX = 0.02;

/**
 * Does `work`, which keeps this process or its children busy.
 * @returns `{ value, valid, reason? }`
 */
export function sampled(work) {
  const [started, before, ownBefore] = [performance.now(), machineSeconds(), ownSeconds()];
  const value = work();
  const seconds = (performance.now() - started) / 1000;
  const [after, ownAfter] = [machineSeconds(), ownSeconds()];
  const others = (after.processes - before.processes - (ownAfter - ownBefore)) / seconds;
  const steal = (after.steal - before.steal) / seconds;
  if (others > OTHERS_MAX) return { value, valid: false, reason: `others used ${percent(others)} of a core` };
  if (steal > STEAL_MAX) return { value, valid: false, reason: `${percent(steal)} stolen` };
  return { value, valid: true };
}

/** User and system seconds of this process and of its children that have ended; 10 ms is the unit. */
function ownSeconds() {
  const stat = readFileSync("/proc/self/stat", "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks) / 100, 0);
}

function percent(share) {
  return `${(100 * share).toFixed(0)} %`;
}
