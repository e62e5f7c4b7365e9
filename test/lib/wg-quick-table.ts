/** The table of `test/vectors/wg-conf`, made again by the tools of this machine. */
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Namespace } from "../../src/program/lab/index.ts";

export interface WgQuickTable {
  /** What gave the verdicts, with versions: other versions may judge otherwise. */
  readonly tools: readonly string[];
  readonly files: Readonly<Record<string, unknown>>;
}

const FOLDER = join(import.meta.dirname, "../vectors/wg-conf");

export const TABLE = JSON.parse(readFileSync(join(FOLDER, "table.json"), "utf8")) as WgQuickTable;

/** Why the table cannot be compared here; `undefined` when it can. */
export function otherTools(): string | undefined {
  const said = `${outputOf("wg", "--version")}${outputOf("ip", "-V")}`;
  const found = said.match(/wireguard-tools v[\d.]+|iproute2-[\d.]+/g) ?? [];
  return found.join() === TABLE.tools.join() ? undefined : `${found.join(" and ")} may judge otherwise`;
}

function outputOf(command: string, argument: string): string {
  return spawnSync(command, [argument], { timeout: 60_000, encoding: "utf8" }).stdout ?? "";
}

/** Runs wg-quick on the named files, in a namespace of which nothing else is wanted. */
export async function observe(
  namespace: Namespace,
  names: readonly string[],
  withinMs: number,
): Promise<WgQuickTable> {
  const folder = join(namespace.runFolder, "wg-conf");
  mkdirSync(folder);
  for (const name of names) copyFileSync(join(FOLDER, `${name}.conf`), join(folder, `${name}.conf`));
  const args = [join(FOLDER, "observe.mjs"), "/run/wg-conf"];
  return JSON.parse(await namespace.run(process.execPath, args, { withinMs })) as WgQuickTable;
}
