/** From the argument of `postern wg` to a configuration, with the errors and codes of PG-143. */
import { readFileSync, statSync } from "node:fs";
import { openKernel, openRtnetlink } from "../../../bindings/linux/index.ts";
import { type Log, PosternError } from "../../base/index.ts";
import { routeTableNumber } from "../../host/index.ts";
import { type ConfigHost, locateConfig, parseWgConfig, type WgConfig } from "../../wg/index.ts";

export interface LocatedConfig {
  readonly name: string;
  readonly config: WgConfig;
  /** `Table` with its name looked up. */
  readonly table: "auto" | "off" | number;
}

const WORLD_READABLE = 0o004;
/** Names that iproute2 knows without a file. */
const TABLE_NAMES: ReadonlyMap<string, number> = new Map([
  ["default", 253],
  ["main", 254],
  ["local", 255],
]);

const HOST: ConfigHost = {
  portOf: (service) => findService(readOptional("/etc/services"), service),
  indexOf: findDevice,
};

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

/** `--bare`: an interface of which nothing is known but its name. @throws PosternError `usage` */
export function bareConfig(argument: string): LocatedConfig {
  const located = locateConfig(argument);
  if (!located.ok || located.value.name !== argument) {
    throw new PosternError(
      "usage",
      `--bare: '${argument}' is no name of an interface`,
      "a NAME, and no file",
    );
  }
  const empty = parseWgConfig("[Interface]\n", HOST);
  if (!empty.ok) throw mistake(argument, empty.line, empty.message);
  return { name: located.value.name, config: empty.value, table: "off" };
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
  const number = routeTableNumber(table.name) ?? TABLE_NAMES.get(table.name);
  if (number !== undefined) return number;
  throw mistake(path, table.line, `no table is called '${table.name}'`);
}

function readOptional(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // It need not be installed; its names are unknown then.
    return "";
  }
}

function findDevice(device: string): number | undefined {
  const rtnetlink = openRtnetlink(openKernel());
  try {
    return rtnetlink.links().find(({ name }) => name === device)?.index;
  } finally {
    rtnetlink.close();
  }
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
