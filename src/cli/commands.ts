/**
 * Every command, once (PG-1): dispatch, help and documents are made from this table. Programs are
 * loaded when their command runs, so that `--version` and `help` load none of them.
 */
import type { Program, ProgramIo } from "../program/io.ts";
import type { DemoOptions } from "../program/options.ts";
import { DEMO_ONLY, LOGGING, type OptionSpec, type OptionTable } from "./options.ts";

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
  readonly words: { readonly min: number; readonly max: number };
  readonly options: OptionTable;
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
function define<T extends OptionTable>(definition: Definition<T>): Command {
  return {
    ...definition,
    // The parser builds `values` from this very table.
    run: (values, words, io) => definition.run(values as Values<T>, words, io),
  };
}

const demo = define({
  name: "demo",
  summary: "portal, gateway, client and a web server in network namespaces, measured and removed again",
  usage: "",
  words: { min: 0, max: 0 },
  options: { ...DEMO_ONLY, ...LOGGING },
  examples: [
    ["postern demo", "as root, or as a user who may make user namespaces"],
    ["postern demo --json | tail -n 1", "the results for programs"],
  ],
  run: async (values, _words, io) => {
    const { runDemo } = await import("../program/demo/index.ts");
    return await (runDemo satisfies Program<DemoOptions>)(values, io);
  },
});

export const COMMANDS: readonly Command[] = [demo];
