/**
 * The plane under every runtime: system calls, threads, wake-ups and the choice of the cipher variant are
 * the runtime's own there, the plane is the same. What runs is `test/lib/plane-probe.mjs`.
 */
import { spawn } from "node:child_process";
import { expect, it } from "vitest";
import { describeWith, type Requirement } from "../lib/requirements.ts";
import { findRuntime } from "../lib/runtimes.ts";

interface Probe {
  readonly runtime: string;
  readonly cipher: string;
  readonly wakes: number;
  readonly rounds: readonly {
    readonly sealed: readonly number[];
    readonly opened: readonly number[];
    readonly events: readonly string[];
  }[];
}

const NUMBERS = Array.from({ length: 50 }, (_, i) => i);
const NEEDS = ["netns", "tun", "build"] as const;

interface Case {
  readonly name: string;
  readonly needs: readonly Requirement[];
  readonly command: readonly (string | undefined)[];
  readonly ciphers: readonly string[];
}

const CASES: readonly Case[] = [
  { name: "node", needs: [], command: [process.execPath], ciphers: ["turbofan", "turboshaft", "wide"] },
  {
    name: "deno",
    needs: ["deno"],
    command: [findRuntime("deno"), "run", "-A", "--no-lock"],
    ciphers: ["turboshaft"],
  },
  { name: "bun", needs: ["bun"], command: [findRuntime("bun")], ciphers: ["jsc", "turbofan"] },
];

function run(command: readonly (string | undefined)[]): Promise<{ status: number | null; output: string }> {
  const words = command.filter((word) => word !== undefined);
  return new Promise((resolve) => {
    const child = spawn("unshare", ["-rn", ...words, "test/lib/plane-probe.mjs"], {
      stdio: ["ignore", "pipe", "inherit"],
      timeout: 45_000,
      killSignal: "SIGKILL",
    });
    let output = "";
    child.stdout.on("data", (chunk) => {
      output += chunk;
    });
    child.on("close", (status) => resolve({ status, output }));
  });
}

for (const { name, needs, command, ciphers } of CASES) {
  describeWith([...NEEDS, ...needs], `the plane under ${name}`, () => {
    it("PG-134, D-5, D-13, PF-23: seals, opens, wakes control, stops, starts again, does not hold up the end", async () => {
      const { status, output } = await run(command);
      expect(status).toBe(0);
      const probe: Probe = JSON.parse(output);
      expect(probe.runtime).toBe(name);
      expect(ciphers).toContain(probe.cipher);
      expect(probe.rounds).toHaveLength(2);
      for (const { sealed, opened, events } of probe.rounds) {
        expect(sealed).toEqual(NUMBERS);
        expect(opened).toEqual(NUMBERS);
        expect(events).toContain("other");
      }
      expect(probe.wakes).toBeGreaterThanOrEqual(2);
    }, 60_000);
  });
}
