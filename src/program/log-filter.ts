/** The filter grammar `[target=]level,…` (PG-91). */
import { malformed, type Parsed, parsed } from "../base/index.ts";
import type { LogLevel } from "./log-format.ts";

const LEVELS: readonly string[] = ["off", "error", "warn", "info", "debug", "trace"];

/** Index into `LEVELS`: a line is written when its own rank is at most the filter's. */
export type LogRank = number;

export interface LogFilter {
  readonly byDefault: LogRank;
  /** Prefix of a target → rank. */
  readonly targets: ReadonlyMap<string, LogRank>;
}

export function rankOf(level: LogLevel | "off"): LogRank {
  return LEVELS.indexOf(level);
}

/** Reads a filter; the reason of a malformed one is a sentence for the person who wrote it. */
export function parseLogFilter(text: string): Parsed<LogFilter> {
  let byDefault = rankOf("info");
  const targets = new Map<string, LogRank>();
  for (const part of text.split(",").map((piece) => piece.trim())) {
    if (part === "") continue;
    const at = part.lastIndexOf("=");
    const word = part.slice(at + 1).toLowerCase();
    const rank = LEVELS.indexOf(word);
    if (rank < 0) {
      return malformed(`unknown level '${word}' in log filter; known: ${LEVELS.join(", ")}`);
    }
    if (at < 0) byDefault = rank;
    else targets.set(part.slice(0, at).trim(), rank);
  }
  return parsed({ byDefault, targets });
}

/** What a target is written at: the longest matching prefix at `.` or `::` decides. */
export function rankFor(filter: LogFilter, target: string): LogRank {
  let best = filter.byDefault;
  let length = -1;
  for (const [prefix, rank] of filter.targets) {
    if (prefix.length > length && isBelow(target, prefix)) {
      best = rank;
      length = prefix.length;
    }
  }
  return best;
}

function isBelow(target: string, prefix: string): boolean {
  if (!target.startsWith(prefix)) return false;
  const rest = target.slice(prefix.length);
  return rest === "" || rest.startsWith(".") || rest.startsWith("::");
}
