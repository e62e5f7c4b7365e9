/** What every program can be asked (PG-108). */
import * as v from "valibot";
import type { LogControl } from "../io.ts";
import { type ControlMethods, method } from "./methods.ts";
import { ControlRefusal } from "./protocol.ts";
import type { ProgramStatus } from "./status.ts";

export interface CommonParts {
  readonly status: () => ProgramStatus;
  /** In Prometheus text format (PG-114). */
  readonly metrics: () => string;
  readonly logControl: LogControl;
  /** Begins the clean end (PG-15). */
  readonly stop: () => void;
}

const FILTER_CHARACTERS_MAX = 1024;

export function commonMethods({ status, metrics, logControl, stop }: CommonParts): ControlMethods {
  return {
    status: method({}, () => status()),
    metrics: method({}, () => metrics()),
    setLogFilter: method(
      // Without a filter: back to that of the start.
      { filter: v.optional(v.pipe(v.string(), v.maxLength(FILTER_CHARACTERS_MAX))) },
      ({ filter }) => {
        const previous = logControl.filter();
        if (filter === undefined) logControl.resetFilter();
        else {
          const set = logControl.setFilter(filter);
          if (!set.ok) throw new ControlRefusal("bad_params", set.reason);
        }
        return { previous, filter: logControl.filter() };
      },
    ),
    stop: method({}, () => {
      stop();
      return {};
    }),
  };
}
