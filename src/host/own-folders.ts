/** Where programs keep locks, sockets and identifiers (PG-10, PG-23, PG-107). */
import { join } from "node:path";

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * For locks and control sockets, the first that can be written: the folder that systemd names, else `/run/postern`
 * or the user's own.
 */
export function runFolders(env: Environment): readonly string[] {
  const given = namedBy(env["RUNTIME_DIRECTORY"]);
  if (given !== undefined) return [given];
  const own = env["XDG_RUNTIME_DIR"];
  return ["/run/postern", ...(own === undefined || own === "" ? [] : [join(own, "postern")])];
}

/** For what outlives a restart: the folder that systemd names, else `/var/lib/postern`. */
export function stateFolder(env: Environment): string {
  return namedBy(env["STATE_DIRECTORY"]) ?? "/var/lib/postern";
}

/** A unit may have several folders of a kind; the variable then has all, divided by colons (systemd.exec(5)). */
function namedBy(variable: string | undefined): string | undefined {
  const [first = ""] = (variable ?? "").split(":");
  return first.startsWith("/") ? first : undefined;
}
