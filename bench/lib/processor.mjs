/** Processor time of processes and of the machine, from /proc. */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { ASKED } from "./limits.mjs";

const TICKS_PER_SECOND = Number(execFileSync("getconf", ["CLK_TCK"], { ...ASKED, encoding: "utf8" }));

/** User and system seconds that a process and all its threads have used. */
export function cpuSeconds(pid) {
  const { user, system } = cpuParts(pid);
  return user + system;
}

/** The same, apart. */
export function cpuParts(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The name in brackets may hold anything; the fields that follow are counted from its end.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return { user: Number(fields[11]) / TICKS_PER_SECOND, system: Number(fields[12]) / TICKS_PER_SECOND };
}

/** How often threads of a process have gone to sleep by themselves. */
export function sleeps(pid) {
  const threads = readdirSync(`/proc/${pid}/task`);
  const of = (thread) => readFileSync(`/proc/${pid}/task/${thread}/status`, "utf8");
  return threads.reduce(
    (sum, thread) => sum + Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(of(thread))?.[1] ?? 0),
    0,
  );
}

/** Most resident memory so far, in MB. */
export function peakMemoryMb(pid) {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024;
}

/** Seconds of all processors: in processes, in interrupts, stolen by the hypervisor. */
export function machineSeconds() {
  const line = readFileSync("/proc/stat", "utf8").split("\n")[0] ?? "";
  const [user, nice, system, , , irq, softirq, steal] = line.split(/\s+/).slice(1).map(Number);
  return {
    processes: (user + nice + system) / TICKS_PER_SECOND,
    interrupts: (irq + softirq) / TICKS_PER_SECOND,
    steal: steal / TICKS_PER_SECOND,
  };
}
