/**
 * What tests may leave on the host that runs them (TS-81): looked at before and after a run, what is new or changed
 * is named.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Where programs keep locks, sockets and identifiers, and where `ip netns` keeps names. */
const FOLDERS = ["/run/postern", "/run/wireguard", "/var/run/wireguard", "/var/lib/postern", "/run/netns"];
const SYSCTLS = "/proc/sys/net";
/** Counters and keys that change by themselves. */
const RESTLESS = /\/(nf_conntrack_count|tcp_fastopen_key|flush|stable_secret|error_cost|error_burst)$/;
/** What programs raise for good by rule (PG-15, RL-62), for every namespace of the host: the run puts it back. */
const RAISED = ["core/rmem_max", "core/wmem_max"];
/** A lab's namespace bears the process that made it; while that lives the lab is of another run. */
const LAB = /\/pt(\d+)-[^/]*$/;

/** @returns what there is, by name, with its value where it has one */
export function takeTraces({ folders = FOLDERS, sysctls = SYSCTLS, list = listKernel } = {}) {
  const found = new Map();
  for (const folder of folders) for (const path of filesBelow(folder)) found.set(path, "");
  for (const path of filesBelow(sysctls)) {
    if (!RESTLESS.test(path)) found.set(path, read(path));
  }
  for (const line of list()) found.set(line, "");
  return found;
}

/** Names what a run left: a sysctl only where its value has changed, since a module that is loaded brings new ones. */
export function nameLeft(before, after, { sysctls = SYSCTLS, isRunning = isProcess } = {}) {
  const left = [];
  for (const [name, value] of after) {
    const isSysctl = name.startsWith(sysctls);
    if (isSysctl && (!before.has(name) || before.get(name) === value)) continue;
    if (!isSysctl && before.has(name)) continue;
    const maker = LAB.exec(name)?.[1];
    if (maker !== undefined && isRunning(maker)) continue;
    left.push(isSysctl ? `${name}: ${before.get(name)} became ${value}` : name);
  }
  return left.sort();
}

/** Gives parameters that programs leave raised the values back that they had. */
export function putBack(before, { sysctls = SYSCTLS } = {}) {
  for (const path of RAISED.map((name) => join(sysctls, name))) {
    const value = before.get(path);
    if (value !== undefined && read(path) !== value) writeFileSync(path, value);
  }
}

/** Tables, rules and devices. Without the right to ask, or without the program, there is nothing to compare. */
function listKernel() {
  const ask = (what, command, ...args) =>
    (spawnSync(command, args, { timeout: 60_000, encoding: "utf8" }).stdout ?? "")
      .split("\n")
      .filter((line) => line.trim() !== "")
      .map((line) => `${what}: ${line.trim()}`);
  return [
    ...ask("nftables", "nft", "list", "tables"),
    ...ask("rule", "ip", "-4", "rule"),
    ...ask("rule of IPv6", "ip", "-6", "rule"),
    ...ask("device", "ip", "-br", "link").map((line) => line.split(/\s+/).slice(0, 2).join(" ")),
  ];
}

function isProcess(pid) {
  return existsSync(`/proc/${pid}`);
}

/** Every file, socket and name below; of a folder that is not there, none. */
function filesBelow(folder) {
  let entries = [];
  try {
    entries = readdirSync(folder, { withFileTypes: true });
  } catch {
    // It does not exist, or has gone meanwhile.
  }
  return entries.flatMap((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory() ? filesBelow(path) : [path];
  });
}

function read(path) {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    // Some can only be written.
    return "";
  }
}
