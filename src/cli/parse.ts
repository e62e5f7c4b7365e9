/**
 * From words and variables to the values of a command's options (PG-2, PG-3, PG-8).
 *
 * Precedence: command line, `POSTERN_*`, alias, default. Whatever cannot be understood is a
 * `PosternError` of code `usage` that names the nearest thing that could.
 */
import { type ParseArgsConfig, parseArgs } from "node:util";
import { nearest, type Parsed, PosternError, parsed } from "../base/index.ts";
import type { OptionSpec, OptionTable } from "./options.ts";
import { parseBoolean, parseDuration, parseInteger } from "./values.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

export interface ParsedArguments {
  /** By the option's name in camel case; `undefined` where nothing was given and there is no default. */
  readonly values: Readonly<Record<string, unknown>>;
  readonly words: readonly string[];
  /** What a person should know, e.g. two variables that contradict each other. */
  readonly warnings: readonly string[];
}

/** @throws PosternError `usage` */
export function parseArguments(
  args: readonly string[],
  env: Environment,
  table: OptionTable,
  command: string,
  /** Words with which nothing is required. */
  waives: readonly string[] = [],
): ParsedArguments {
  const warnings: string[] = [];
  const { given, words } = readCommandLine(args, table, command, warnings);
  const isWaived = words.some((word) => waives.includes(word)) || hasWaiver(table, given);
  const values: Record<string, unknown> = {};
  const idle: string[] = [];
  for (const [name, spec] of Object.entries(table)) {
    refuseVariables(spec, env);
    const wanted = given.get(name) ?? fromEnvironment(name, spec, env, warnings);
    const value = wanted ?? defaultOf(spec);
    if (spec.isLater && asksForMore(wanted, spec)) idle.push(`--${name}`);
    if (value === undefined && spec.kind === "text" && spec.isRequired && !isWaived) {
      throw usage(`--${name} is required`, `give it, or set ${variableOf(name)}`);
    }
    values[camelCase(name)] = value;
  }
  if (idle.length > 0) warnings.push(`without effect in this release: ${idle.join(", ")}`);
  return { values, words, warnings };
}

function hasWaiver(table: OptionTable, given: ReadonlyMap<string, unknown>): boolean {
  return Object.entries(table).some(
    ([name, spec]) => spec.kind === "flag" && spec.waives === true && given.get(name) === true,
  );
}

function refuseVariables({ refusedVariables = {} }: OptionSpec, env: Environment): void {
  for (const [variable, reason] of Object.entries(refusedVariables)) {
    if ((env[variable] ?? "") !== "") throw usage(`${variable}: ${reason}`);
  }
}

/** Whether something is asked for that does not happen: more than the default, and no switching off. */
function asksForMore(wanted: unknown, spec: OptionSpec): boolean {
  return wanted !== undefined && wanted !== defaultOf(spec) && wanted !== false && wanted !== "disabled";
}

/** Words and options as they stand on the command line, checked. */
function readCommandLine(args: readonly string[], table: OptionTable, command: string, warnings: string[]) {
  const options: NonNullable<ParseArgsConfig["options"]> = {};
  for (const [name, spec] of Object.entries(table)) {
    const type = spec.kind === "flag" ? "boolean" : "string";
    options[name] = spec.short === undefined ? { type } : { type, short: spec.short };
    if (spec.former !== undefined) options[spec.former] = { type };
  }
  const { tokens } = parseArgs({
    args: [...args],
    options,
    strict: false,
    tokens: true,
    allowPositionals: true,
  });
  const given = new Map<string, unknown>();
  const words: string[] = [];
  for (const token of tokens) {
    if (token.kind === "positional") words.push(token.value);
    if (token.kind !== "option") continue;
    if (token.name === "token") throw tokenRefused();
    const { name, spec, isNegated } = findOption(token.name, token.rawName, table, command);
    if (token.name === spec.former) warnings.push(renamed(`--${token.name}`, `--${name}`));
    const value = readOption(token, spec, isNegated);
    if (spec.kind === "list") given.set(name, [...asList(given.get(name)), value]);
    else given.set(name, value);
  }
  return { given, words };
}

function findOption(name: string, raw: string, table: OptionTable, command: string) {
  const exact = ownSpec(table, name);
  if (exact !== undefined) return { name, spec: exact, isNegated: false };
  if (name.startsWith("no-") && raw.startsWith("--")) {
    const positive = name.slice(3);
    const spec = ownSpec(table, positive);
    if (spec?.kind === "flag") return { name: positive, spec, isNegated: true };
  }
  const renamedTo = Object.entries(table).find(([, { former }]) => former === name);
  if (renamedTo !== undefined) return { name: renamedTo[0], spec: renamedTo[1], isNegated: false };
  const guess = raw.startsWith("--") ? nearest(name, [...Object.keys(table), "help", "version"]) : undefined;
  const hint = guess === undefined ? `see 'postern help ${command}'` : `did you mean '--${guess}'?`;
  throw usage(`unknown option '${raw}' of ${command}`, hint);
}

