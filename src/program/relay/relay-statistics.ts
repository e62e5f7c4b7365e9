/** What goes through the relay, for people: every 10 seconds while it changes (RL-72, PG-115). */
import type { Log } from "../../base/index.ts";

export interface RelayFigures {
  readonly allocations: number;
  readonly channels: number;
  /** Relayed so far, both directions. */
  readonly bytes: number;
}

export const STATISTICS_EVERY_MS = 10_000;

export interface Statistics {
  /** Logs a line if anything changed since the last call. */
  tell(nowMs: number): void;
}

export function createStatistics(read: () => RelayFigures, log: Log, startMs: number): Statistics {
  let last: RelayFigures = { allocations: 0, channels: 0, bytes: 0 };
  let lastMs = startMs;
  return {
    tell(nowMs) {
      const figures = read();
      const bytesPerSecond = ((figures.bytes - last.bytes) * 1000) / Math.max(1, nowMs - lastMs);
      const { allocations, channels } = figures;
      const isChanged =
        allocations !== last.allocations || channels !== last.channels || figures.bytes !== last.bytes;
      if (isChanged) log.info?.("relayed", { allocations, channels, throughput: formatRate(bytesPerSecond) });
      last = figures;
      lastMs = nowMs;
    },
  };
}

const UNITS = ["B/s", "kB/s", "MB/s", "GB/s"] as const;

/** `955.33 MB/s`: steps of 1000, two decimals. */
export function formatRate(bytesPerSecond: number): string {
  let value = bytesPerSecond;
  let unit = 0;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value.toFixed(2)} ${UNITS[unit] ?? ""}`;
}
