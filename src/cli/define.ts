/** The form of a command (PG-1), and how its `run` is tied to the types of its options. */
import type { ProgramIo } from "../program/io.ts";
import type { OptionSpec, OptionTable } from "./options.ts";

type Camel<S extends string> = S extends `${infer Head}-${infer Tail}`
  ? `${Head}${Capitalize<Camel<Tail>>}`
  : S;

type Given<S extends OptionSpec> = S extends { kind: "flag" }
  ? boolean
  : S extends { kind: "list" }
    ? readonly string[]
    : S extends { kind: "integer" | "duration" }
      ? number
      : S extends { kind: "choice"; choices: readonly (infer C)[] }
        ? C
        : string;

/** What the parser yields for an option: `undefined` is possible only without a default. */
type ValueOf<S extends OptionSpec> = S extends { default: unknown } | { isRequired: true } | { kind: "list" }
  ? Given<S>
  : Given<S> | undefined;

export type Values<T extends OptionTable> = { readonly [K in keyof T & string as Camel<K>]: ValueOf<T[K]> };

export interface Command {
  readonly name: string;
  readonly summary: string;
  /** What follows the name besides options. */
  readonly usage: string;
  readonly words: {
    readonly min: number;
    readonly max: number;
    /** What the words may be; absent: anything. */
    readonly oneOf?: readonly string[];
  };
  readonly options: OptionTable;
  /** Words with which nothing is required. */
  readonly waives?: readonly string[];
  /** The longest clean stop, as the options have it; 5 s if absent (PG-15). */
  readonly stopWithinMs?: (values: Readonly<Record<string, unknown>>) => number;
  /** What is logged besides, whatever `--log` says: part of a filter (PG-104). */
  readonly logsAlso?: (values: Readonly<Record<string, unknown>>) => string | undefined;
  /** It says itself what runs here (PG-139). */
  readonly isAnnounced?: false;
  /** Command lines with what they do. */
  readonly examples: readonly (readonly [line: string, what: string])[];
  /** `values` are those of `options`, as the parser made them. */
  readonly run: (
    values: Readonly<Record<string, unknown>>,
    words: readonly string[],
    io: ProgramIo,
  ) => Promise<number>;
}

interface Definition<T extends OptionTable> extends Omit<Command, "run" | "options"> {
  readonly options: T;
  readonly run: (values: Values<T>, words: readonly string[], io: ProgramIo) => Promise<number>;
}

/** Ties a command's `run` to the types of its options. */
export function define<T extends OptionTable>(definition: Definition<T>): Command {
  return {
    ...definition,
    // The parser builds `values` from this very table.
    run: (values, words, io) => definition.run(values as Values<T>, words, io),
  };
}