interface OptionToken {
  readonly rawName: string;
  readonly value?: string | undefined;
  readonly inlineValue?: boolean | undefined;
}

function readOption(token: OptionToken, spec: OptionSpec, isNegated: boolean): unknown {
  const { rawName, value } = token;
  if (spec.kind === "flag") {
    if (isNegated && value !== undefined) throw usage(`${rawName} takes no value`);
    return value === undefined ? !isNegated : orUsage(rawName, value, parseBoolean(value));
  }
  // `--name --other` is a forgotten value far more often than a value that begins with a dash.
  if (value === undefined || (value.startsWith("-") && value !== "-" && token.inlineValue !== true)) {
    throw usage(`${rawName} needs a value`, `write ${rawName}=VALUE if it begins with '-'`);
  }
  return orUsage(rawName, value, readValue(value, spec));
}

/** Reads text for an option that is no list by its kind. */
function readValue(text: string, spec: OptionSpec): Parsed<unknown> {
  switch (spec.kind) {
    case "flag":
      return parseBoolean(text);
    case "integer":
      return parseInteger(text, spec.min, spec.max);
    case "duration":
      return parseDuration(text);
    case "choice": {
      if (spec.choices.includes(text)) return parsed(text);
      const guess = nearest(text, spec.choices);
      const known = `is none of ${spec.choices.join(", ")}`;
      return { ok: false, reason: guess === undefined ? known : `${known}; did you mean '${guess}'?` };
    }
    case "list":
      return parsed(text);
    case "text":
      return spec.check?.(text) ?? parsed(text);
  }
}

/** PG-3: an empty variable is unset; a contradiction between variable and alias is said, not its values. */
function fromEnvironment(name: string, spec: OptionSpec, env: Environment, warnings: string[]): unknown {
  if (spec.hasVariable === false) return undefined;
  let chosen: { readonly variable: string; readonly value: unknown } | undefined;
  for (const { variable, isNegated } of variablesOf(name, spec)) {
    const text = env[variable];
    if (text === undefined || text === "") continue;
    if (spec.former !== undefined && variable === variableOf(spec.former)) {
      warnings.push(renamed(variable, variableOf(name)));
    }
    const read = orUsage(variable, text, readValue(text, spec));
    const value = isNegated ? !read : spec.kind === "list" ? [read] : read;
    if (chosen === undefined) chosen = { variable, value };
    else if (String(chosen.value) !== String(value)) {
      warnings.push(`${chosen.variable} and ${variable} differ; ${chosen.variable} is used`);
    }
  }
  return chosen?.value;
}

function variablesOf(name: string, spec: OptionSpec): { variable: string; isNegated: boolean }[] {
  return [
    { variable: variableOf(name), isNegated: false },
    ...(spec.former === undefined ? [] : [{ variable: variableOf(spec.former), isNegated: false }]),
    ...(spec.aliases ?? []).map((variable) => ({ variable, isNegated: false })),
    ...(spec.negatedAliases ?? []).map((variable) => ({ variable, isNegated: true })),
  ];
}

/** `POSTERN_` and the name in capitals (PG-6). */
export function variableOf(name: string): string {
  return `POSTERN_${name.toUpperCase().replaceAll("-", "_")}`;
}

function defaultOf(spec: OptionSpec): unknown {
  return spec.kind === "list" ? [] : spec.default;
}

function renamed(former: string, name: string): string {
  return `${former} is called ${name} now; the next release does not know the old name`;
}

export function camelCase(name: string): string {
  return name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}

function ownSpec(table: OptionTable, name: string): OptionSpec | undefined {
  return Object.hasOwn(table, name) ? table[name] : undefined;
}

function asList(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function orUsage<T>(what: string, text: string, read: Parsed<T>): T {
  if (read.ok) return read.value;
  throw usage(`${what}: '${text.slice(0, 100)}' ${read.reason}`);
}

/** PG-8: the process list shows arguments to everybody. */
function tokenRefused(): PosternError {
  return usage("tokens are not accepted on the command line; use POSTERN_TOKEN or --token-path");
}

export function usage(message: string, hint?: string): PosternError {
  return new PosternError("usage", message, hint);
}
