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

export type LoadResult = {
  /** All that was read or should have been: the file itself, and those that hold tokens. */
  readonly files: readonly string[];
} & (
  | { readonly ok: true; readonly model: PortalModel; readonly warnings: readonly string[] }
  /** One line per mistake: `FILE:line:column: message`. */
  | { readonly ok: false; readonly lines: readonly string[] }
);

/** Editors write a file in several steps; it is read when it has been quiet for so long (PT-114). */
const QUIET_MS = 200;

/**
 * Reads the model.
 *
 * @throws PosternError `config-unreadable` when the file cannot be read
 */
export function loadModel({ path, dev, env }: ConfigSource): LoadResult {
  const files = new Set(path === undefined ? [] : [path]);
  const outside = {
    readEnv: (name: string) => env[name],
    readFile(name: string) {
      files.add(name);
      return readTokenFile(name);
    },
  };
  if (path === undefined) {
    if (dev === undefined) throw new Error("a portal has a file or --dev");
    return { ok: true, model: devModel({ ...outside, dev }), warnings: [], files: [] };
  }
  const result = parsePortalFile(readText(path), { ...outside, ...(dev === undefined ? {} : { dev }) });
  if (result.ok) return { ...result, files: [...files] };
  return { ok: false, lines: result.issues.map((issue) => lineOf(path, issue)), files: [...files] };
}

export interface FileWatch {
  /** From now on it is these files. */
  follow(paths: readonly string[]): void;
  close(): void;
}

/** A mounted secret of Kubernetes changes by a link beside the file. */
const MOUNTED = "..data";

/**
 * Calls `onChange` when one of the files may have changed, once for all that change at once. Their folders are
 * watched, because editors replace files.
 */
export function watchFiles(onChange: () => void, log: Log): FileWatch {
  let quiet: NodeJS.Timeout | undefined;
  let followed = "";
  let watchers: readonly FSWatcher[] = [];

  function watchFolder(folder: string, names: readonly string[]): readonly FSWatcher[] {
    try {
      const watcher = watch(folder, { persistent: false }, (_, name) => {
        if (name !== null && name !== MOUNTED && !names.includes(name)) return;
        clearTimeout(quiet);
        quiet = setTimeout(onChange, QUIET_MS);
      });
      watcher.on("error", (error) =>
        log.warn?.("cannot watch files of the configuration", { folder, error }),
      );
      return [watcher];
    } catch (error) {
      // Out of watches, or a file system without them: SIGHUP still works.
      log.warn?.("cannot watch files of the configuration; use SIGHUP", { folder, error });
      return [];
    }
  }

  function unfollow(): void {
    for (const watcher of watchers) watcher.close();
    watchers = [];
  }

  return {
    follow(paths) {
      const sorted = [...paths].sort();
      if (sorted.join("\n") === followed) return;
      followed = sorted.join("\n");
      unfollow();
      const folders = [...new Set(sorted.map((path) => dirname(path)))];
      watchers = folders.flatMap((folder) =>
        watchFolder(
          folder,
          sorted.filter((path) => dirname(path) === folder).map((path) => basename(path)),
        ),
      );
    },
    close() {
      clearTimeout(quiet);
      unfollow();
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
