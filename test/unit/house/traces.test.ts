import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { makeOwnFolder } from "../../own-folder.mjs";
import { nameLeft, putBack, takeTraces } from "../../traces.mjs";

let host: string;
let sysctls: string;
let kernel: string[];

beforeEach(() => {
  host = mkdtempSync(join(tmpdir(), "postern-traces-"));
  sysctls = join(host, "sys");
  kernel = ["nftables: table inet filter"];
  for (const folder of ["run", "netns", "sys/ipv4"]) mkdirSync(join(host, folder), { recursive: true });
  write("run/old.sock");
  write("sys/ipv4/ip_forward", "0\n");
});

afterEach(() => rmSync(host, { recursive: true, force: true }));

const write = (path: string, text = ""): void => writeFileSync(join(host, path), text);
const look = () => {
  const folders = [join(host, "run"), join(host, "netns"), join(host, "absent")];
  return takeTraces({ folders, sysctls, list: () => kernel });
};
const left = (before: Map<string, string>): string[] =>
  nameLeft(before, look(), { sysctls, isRunning: (pid) => pid === "17" })
    .map((line) => line.replaceAll(`${host}/`, ""))
    .sort();

it("TS-81: what was there before a run is not held against it", () => {
  expect(left(look())).toEqual([]);
});

it("TS-81: a run is told what it left: files, namespaces, tables, changed settings", () => {
  const before = look();
  mkdirSync(join(host, "run/deeper"));
  write("run/deeper/portal.sock");
  write("netns/pt18-router");
  write("sys/ipv4/ip_forward", "1\n");
  kernel.push("nftables: table inet postern_nat");
  expect(left(before)).toEqual([
    "netns/pt18-router",
    "nftables: table inet postern_nat",
    "run/deeper/portal.sock",
    "sys/ipv4/ip_forward: 0 became 1",
  ]);
});

it("TS-81: another run's lab, settings of a module that was loaded, and what changes by itself do not count", () => {
  write("sys/ipv4/flush", "1");
  const before = look();
  write("netns/pt17-router");
  write("sys/ipv4/new_by_a_module", "1");
  write("sys/ipv4/flush", "2");
  expect(left(before)).toEqual([]);
});

it("TS-81, RL-62: a limit of socket buffers that programs leave raised is put back", () => {
  mkdirSync(join(sysctls, "core"));
  write("sys/core/rmem_max", "4194304\n");
  const before = look();
  write("sys/core/rmem_max", "8388608\n");
  putBack(before, { sysctls });
  expect(left(before)).toEqual([]);
  expect(readFileSync(join(sysctls, "core/rmem_max"), "utf8")).toBe("4194304");
});

it("TS-81: programs that this file starts keep what they have in folders of its own", () => {
  for (const name of ["RUNTIME_DIRECTORY", "STATE_DIRECTORY"]) {
    expect(process.env[name]).toMatch(/\/pt-own-/);
  }
});

it("TS-81: the folder of a process that was killed goes when another makes its own; a living one's stays", () => {
  const gone = join(host, `pt-own-${spawnSync("true", { timeout: 60_000 }).pid}-x`);
  mkdirSync(join(gone, "state"), { recursive: true });
  const before = readdirSync(host).filter((name) => !name.startsWith("pt-own-"));
  const made = [makeOwnFolder(host), makeOwnFolder(host)].map((path) => basename(path));
  expect(readdirSync(host).sort()).toEqual([...before, ...made].sort());
});
