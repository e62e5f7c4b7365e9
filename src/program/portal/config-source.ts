/**
 * Where the portal's model comes from: the file, the defaults of `--dev`, or both (PT-111, PT-114).
 */
import { type FSWatcher, readFileSync, watch } from "node:fs";
import { basename, dirname } from "node:path";
import { type Log, PosternError } from "../../base/index.ts";
import { type ConfigIssue, type DevDefaults, devModel, parsePortalFile } from "../../portal/config/index.ts";
import type { PortalModel } from "../../portal/server/index.ts";

export interface ConfigSource {
  /** Absent with `--dev` alone. */
  readonly path: string | undefined;
  readonly dev: DevDefaults | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
}

export type LoadResult =
  | { readonly ok: true; readonly model: PortalModel; readonly warnings: readonly string[] }
  /** One line per mistake: `FILE:line:column: message`. */
  | { readonly ok: false; readonly lines: readonly string[] };

/** Editors write a file in several steps; it is read when it has been quiet for so long (PT-114). */
const QUIET_MS = 200;

/**
 * Reads the model.
 *
 * @throws PosternError `config-unreadable` when the file cannot be read
 */
export function loadModel({ path, dev, env }: ConfigSource): LoadResult {
  const outside = { readEnv: (name: string) => env[name], readFile: readTokenFile };
  if (path === undefined) {
    if (dev === undefined) throw new Error("a portal has a file or --dev");
    return { ok: true, model: devModel({ ...outside, dev }), warnings: [] };
  }
  const result = parsePortalFile(readText(path), { ...outside, ...(dev === undefined ? {} : { dev }) });
  return result.ok ? result : { ok: false, lines: result.issues.map((issue) => lineOf(path, issue)) };
}

export interface FileWatch {
  close(): void;
}

/**
 * Calls `onChange` when the file may have changed. The folder is watched, because editors replace files.
 */
export function watchFile(path: string, onChange: () => void, log: Log): FileWatch {
  let quiet: NodeJS.Timeout | undefined;
  let watcher: FSWatcher | undefined;
  try {
    watcher = watch(dirname(path), { persistent: false }, (_, name) => {
      if (name !== null && name !== basename(path)) return;
      clearTimeout(quiet);
      quiet = setTimeout(onChange, QUIET_MS);
    });
    watcher.on("error", (error) => log.warn?.("cannot watch the configuration file", { error }));
  } catch (error) {
    // Out of watches, or a file system without them: SIGHUP still works.
    log.warn?.("cannot watch the configuration file; use SIGHUP", { path, error });
  }
  return {
    close() {
      clearTimeout(quiet);
      watcher?.close();
    },
  };
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new PosternError("config-unreadable", `cannot read ${path}`, "check its name and its permissions", {
      cause,
    });
  }
}

function readTokenFile(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // The caller names the file, with the place that asks for it.
    return undefined;
  }
}

function lineOf(path: string, { line, column, message }: ConfigIssue): string {
  return `${path}:${line}:${column}: ${message}`;
}
