/**
 * A copy of the built programs with something of the test's in front of them, alike in every runtime: options that
 * preload do not reach the threads of Deno and Bun.
 */
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const ROOT = join(import.meta.dirname, "../..");
const BUILD = join(ROOT, "build");

export interface ChangedBuild {
  /** What is started in place of `MAIN`. */
  readonly main: string;
  remove(): void;
}

/**
 * @param entry what the file comes before: the program's own thread, or each of its workers
 * @param file a module below `test/lib`
 */
export function buildWith(entry: "main" | "worker", file: string): ChangedBuild {
  const folder = mkdtempSync(join(tmpdir(), "postern-build-"));
  const programs = join(folder, "build/program");
  mkdirSync(programs, { recursive: true });
  // Deno finds packages by both.
  copyFileSync(join(ROOT, "package.json"), join(folder, "package.json"));
  symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"));
  for (const name of readdirSync(BUILD).filter((name) => name.endsWith(".wasm")))
    symlinkSync(join(BUILD, name), join(folder, "build", name));
  for (const name of readdirSync(join(BUILD, "program")).filter((name) => name.endsWith(".js")))
    copyFileSync(join(BUILD, "program", name), join(programs, name));
  const [place, itself] = [join(programs, `${entry}.js`), `${entry}-itself.js`];
  renameSync(place, join(programs, itself));
  const first = pathToFileURL(join(import.meta.dirname, file)).href;
  writeFileSync(place, `import ${JSON.stringify(first)};\nimport "./${itself}";\n`);
  return { main: join(programs, "main.js"), remove: () => rmSync(folder, { recursive: true }) };
}
