/**
 * Programs of the system that we start: `ip`, `nft`, `ping` and the like (PG-173).
 *
 * They often lie in folders for administrators, which the PATH of an ordinary user lacks: a program that is
 * installed would be called missing.
 */
import { execFile } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

const ADMINISTRATORS_FOLDERS = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

type Environment = Readonly<Record<string, string | undefined>>;

/** What a helper program is started with: by its PATH it is found, and by the same one what it starts. */
export function helperEnvironment(env: Environment = process.env): Record<string, string | undefined> {
  return { ...env, PATH: helperFolders(env).join(delimiter) };
}

/** Of a helper that is run to its end. */
export interface HelperLimits {
  readonly timeout: number;
  readonly maxBuffer?: number;
}

/** Runs a helper program in the background; `undefined` when it fails, is not there, or cannot be started now. */
export function runLater(
  name: string,
  parameters: readonly string[],
  limits: HelperLimits,
  input = "",
): Promise<string | undefined> {
  return new Promise((resolve) => {
    try {
      const child = execFile(
        name,
        [...parameters],
        { ...limits, encoding: "utf8", env: helperEnvironment() },
        (error, output) => resolve(error === null ? output : undefined),
      );
      // A child that ends without reading is told by its exit status.
      child.stdin?.on("error", () => {});
      child.stdin?.end(input);
    } catch {
      // Of some errors, ENOMEM for one, Node tells by throwing at once.
      resolve(undefined);
    }
  });
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
