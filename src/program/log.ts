/**
 * The log of a program (PG-89 to PG-94, PG-106): lines to stderr, filtered by target, with repeated
 * warnings held back. A level that is off is an absent function, so that its arguments are not built.
 */
import type { Log, LogEmit, LogFields } from "../base/index.ts";
import { type LogFilter, rankFor, rankOf } from "./log-filter.ts";
import { formatHuman, formatJournal, formatJson, type LogLevel, type LogRecord } from "./log-format.ts";

/** A WARN or ERROR with the same key is written once in this time (PG §1 `REPEAT_WINDOW`). */
export const REPEAT_WINDOW_MS = 300_000;
const REPEAT_KEYS_MAX = 10_000;

export interface LogOptions {
  readonly filter: LogFilter;
  readonly format: "human" | "json" | "journal";
  readonly hasColours?: boolean;
  readonly write: (line: string) => void;
  /** The same lines for a file: as JSON, or for people without colours (PG-100). */
  readonly writeToFile?: ((line: string) => void) | undefined;
  readonly wallMs: () => number;
  /** For the repetition window: a clock that nobody sets. */
  readonly monotonicMs: () => number;
}

export interface ProgramLog {
  readonly log: Log;
  /** Changes the filter at run time; logs handed out before follow it (PG-92). */
  setFilter(filter: LogFilter): void;
  /** How many lines were held back as repetitions (PG-106). */
  suppressed(): number;
}

export function createLog(options: LogOptions): ProgramLog {
  let filter = options.filter;
  const repeats = createRepeats(options.monotonicMs);
  const format = {
    human: (record: LogRecord) => formatHuman(record, { hasColours: options.hasColours ?? false }),
    journal: formatJournal,
    json: formatJson,
  }[options.format];

  const emit = (level: LogLevel, target: string, context: LogFields, event: string, own: LogFields): void => {
    const suppressed = level === "warn" || level === "error" ? repeats.pass(level, target, event, own) : 0;
    if (suppressed === undefined) return;
    const fields: Record<string, unknown> = { ...own };
    for (const [name, value] of Object.entries(context)) fields[name] ??= value;
    if (suppressed > 0) fields["suppressed"] = suppressed;
    const record: LogRecord = { unixMs: options.wallMs(), level, target, event, fields };
    options.write(format(record));
    options.writeToFile?.(options.format === "json" ? formatJson(record) : formatHuman(record));
  };

  const levels = createLevels((level, { target, context }) =>
    rankOf(level) <= rankFor(filter, target)
      ? (event, own = {}) => emit(level, target, context, event, own)
      : undefined,
  );

  return {
    log: scoped(levels, "postern", {}),
    setFilter(next) {
      filter = next;
    },
    suppressed: repeats.suppressed,
  };
}

/** All that one log has for itself: there are three for each connection, and a gateway has thousands of those. */
interface ScopedLog {
  readonly target: string;
  readonly context: LogFields;
}

/**
 * What all logs share, as their prototype: with functions of its own a log would take 2 KB. Levels are looked up at
 * each use: the filter may have changed since (PG-92).
 */
function createLevels(ifOn: (level: LogLevel, log: ScopedLog) => LogEmit | undefined): object {
  const levels = {
    scope(this: ScopedLog, target: string, fields: LogFields = {}): Log {
      return scoped(levels, target, { ...this.context, ...fields });
    },
  };
  for (const level of ["error", "warn", "info", "debug", "trace"] as const) {
    Object.defineProperty(levels, level, {
      get(this: ScopedLog) {
        return ifOn(level, this);
      },
    });
  }
  return levels;
}

function scoped(levels: object, target: string, context: LogFields): Log {
  return Object.assign(Object.create(levels), { target, context });
}

/** Counts what is held back, per level, target, message and errno (PG-106). */
function createRepeats(monotonicMs: () => number) {
  const seen = new Map<string, { since: number; suppressed: number }>();
  let total = 0;
  return {
    /** The number of lines held back since the last one, or `undefined` to hold this one back, too. */
    pass(level: LogLevel, target: string, event: string, fields: LogFields): number | undefined {
      const key = `${level}\n${target}\n${event}\n${fields["errno"] ?? ""}`;
      const now = monotonicMs();
      const entry = seen.get(key);
      if (entry !== undefined && now - entry.since < REPEAT_WINDOW_MS) {
        entry.suppressed++;
        total++;
        return undefined;
      }
      seen.delete(key);
      if (seen.size >= REPEAT_KEYS_MAX) forgetOldest(seen);
      seen.set(key, { since: now, suppressed: 0 });
      return entry?.suppressed ?? 0;
    },
    suppressed: () => total,
  };
}

function forgetOldest(seen: Map<string, unknown>): void {
  for (const key of seen.keys()) {
    seen.delete(key);
    return;
  }
}
