import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { type Child, startChild } from "../../src/program/lab/index.ts";
import { MAIN, postern, posternCommand } from "../lib/program.ts";
import { describeWith } from "../lib/requirements.ts";

const BUILD = join(import.meta.dirname, "../../build");
const NOBODY = 65_534;

function startDemo(...args: string[]): Child {
  return startChild({ name: "demo", ...posternCommand(["demo", ...args]) });
}

/** Processes of this clone's demo, by their command lines. */
function demoProcesses(): readonly string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
        const isOurs = line.includes(BUILD);
        return isOurs &&
          /--id demo-(client|gateway)|--public-ip4 203|program\/tool\.js|\/run\/demo\.yaml/.test(line)
          ? [line]
          : [];
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
  return spawnSync(command, args, { timeout: 60_000, uid: NOBODY, gid: NOBODY, encoding: "utf8" });
}

function isReadableByOthers(): boolean {
  return asNobody("test", "-r", MAIN).status === 0;
}

/** A clone that others can read, with a TUN device that they cannot open. */
function isForbiddenToOthers(): boolean {
  return isReadableByOthers() && asNobody("test", "-w", "/dev/net/tun").status === 1;
}

/** All at once; the machine may be busy besides. */
const WITHIN_MS = 80_000;
const timeout = 300_000;

describeWith(["root", "netns", "tun", "nft", "openssl", "build"], "postern demo", () => {
  it.concurrent.each([
    ["straight through two NATs", "direct", ["--script", "roam,kill-relay,start-relay"]],
    ["by the relay where no UDP passes between the two", "relayed", ["--relayed"]],
    ["by TLS where no UDP leaves the client's network", "relayed-tls", ["--tls"]],
  ] as const)("PG-86: reaches a server %s, and measures", { timeout }, async (_how, path, options) => {
    const demo = startDemo("--json", "--seconds", "1", ...options);
    const { status } = await demo.wait(WITHIN_MS);
    expect(status, demo.stderr()).toBe(0);
    const lines = demo.stdout().trimEnd().split("\n");
    expect(lines.length).toBe(1);
    const result = JSON.parse(lines[0] ?? "");
    expect(result).toMatchObject({ v: 1, ok: true, path, http: { ok: true, bytes: 4 << 20 } });
    for (const timed of [result.dns, result.prohibited, result.revoked]) {
      expect(timed).toMatchObject({ ok: true });
      expect(timed.ms).toBeGreaterThanOrEqual(0);
    }
    expect(result.pingMs).toBeGreaterThan(0);
    expect(result.setUpMs).toBeGreaterThan(0);
    expect(result.tcp.upGbps).toBeGreaterThan(0);
    expect(result.tcp.downGbps).toBeGreaterThan(0);
    const steps = options.length > 1 ? ["roam", "kill-relay", "start-relay"] : [];
    expect(result.script).toMatchObject(steps.map((step) => ({ step, ok: true, isStopped: false })));
    expect(result).not.toHaveProperty("error");
  });

  it.skipIf(!isReadableByOthers()).concurrent(
    "PG-87: a user without rights runs it in a user namespace, where the TUN device is open",
    { timeout },
    async () => {
      // A device of the usual mode 0666, seen only by this process and its children.
      const folder = mkdtempSync(join(tmpdir(), "postern-tun-"));
      const script = `mknod ${folder}/tun c 10 200 && chmod 666 ${folder}/tun && mount --bind ${folder}/tun /dev/net/tun &&
        exec setpriv --reuid ${NOBODY} --regid ${NOBODY} --clear-groups env HOME=/tmp "$@"`;
      const args = ["-m", "sh", "-c", script, "sh", ...postern("demo", "--json", "--seconds", "1")];
      const demo = startChild({ name: "demo of nobody", command: "unshare", args });
      const { status } = await demo.wait(WITHIN_MS);
      rmSync(folder, { recursive: true });
      if (demo.stderr().includes("allowed to make user namespaces")) return;
      expect(status, demo.stderr()).toBe(0);
      expect(JSON.parse(demo.stdout())).toMatchObject({ v: 1, ok: true });
    },
  );

  it("PG-86, PG-87: all of them have left nothing", () => {
    expect(demoProcesses()).toEqual([]);
    expect(abandonedFolders()).toEqual([]);
  });

  it.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)("PG-15: %s in the middle ends it with %i and leaves no process", async (signal, expected) => {
    const demo = startDemo("--json");
    await demo.waitForLine(/Building eight machines/, { withinMs: 30_000 });
    demo.signal(signal);
    const { status } = await demo.wait(20_000);
    expect(status).toBe(expected);
    const last = demo.stdout().trimEnd().split("\n").at(-1) ?? "";
    expect(JSON.parse(last)).toMatchObject({ v: 1, ok: false });
    expect(demoProcesses()).toEqual([]);
  });

  it.skipIf(!isForbiddenToOthers())("PG-88: a user who may not gets exit 5 and is told what to do", () => {
    const { status, stdout, stderr } = asNobody(...postern("demo"));
    expect(stderr).toBe("postern: no access to /dev/net/tun; run as root, or chmod 0666 /dev/net/tun\n");
    expect({ status, stdout }).toEqual({ status: 5, stdout: "" });
  });
});
