/**
 * Where demo and benchmark may build their namespaces (PG-87, PG-88): such a command runs itself again in a mount and network
 * namespace of its own, as an ordinary user also in a user namespace. There `/run` is a fresh tmpfs:
 * with the last process all names, devices and mounts are gone, whatever ended them.
 */

import { spawn, spawnSync } from "node:child_process";
import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { programWords, rootFile } from "../../../bindings/runtime/index.ts";
import { PosternError } from "../../base/index.ts";
import { findHelper, helperEnvironment } from "../../host/index.ts";
import { EXIT } from "../exit.ts";
import type { ProgramIo } from "../io.ts";
import { sendSignal } from "../send-signal.ts";

/** Set for the process inside. */
const INSIDE = "POSTERN_LAB_INSIDE";

const TUN = "/dev/net/tun";

export function isInside(io: ProgramIo): boolean {
  return io.env[INSIDE] === "1";
}

/**
 * Runs this very command line inside and resolves to its exit code.
 *
 * @param what the command, as messages name it: `demo`, `bench`
 * @throws PosternError `privilege` with what is missing and what to do
 */
export async function enter(io: ProgramIo, what: "demo" | "bench"): Promise<number> {
  const isRoot = process.geteuid?.() === 0;
  const flags = ["--net", "--mount", ...(isRoot ? [] : ["--user", "--map-root-user"])];
  checkTun(isRoot);
  installPackages(what);
  if (findHelper("ip") === undefined) {
    throw new PosternError("privilege", `${what} needs the program 'ip'`, "install the package iproute2");
  }
  if (
    spawnSync("unshare", [...flags, "true"], { timeout: 60_000, env: helperEnvironment(io.env) }).status !== 0
  )
    throw cannotUnshare(isRoot);
  const script = 'mount -t tmpfs tmpfs /run && mkdir /run/netns && exec "$@"';
  const [, main = "", ...args] = process.argv;
  const self = [...programWords(main), ...args];
  const child = spawn("unshare", [...flags, "sh", "-c", script, "sh", ...self], {
    stdio: "inherit",
    env: { ...helperEnvironment(io.env), [INSIDE]: "1" },
    // In a session of its own: Ctrl-C, which reaches a whole foreground group, would otherwise arrive
    // twice and be taken for the second stop signal, which ends without cleaning up (PG-15).
    detached: true,
  });
  const stopListening = io.onSignal((signal) => sendSignal(child, signal));
  const status = await new Promise<number>((resolve) => {
    child.on("error", () => resolve(EXIT.failure));
    child.on("close", (code) => resolve(code ?? EXIT.failure));
  });
  stopListening();
  return status;
}

/** In a clone: what the command uses of Debian is installed by root, else named (first-light notes). */
function installPackages(what: string): void {
  const script = fileURLToPath(rootFile("scripts/debian-packages.sh"));
  if (existsSync(script))
    spawnSync("sh", [script, what], { timeout: 600_000, stdio: ["ignore", "inherit", "inherit"] });
}

function checkTun(isRoot: boolean): void {
  // Programs make the node themselves where they may (PG-27).
  if (!existsSync(TUN)) {
    if (isRoot) return;
    throw new PosternError("privilege", `there is no ${TUN}`, "run as root, or load the module tun");
  }
  try {
    accessSync(TUN, constants.R_OK | constants.W_OK);
  } catch {
    throw new PosternError("privilege", `no access to ${TUN}`, `run as root, or chmod 0666 ${TUN}`);
  }
}

/** Which of the known obstacles it is, and how to remove it. */
function cannotUnshare(isRoot: boolean): PosternError {
  if (isRoot) {
    const hint = "run where CAP_SYS_ADMIN and CAP_NET_ADMIN are available";
    return new PosternError("privilege", "this root may not make network namespaces", hint);
  }
  const obstacles = [
    { path: "/proc/sys/user/max_user_namespaces", bad: "0", set: "sysctl -w user.max_user_namespaces=10000" },
    {
      path: "/proc/sys/kernel/unprivileged_userns_clone",
      bad: "0",
      set: "sysctl -w kernel.unprivileged_userns_clone=1",
    },
    {
      path: "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
      bad: "1",
      set: "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    },
  ];
  const found = obstacles.find(
    ({ path, bad }) => existsSync(path) && readFileSync(path, "utf8").trim() === bad,
  );
  const hint = found === undefined ? "run as root" : `run as root, or as root: ${found.set}`;
  return new PosternError("privilege", "neither root nor allowed to make user namespaces", hint);
}
