/** What every program measures of its own process. */

import { readdirSync } from "node:fs";
import { runtimeLabel } from "../../../bindings/runtime/index.ts";
import type { ProgramIo } from "../io.ts";
import { VERSION } from "../version.ts";
import { type Sample, sample } from "./families.ts";

export interface ProcessParts {
  readonly role: string;
  readonly isReady: boolean;
  readonly log: ReturnType<ProgramIo["logControl"]["counters"]>;
}

export function processSamples({ role, isReady, log }: ProcessParts): readonly Sample[] {
  const { user, system } = process.cpuUsage();
  return [
    sample("postern_build_info", 1, { version: VERSION, runtime: runtimeLabel(), role }),
    sample("postern_ready", isReady ? 1 : 0),
    sample("postern_log_suppressed_total", log.suppressed),
    sample("postern_log_dropped_total", log.dropped),
    sample("process_resident_memory_bytes", process.memoryUsage.rss()),
    sample("process_cpu_seconds_total", (user + system) / 1e6),
    ...openFiles(),
    sample("process_start_time_seconds", Math.round(Date.now() / 1000 - process.uptime())),
  ];
}

function openFiles(): readonly Sample[] {
  try {
    // The folder's own descriptor is among them.
    return [sample("process_open_fds", readdirSync("/proc/self/fd").length - 1)];
  } catch {
    // Without /proc nobody can say.
    return [];
  }
}
