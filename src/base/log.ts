/** Fields of a log line. Ids are `cid`, `gid`, `rid` (PG-93); secrets never appear (PG-21). */
export type LogFields = Readonly<Record<string, unknown>>;

export type LogEmit = (event: string, fields?: LogFields) => void;

/**
 * A log whose switched-off levels are absent, so that `log.debug?.("…", { … })` builds nothing.
 *
 * Below `program` nobody creates one: machines are given a log, or `SILENT`.
 */
export interface Log {
  readonly error?: LogEmit;
  readonly warn?: LogEmit;
  readonly info?: LogEmit;
  readonly debug?: LogEmit;
  readonly trace?: LogEmit;
  /** The same log for a target such as `ice.agent`, with fields that every line carries. */
  scope(target: string, fields?: LogFields): Log;
}

export const SILENT: Log = {
  scope: () => SILENT,
};
