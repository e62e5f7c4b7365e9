/** The log of an instance: records for a function of the program that embeds it, nothing without one. */
import { type Log, type LogEmit, SILENT } from "../base/index.ts";
import { type LogFilter, parseLogFilter, rankFor, rankOf } from "../program/log-filter.ts";
import type { LogLevel, LogRecord } from "../program/log-format.ts";
import { usage } from "./error.ts";

const LEVELS = ["error", "warn", "info", "debug", "trace"] as const satisfies readonly LogLevel[];

/** @throws PosternError `host` for a filter that cannot be read */
export function createRecordLog(
  emit: ((record: LogRecord) => void) | undefined,
  filterText: string | undefined,
): Log {
  if (emit === undefined) return SILENT;
  const filter = parseLogFilter(filterText ?? "info");
  if (!filter.ok) throw usage(filter.reason);
  return scopeOf(emit, filter.value, "postern", {});
}

function scopeOf(
  emit: (record: LogRecord) => void,
  filter: LogFilter,
  target: string,
  context: LogRecord["fields"],
): Log {
  const rank = rankFor(filter, target);
  const levels: Partial<Record<LogLevel, LogEmit>> = {};
  for (const level of LEVELS) {
    if (rankOf(level) > rank) continue;
    levels[level] = (event, fields = {}) =>
      emit({ unixMs: Date.now(), level, target, event, fields: { ...context, ...fields } });
  }
  return {
    ...levels,
    scope: (inner, fields = {}) => scopeOf(emit, filter, inner, { ...context, ...fields }),
  };
}
