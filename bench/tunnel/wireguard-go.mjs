/**
 * The baseline: a wireguard-go with offloads (PF §8). Debian 12's has none, so trixie's is fetched from
 * the configured mirror and unpacked into `.cache/`; nothing is installed over the system's.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../../scripts/steps.mjs";
import { ASKED, WORKED } from "../lib/limits.mjs";

const FOLDER = join(ROOT, ".cache", "wireguard-go");
const PROGRAM = join(FOLDER, "unpacked", "usr", "bin", "wireguard-go");

/** @returns `{ path, version, hasOffloads }`, or `undefined` when there is no wireguard-go at all */
export function findWireguardGo() {
  if (!existsSync(PROGRAM)) fetchNewer();
  if (spawnSync(PROGRAM, ["--version"], ASKED).status === 0) {
    return { path: PROGRAM, version: packageVersion(), hasOffloads: true };
  }
  if (spawnSync("wireguard-go", ["--version"], ASKED).status !== 0) return undefined;
  const { stdout } = spawnSync("dpkg-query", ["-W", "-f", "$" + "{Version}", "wireguard-go"], {
    ...ASKED,
    encoding: "utf8",
  });
  console.error("bench: the newer wireguard-go could not be had; comparing with the installed one");
  return { path: "wireguard-go", version: stdout.trim() || "installed", hasOffloads: false };
}

function fetchNewer() {
  const mirror = mirrorOf();
  if (mirror === undefined) return;
  console.error("bench: fetching wireguard-go from Debian trixie into .cache/");
  rmSync(FOLDER, { recursive: true, force: true });
  const lists = join(FOLDER, "lists");
  const cache = join(FOLDER, "cache");
  for (const path of [join(lists, "partial"), join(cache, "archives", "partial")])
    mkdirSync(path, { recursive: true });
  const source = join(FOLDER, "trixie.list");
  writeFileSync(
    source,
    `deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${mirror} trixie main\n`,
  );
  const options = [
    `Dir::Etc::sourcelist=${source}`,
    "Dir::Etc::sourceparts=/dev/null",
    `Dir::State::lists=${lists}`,
    `Dir::Cache=${cache}`,
    // apt's own user may not enter the clone.
    "APT::Sandbox::User=root",
  ].flatMap((option) => ["-o", option]);
  const apt = (...args) =>
    spawnSync("apt-get", [...options, "-qq", ...args], { ...WORKED, cwd: FOLDER, stdio: ["ignore", 2, 2] });
  if (apt("update").status !== 0 || apt("download", "wireguard-go").status !== 0) return;
  const file = packageFile();
  if (file !== undefined) spawnSync("dpkg", ["-x", join(FOLDER, file), join(FOLDER, "unpacked")], WORKED);
  rmSync(lists, { recursive: true, force: true });
  rmSync(cache, { recursive: true, force: true });
}

/** The mirror that this machine is configured with. */
function mirrorOf() {
  const format = "$(REPO_URI) $(RELEASE)";
  const { stdout } = spawnSync("apt-get", ["indextargets", "--format", format, "Identifier: Packages"], {
    ...ASKED,
    encoding: "utf8",
  });
  const lines = (stdout ?? "").split("\n").map((line) => line.split(" "));
  return lines.find(([, suite]) => suite !== undefined && /^[a-z]+$/.test(suite))?.[0];
}

function packageFile() {
  return existsSync(FOLDER) ? readdirSync(FOLDER).find((name) => name.endsWith(".deb")) : undefined;
}

function packageVersion() {
  return /^wireguard-go_(.+)_[a-z0-9]+\.deb$/.exec(packageFile() ?? "")?.[1] ?? "trixie";
}
