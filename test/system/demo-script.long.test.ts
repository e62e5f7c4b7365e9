/** The demo whose network changes (PG-86) where only the relay carries, and by key. */
import { spawn } from "node:child_process";
import { expect, it } from "vitest";
import { startChild } from "../../src/program/lab/index.ts";
import { posternCommand } from "../lib/program.ts";
import { describeWith } from "../lib/requirements.ts";

const timeout = 150_000;

describeWith(["root", "netns", "tun", "nft", "openssl", "build"], "postern demo, changing", () => {
  it.each(["--relayed", "--tls"])(
    "PG-86: roams, loses its relay and has it back (%s)",
    {
      timeout,
    },
    async (how) => {
      const steps = ["roam", "kill-relay", "start-relay", "roam"];
      const args = ["demo", "--json", "--seconds", "1", how, "--script", steps.join(",")];
      const demo = startChild({ name: "demo", ...posternCommand(args) });
      const { status } = await demo.wait(timeout - 10_000);
      expect(status, demo.stderr()).toBe(0);
      const { script } = JSON.parse(demo.stdout());
      expect(script.map(({ step }: { step: string }) => step)).toEqual(steps);
      expect(script.map(({ isStopped }: { isStopped: boolean }) => isStopped)).toEqual([
        false,
        true,
        false,
        false,
      ]);
      for (const { ok, ms } of script) {
        expect(ok).toBe(true);
        expect(ms).toBeGreaterThanOrEqual(0);
        expect(ms).toBeLessThan(30_000);
      }
    },
  );

  it("PG-86: keys of a terminal do the same, and one that makes no sense is answered", {
    timeout,
  }, async () => {
    const { command, args } = posternCommand(["demo", "--seconds", "1"]);
    const line = [command, ...args].map((word) => `'${word}'`).join(" ");
    const terminal = spawn("script", ["-qefc", line, "/dev/null"], { stdio: ["pipe", "pipe", "inherit"] });
    const ended = new Promise((resolve) => terminal.on("close", resolve));
    let said = "";
    terminal.stdout.setEncoding("utf8").on("data", (chunk: string) => {
      said += chunk;
    });
    const until = async (pattern: RegExp): Promise<void> => {
      const deadline = Date.now() + 60_000;
      while (!pattern.test(said)) {
        expect(Date.now(), said).toBeLessThan(deadline);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    };
    try {
      await until(/Press r:/);
      terminal.stdin.write("xs");
      await until(/Not now: the relay runs\./);
      terminal.stdin.write("kr");
      await until(/The relay was killed; no data goes through it/);
      await until(/Not now: the relay is dead: nobody would tell/);
      terminal.stdin.write("s");
      await until(/The relay is back/);
      terminal.stdin.write("r");
      await until(/The client moved to a café/);
      terminal.stdin.write("q");
      expect(await ended, said).toBe(0);
    } finally {
      terminal.kill("SIGTERM");
    }
  });
});
