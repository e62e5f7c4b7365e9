/** Programs of the other JavaScript runtimes: named by a variable, or found by the shell's path. */
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** `POSTERN_TEST_DENO` and `POSTERN_TEST_BUN` name programs outside the path. */
export function findRuntime(name: "deno" | "bun"): string | undefined {
  const named = process.env[`POSTERN_TEST_${name.toUpperCase()}`];
  const folders = (process.env["PATH"] ?? "").split(delimiter).filter((folder) => folder !== "");
  const places = named === undefined ? folders.map((folder) => join(folder, name)) : [named];
  return places.find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
