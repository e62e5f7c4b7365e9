/** Processor time of processes and of the machine, from /proc. */
import { readFileSync } from "node:fs";

/** What the kernel counts in, on every Linux (USER_HZ). */
const TICKS_PER_SECOND = 100;

/** User and system seconds that a process and all its threads have used; 0 once it has ended. */
export function processSeconds(pid: number): number {
  const stat = read(`/proc/${pid}/stat`);
  // The name in brackets may hold anything; the fields that follow are counted from its end.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) / TICKS_PER_SECOND;
}

/** Seconds that all processors together have spent in processes. */
export function machineSeconds(): number {
  const [user = 0, nice = 0, system = 0] = (read("/proc/stat").split("\n")[0] ?? "")
    .split(/\s+/)
    .slice(1)
    .map(Number);
  return (user + nice + system) / TICKS_PER_SECOND;
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
