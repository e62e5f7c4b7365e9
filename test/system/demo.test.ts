import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { type Child, startChild } from "../../src/program/lab/index.ts";
import { describeWith } from "../lib/requirements.ts";

const MAIN = join(import.meta.dirname, "../../build/src/cli/main.js");
const NOBODY = 65_534;

function startDemo(...args: string[]): Child {
  return startChild({ name: "demo", command: process.execPath, args: ["--", MAIN, "demo", ...args] });
}

/** Processes whose command line names the demo's programs or tools. */
function demoProcesses(): readonly string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
        return /--id demo-(client|gateway)|demo\/tool\.js|203\.0\.113\.10:8080/.test(line) ? [line] : [];
      } catch {
        // It ended while we looked.
        return [];
      }
    });
}

/** Folders of labs whose process is dead; its namespaces were its own and ended with it. */
function abandonedFolders(): readonly string[] {
  return readdirSync(tmpdir()).filter((name) => {
    const pid = /^pt(\d+)-/.exec(name)?.[1];
    return pid !== undefined && !existsSync(`/proc/${pid}`);
  });
}

function asNobody(command: string, ...args: string[]) {
  return spawnSync(command, args, { uid: NOBODY, gid: NOBODY, encoding: "utf8" });
}

/** A clone that others can read, with a TUN device that they cannot open. */
function isForbiddenToOthers(): boolean {
  return asNobody("test", "-r", MAIN).status === 0 && asNobody("test", "-w", "/dev/net/tun").status === 1;
}

describeWith(["root", "netns", "tun", "nft", "build"], "postern demo", () => {
  it("PG-86: reaches a server through the tunnel, measures, and leaves nothing", {
    timeout: 90_000,
  }, async () => {
    const demo = startDemo("--json", "--seconds", "1");
    const { status } = await demo.wait(80_000);
    expect(status, demo.stderr()).toBe(0);
    const lines = demo.stdout().trimEnd().split("\n");
    expect(lines.length).toBe(1);
    const result = JSON.parse(lines[0] ?? "");
    expect(result).toMatchObject({ v: 1, ok: true, http: { ok: true, bytes: 4 << 20 } });
    expect(result.pingMs).toBeGreaterThan(0);
    expect(result.setUpMs).toBeGreaterThan(0);
    expect(result.tcp.upGbps).toBeGreaterThan(0);
    expect(result.tcp.downGbps).toBeGreaterThan(0);
    expect(result).not.toHaveProperty("error");
    expect(demoProcesses()).toEqual([]);
    expect(abandonedFolders()).toEqual([]);
  });

  it.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)("PG-15: %s in the middle ends it with %i and leaves no process", async (signal, expected) => {
    const demo = startDemo("--json");
    await demo.waitForLine(/Building five machines/, { withinMs: 30_000 });
    demo.signal(signal);
    const { status } = await demo.wait(20_000);
    expect(status).toBe(expected);
    const last = demo.stdout().trimEnd().split("\n").at(-1) ?? "";
    expect(JSON.parse(last)).toMatchObject({ v: 1, ok: false });
    expect(demoProcesses()).toEqual([]);
  });

  it.skipIf(!isForbiddenToOthers())("PG-88: a user who may not gets exit 5 and is told what to do", () => {
    const { status, stdout, stderr } = asNobody(process.execPath, "--", MAIN, "demo");
    expect(stderr).toBe("postern: no access to /dev/net/tun; run as root, or chmod 0666 /dev/net/tun\n");
    expect({ status, stdout }).toEqual({ status: 5, stdout: "" });
  });
});
