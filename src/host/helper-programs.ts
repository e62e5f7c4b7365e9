/**
 * Programs of the system that we start: `ip`, `nft`, `ping` and the like (PG-173).
 *
 * They often lie in folders for administrators, which the PATH of an ordinary user lacks: a program that is
 * installed would be called missing.
 */
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

const ADMINISTRATORS_FOLDERS = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

type Environment = Readonly<Record<string, string | undefined>>;

/** What a helper program is started with: by its PATH it is found, and by the same one what it starts. */
export function helperEnvironment(env: Environment = process.env): Record<string, string | undefined> {
  return { ...env, PATH: helperFolders(env).join(delimiter) };
}

/** The path of a helper program; `undefined` when it is not installed. */
export function findHelper(name: string, env: Environment = process.env): string | undefined {
  return helperFolders(env)
    .map((folder) => join(folder, name))
    .find(isExecutable);
}

function helperFolders(env: Environment): readonly string[] {
  const own = (env["PATH"] ?? "").split(delimiter).filter((folder) => folder !== "");
  return [...own, ...ADMINISTRATORS_FOLDERS.filter((folder) => !own.includes(folder))];
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
