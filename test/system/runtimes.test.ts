/**
 * The plane under every runtime: system calls, threads, wake-ups and the choice of the cipher variant are the
 * runtime's own there, all else is the same (PG-134, D-28). The programs follow in `runtimes.long.test.ts`.
 */
import { expect, it } from "vitest";
import { describeWith, type Requirement } from "../lib/requirements.ts";
import { runToEnd } from "../lib/run-to-end.ts";
import { startWordsOf } from "../lib/runtimes.ts";

interface Probe {
  readonly runtime: string;
  readonly cipher: string;
  /** PG-65: names that the kernel has for them. */
  readonly threads: readonly string[];
  readonly wakes: number;
  readonly rounds: readonly {
    readonly sealed: readonly number[];
    readonly opened: readonly number[];
    readonly events: readonly string[];
  }[];
}

const NUMBERS = Array.from({ length: 50 }, (_, i) => i);
const NEEDS = ["netns", "tun", "build"] as const;
const WITHIN_MS = 45_000;

interface Case {
  readonly name: "node" | "deno" | "bun";
  readonly needs: readonly Requirement[];
  readonly ciphers: readonly string[];
}

const CASES: readonly Case[] = [
  { name: "node", needs: [], ciphers: ["turbofan", "turboshaft", "wide"] },
  { name: "deno", needs: ["deno"], ciphers: ["turboshaft"] },
  { name: "bun", needs: ["bun"], ciphers: ["jsc", "turbofan"] },
];

for (const { name, needs, ciphers } of CASES) {
  describeWith([...NEEDS, ...needs], `the plane under ${name}`, () => {
    it("PG-134, D-5, D-13, PF-23: seals, opens, wakes control, stops, starts again, does not hold up the end", async () => {
      const words = ["-rn", ...startWordsOf(name), "test/lib/plane-probe.mjs"];
      const { status, output, errors } = await runToEnd("unshare", words, WITHIN_MS);
      // A thread that dies at its end says so here, and nowhere else.
      expect([status, errors]).toEqual([0, ""]);
      const probe: Probe = JSON.parse(output);
      expect(probe.runtime).toBe(name);
      expect(ciphers).toContain(probe.cipher);
      expect(probe.rounds).toHaveLength(2);
      for (const { sealed, opened, events } of probe.rounds) {
        expect(sealed).toEqual(NUMBERS);
        expect(opened).toEqual(NUMBERS);
        expect(events).toContain("other");
      }
      expect(probe.threads).toEqual(["postern-egress", "postern-ingress"]);
      expect(probe.wakes).toBeGreaterThanOrEqual(2);
    }, 60_000);

    it("PG-15, D-28: a process that catches its signal ends with the status that it chose", async () => {
      const [program, ...words] = startWordsOf(name);
      const { output } = await runToEnd(program, [...words, "test/lib/signal-probe.mjs"], WITHIN_MS);
      expect(JSON.parse(output)).toEqual({ status: 7 });
    }, 60_000);

    it("PG-78, D-28: a unit starts this runtime, and tells Deno to ask nobody for newer versions", async () => {
      const [program, ...words] = [...startWordsOf(name), "build/program/main.js"];
      const { status, output } = await runToEnd(program, [...words, "service", "print", "portal"], WITHIN_MS);
      expect(status).toBe(0);
      const lines = output.split("\n");
      // A command `postern` that is installed on this machine would stand here instead.
      expect(lines.find((line) => line.startsWith("ExecStart="))).toMatch(/main\.js portal$/);
      expect(lines.filter((line) => line.startsWith("Environment="))).toEqual(
        name === "deno" ? ["Environment=DENO_NO_UPDATE_CHECK=1"] : [],
      );
    }, 60_000);
  });
}
