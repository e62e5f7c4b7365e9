/**
 * Named steps with a progress line each, for the scripts that a person or CI waits for.
 *
 * A step's output is held back and shown only when it fails: a green run is a column of times, a red
 * one ends with what the failing tool said.
 */
import { spawn } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The root of the clone, whatever directory the script was started from. */
export const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

/** Where npm puts the executables of the packages. */
export const BIN = join(ROOT, "node_modules", ".bin");

/**
 * Runs a program in the clone's root.
 * @returns its exit status and its standard output and error in the order in which they came
 */
export function run(command, args, { show = false, env = {} } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: ROOT,
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    const keep = (chunk) => {
      output += chunk;
      if (show) process.stderr.write(chunk);
    };
    child.stdout.setEncoding("utf8").on("data", keep);
    child.stderr.setEncoding("utf8").on("data", keep);
    child.on("error", (error) => resolve({ status: 127, output: `${command}: ${error.message}\n` }));
    child.on("close", (status, signal) => resolve({ status: status ?? 1, signal, output }));
  });
}

/**
 * Does one step and says how long it took.
 * @param work resolves to `{ status, output }`; status 0 is success
 */
export async function step(title, work) {
  const isTerminal = process.stderr.isTTY === true;
  if (isTerminal) process.stderr.write(`${title} …`);
  const started = Date.now();
  const { status, output } = await work();
  const seconds = ((Date.now() - started) / 1000).toFixed(1);
  const mark = status === 0 ? "" : "  FAILED";
  process.stderr.write(`${isTerminal ? "\r" : ""}${title.padEnd(40)} ${seconds.padStart(6)} s${mark}\n`);
  if (status !== 0) process.stderr.write(output.endsWith("\n") ? output : `${output}\n`);
  return status;
}

/** Modification time in ms of the newest file or folder below `paths`; folders show deletions. */
export function newest(paths) {
  let latest = 0;
  const visit = (path) => {
    const stat = statSync(path);
    latest = Math.max(latest, stat.mtimeMs);
    if (stat.isDirectory()) for (const name of readdirSync(path)) visit(join(path, name));
  };
  for (const path of paths) if (existsSync(join(ROOT, path))) visit(join(ROOT, path));
  return latest;
}

/** All files below `folder` (relative to the root) whose name ends with `suffix`. */
export function filesBelow(folder, suffix) {
  const found = [];
  const visit = (path) => {
    for (const entry of readdirSync(join(ROOT, path), { withFileTypes: true })) {
      const inner = join(path, entry.name);
      if (entry.isDirectory()) visit(inner);
      else if (entry.name.endsWith(suffix)) found.push(inner);
    }
  };
  if (existsSync(join(ROOT, folder))) visit(folder);
  return found;
}
