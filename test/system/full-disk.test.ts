/** Files that others rely on, on a disk that is full (DN-103): whole or not at all. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, expect, it } from "vitest";
import { describeWith } from "../lib/requirements.ts";

const ROOM = pathToFileURL(join(import.meta.dirname, "../../build/src/host/resolv-conf-file.js")).href;
/** Two pages of memory in three: of a copy the first fits, the second does not. */
const ORIGINAL = `nameserver 192.0.2.53\n${"# a comment of the administrator\n".repeat(200)}`;
const ON_SMALL_DISK = 'mount -t tmpfs -o size=12k none "$1" && shift && exec "$@"';

const SCRIPT = `
  const [{ openResolvConf, readText }, { writeFileSync, readdirSync }] =
    await Promise.all([import(${JSON.stringify(ROOM)}), import("node:fs")]);
  const original = ${JSON.stringify(ORIGINAL)};
  const paths = { file: process.env.FOLDER + "/resolv.conf", backup: process.env.FOLDER + "/backup" };
  writeFileSync(paths.file, original);
  const self = { instance: "client", process: 1, startedAt: 1 };
  const conf = openResolvConf(paths, () => false, {}, { self, isAlive: () => true });
  let said = "nothing";
  try {
    conf.apply({ servers: [Uint8Array.of(100, 100, 111, 1)], searchDomain: undefined });
  } catch (error) {
    said = error.code;
  }
  const backup = readText(paths.backup);
  console.log(JSON.stringify({
    said, files: readdirSync(process.env.FOLDER), isAsBefore: readText(paths.file) === original,
    isBackupWhole: backup === undefined || backup === original,
  }));
`;

describeWith(["root", "netns", "build"], "a full disk", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "postern-full-"));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it("DN-103, TS-64: a resolv.conf that cannot be written whole stays as it was, and so does its backup", () => {
    const node = [process.execPath, "--input-type=module", "-e", SCRIPT];
    const { stdout, stderr } = spawnSync(
      "unshare",
      ["--mount", "sh", "-c", ON_SMALL_DISK, "sh", folder, ...node],
      { timeout: 60_000, encoding: "utf8", env: { ...process.env, FOLDER: folder } },
    );
    expect(JSON.parse(stdout || "{}"), stderr).toEqual({
      said: "ENOSPC",
      files: ["resolv.conf"],
      isAsBefore: true,
      isBackupWhole: true,
    });
  });
});
