/** What every program can be asked (PG-108). */
import * as v from "valibot";
import type { LogFilterControl } from "../io.ts";
import { type ControlMethods, method } from "./methods.ts";
import { ControlRefusal } from "./protocol.ts";
import type { ProgramStatus } from "./status.ts";

export interface CommonParts {
  readonly status: () => ProgramStatus;
  readonly logFilter: LogFilterControl;
  /** Begins the clean end (PG-15). */
  readonly stop: () => void;
}

const FILTER_CHARACTERS_MAX = 1024;

export function commonMethods({ status, logFilter, stop }: CommonParts): ControlMethods {
  return {
    status: method({}, () => status()),
    setLogFilter: method(
      // Without a filter: back to that of the start.
      { filter: v.optional(v.pipe(v.string(), v.maxLength(FILTER_CHARACTERS_MAX))) },
      ({ filter }) => {
        const previous = logFilter.current();
        if (filter === undefined) logFilter.reset();
        else {
          const set = logFilter.set(filter);
          if (!set.ok) throw new ControlRefusal("bad_params", set.reason);
        }
        return { previous, filter: logFilter.current() };
      },
    ),
    stop: method({}, () => {
      stop();
      return {};
    }),
  };
}
