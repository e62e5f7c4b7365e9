/** A benchmark that a signal ends leaves nothing behind (TS-22). */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { expect, it } from "vitest";
import { runCommand, startChild } from "../../src/program/lab/index.ts";
import { eventually } from "../lib/observe.ts";
import { describeWith } from "../lib/requirements.ts";

const WITHIN_MS = 30_000;
/** Two namespaces with a cable, and a load that nobody waits for. */
const ALONE = ["--without-postern", "--without-wireguard-go"];
const ARGS = ["bench/run.mjs", "tunnel", "--cells", "veth", "--seconds", "600", ...ALONE];

function statusOf(pid: string, field: "PPid" | "State"): string | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/status`, "utf8");
    return new RegExp(`^${field}:\\s*(\\S+)`, "m").exec(text)?.[1];
  } catch {
    // It has ended.
    return undefined;
  }
}

/** Whoever has not been waited for yet has ended all the same. */
const isRunning = (pid: string): boolean => !["Z", "X", undefined].includes(statusOf(pid, "State"));

/** Of labs whose process was started by that one. */
function namespacesOf(pid: number): readonly string[] {
  return readdirSync("/run/netns").filter((name) => {
    const owner = /^pt(\d+)-/.exec(name)?.[1];
    return owner !== undefined && statusOf(owner, "PPid") === String(pid);
  });
}

async function processesIn(namespaces: readonly string[]): Promise<readonly string[]> {
  const lists = namespaces.map((name) =>
    runCommand({ name: "ip", command: "ip", args: ["netns", "pids", name] }),
  );
  return (await Promise.all(lists)).flatMap((text) => text.split("\n")).filter((pid) => pid !== "");
}

describeWith(["netns", "iperf3", "build"], "a benchmark", () => {
  it.each([
    ["SIGTERM", 143],
    ["SIGINT", 130],
  ] as const)(
    "TS-22: ended by %s ends what it has started, and removes its namespaces",
    { timeout: 90_000 },
    async (signal, status) => {
      const bench = startChild({ name: "bench", command: process.execPath, args: ARGS });
      // Two machines; a server in one, a client in the other.
      const [namespaces, processes] = await eventually(async () => {
        const names = namespacesOf(bench.pid);
        const pids = await processesIn(names);
        expect([names.length, pids.length]).toEqual([2, 2]);
        return [names, pids] as const;
      }, WITHIN_MS);
      const owner = /\d+/.exec(namespaces[0] ?? "")?.[0] ?? "";
      bench.signal(signal);
      expect(await bench.wait(WITHIN_MS)).toEqual({ status, signal: undefined });
      expect(namespaces.filter((name) => existsSync(`/run/netns/${name}`))).toEqual([]);
      expect([owner, ...processes].filter(isRunning)).toEqual([]);
      expect(readdirSync(tmpdir()).filter((name) => name.startsWith(`pt${owner}-`))).toEqual([]);
    },
  );
});
