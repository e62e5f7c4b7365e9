/** From the argument of `postern wg` to a configuration, with the errors and codes of PG-143. */
import { readFileSync, statSync } from "node:fs";
import { type Log, PosternError, U32_MAX } from "../../base/index.ts";
import { type ConfigHost, locateConfig, parseNumber, parseWgConfig, type WgConfig } from "../../wg/index.ts";

export interface LocatedConfig {
  readonly name: string;
  readonly config: WgConfig;
  /** `Table` with its name looked up. */
  readonly table: "auto" | "off" | number;
}

const WORLD_READABLE = 0o004;
const TABLE_FILES = ["/etc/iproute2/rt_tables", "/usr/share/iproute2/rt_tables"];
/** Names that iproute2 knows without a file. */
const TABLE_NAMES: ReadonlyMap<string, number> = new Map([
  ["default", 253],
  ["main", 254],
  ["local", 255],
]);

const HOST: ConfigHost = { portOf: (service) => findService(readOptional("/etc/services"), service) };

/**
 * @throws PosternError `usage`, `config-file` (exit 2, the message begins with `FILE:line:`) or
 * `file-unreadable` (exit 3)
 */
export function readConfig(
  argument: string,
  options: { readonly allowHooks: boolean; readonly log: Log },
): LocatedConfig {
  const located = locateConfig(argument);
  if (!located.ok) throw new PosternError("usage", located.reason);
  const { name, path } = located.value;
  const result = parseWgConfig(readText(path), HOST);
  if (!result.ok) throw mistake(path, result.line, result.message);
  const config = result.value;
  const hook = config.hooks[0];
  if (hook !== undefined && !options.allowHooks) {
    throw mistake(path, hook.line, `${hook.kind} is only run with --allow-hooks`);
  }
  for (const { line, message } of config.warnings) {
    options.log.warn?.("configuration file", { at: `${path}:${line}`, remark: message });
  }
  warnIfExposed(path, config, options.log);
  return { name, config, table: resolveTable(path, config) };
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new PosternError("file-unreadable", `cannot read ${path}`, undefined, { cause });
  }
}

function mistake(path: string, line: number, message: string): PosternError {
  return new PosternError("config-file", `${path}:${line}: ${message}`);
}

function warnIfExposed(path: string, config: WgConfig, log: Log): void {
  if (config.privateKey === undefined || (statSync(path).mode & WORLD_READABLE) === 0) return;
  log.warn?.("the private key is readable for everybody", { path, hint: `chmod 600 ${path}` });
}

function resolveTable(path: string, { table }: WgConfig): "auto" | "off" | number {
  if (typeof table !== "object") return table;
  const written = TABLE_FILES.map((file) => findTable(readOptional(file), table.name));
  const number = written.find((one) => one !== undefined) ?? TABLE_NAMES.get(table.name);
  if (number !== undefined) return number;
  throw mistake(path, table.line, `no table is called '${table.name}' in ${TABLE_FILES[0]}`);
}

function readOptional(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // iproute2 need not be installed; its table names are then unknown.
    return "";
  }
}

/** The number before a name in the format of rt_tables: `200 name`, comments with `#`. */
export function findTable(text: string, name: string): number | undefined {
  for (const line of text.split("\n")) {
    const [number = "", word] = line.replace(/#.*$/, "").trim().split(/\s+/);
    if (word !== name) continue;
    return number.startsWith("0x") ? Number(number) : parseNumber(number, 0, U32_MAX);
  }
  return undefined;
}

/** The UDP port before a name or alias in the format of services: `domain 53/udp alias # comment`. */
export function findService(text: string, name: string): number | undefined {
  for (const line of text.split("\n")) {
    const [first, port = "", ...aliases] = line.replace(/#.*$/, "").trim().split(/\s+/);
    const number = /^(\d{1,5})\/udp$/.exec(port)?.[1];
    if (number !== undefined && (first === name || aliases.includes(name))) return Number(number);
  }
  return undefined;
}
