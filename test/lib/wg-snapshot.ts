/** What a running `postern wg` says about itself on SIGUSR2 (PG-143). */
import { expect } from "vitest";
import { REASONS } from "../../bindings/memory/index.ts";
import type { Child } from "../../src/program/lab/index.ts";
import { eventually } from "./observe.ts";

export interface WorkerSnapshot {
  readonly counters: Readonly<Record<string, number>>;
  readonly drops: Readonly<Record<string, number>>;
}

export interface WgSnapshot {
  readonly drops: Readonly<Record<string, number>>;
  readonly peers: readonly {
    readonly publicKey: string;
    readonly endpoint?: string;
    readonly lastHandshakeUnixMs?: number;
  }[];
  readonly counters: { readonly egress: WorkerSnapshot; readonly ingress: WorkerSnapshot };
}

export async function wgSnapshot(child: Child): Promise<WgSnapshot> {
  const lines = (): readonly string[] =>
    child
      .stdout()
      .split("\n")
      .slice(0, -1)
      .filter((line) => line.startsWith("{"));
  const before = lines().length;
  child.signal("SIGUSR2");
  await eventually(() => {
    if (lines().length === before) throw new Error(`${child.name} printed no snapshot`);
  });
  return JSON.parse(lines().at(-1) ?? "") as WgSnapshot;
}

/** Everything that came in was passed, punted or dropped under a reason (D-8). */
export function expectCounted({ counters }: WgSnapshot): void {
  for (const { counters: counts, drops } of [counters.egress, counters.ingress]) {
    const dropped = Object.entries(REASONS)
      .filter(([, { stage }]) => stage === "path")
      .reduce((sum, [name]) => sum + (drops[name] ?? 0), 0);
    const { packets_in, packets_passed = 0, packets_punted = 0 } = counts;
    expect(packets_passed + packets_punted + dropped).toBe(packets_in);
  }
}
