/** A PostgreSQL of its own, on loopback, run by the user that has no rights: it refuses to run as root. */
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const AS_NOBODY = ["--reuid", "nobody", "--regid", "nogroup", "--clear-groups"];
const VERSIONS = "/usr/lib/postgresql";
const READY_WITHIN_S = 30;

/** Where Debian keeps its programs, outside of the path; undefined: not installed. */
export function findPostgresql(): string | undefined {
  try {
    const newest = readdirSync(VERSIONS).sort((one, other) => Number(other) - Number(one))[0];
    return newest === undefined ? undefined : join(VERSIONS, newest, "bin");
  } catch {
    return undefined;
  }
}

/** Answers without asking for a password. `port` is free. */
export async function startPostgresql(port: number): Promise<{ close(): Promise<void> }> {
  const programs = findPostgresql() ?? "";
  const folder = mkdtempSync(join(tmpdir(), "postern-postgresql-"));
  spawnSync("chown", ["nobody", folder], { timeout: 60_000 });
  const data = join(folder, "data");
  const run = (name: string, ...args: readonly string[]) =>
    spawnSync("setpriv", [...AS_NOBODY, join(programs, name), ...args], {
      timeout: 60_000,
      encoding: "utf8",
      cwd: folder,
    });
  const made = run("initdb", "--no-sync", "--auth", "trust", "--username", "me", data);
  if (made.status !== 0) throw new Error(made.stderr);
  const settings = ["-h", "127.0.0.1", "-p", `${port}`, "-k", "", "-F"];
  const server = spawn("setpriv", [...AS_NOBODY, join(programs, "postgres"), "-D", data, ...settings], {
    cwd: folder,
    stdio: "ignore",
  });
  const ended = new Promise<void>((resolve) => server.once("close", () => resolve()));
  const close = async (): Promise<void> => {
    // «Fast»: connections are ended, not waited for.
    server.kill("SIGINT");
    await ended;
    rmSync(folder, { recursive: true });
  };
  const isReady = () => run("pg_isready", "-h", "127.0.0.1", "-p", `${port}`).status === 0;
  for (let tries = 0; !isReady(); tries++) {
    if (tries === 10 * READY_WITHIN_S) throw new Error("PostgreSQL does not answer");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return { close };
}
