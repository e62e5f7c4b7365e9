/** Processes that share the seeds of a run of the model test. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { type Report, shareOut } from "./jobs.ts";

/** Tells of each seed; ends instead where the number is 7. */
const PROGRAM = `
process.on("message", (seed) => {
  if (seed === 7) process.exit(3);
  process.send({ seed, steps: process.pid, labels: [], failure: seed === 4 ? ["wrong"] : [] });
});
process.send("ready");
`;

async function share(jobs: number, seeds: readonly number[]) {
  const folder = mkdtempSync(join(tmpdir(), "postern-jobs-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const program = join(folder, "job.mjs");
  writeFileSync(program, PROGRAM);
  const reports: Report[] = [];
  const take = (report: Report) => void reports.push(report);
  const lost = await shareOut({ jobs, seeds: seeds.values(), take, program });
  return { lost, reports };
}

describe("shared seeds", () => {
  it("TS-67: each seed is run once, by either process, and what was wrong is told", async () => {
    const { lost, reports } = await share(2, [0, 1, 2, 3, 4, 5, 6]);
    expect(reports.map(({ seed }) => seed).sort()).toEqual([0, 1, 2, 3, 4, 5, 6]);
    expect(reports.flatMap(({ seed, failure }) => (failure.length > 0 ? [seed] : []))).toEqual([4]);
    expect(lost).toBe(0);
  });

  it("TS-67: a process that ends in the midst of a case is counted, and the others run on", async () => {
    const { lost, reports } = await share(2, [7, 8, 9, 10]);
    expect(reports.map(({ seed }) => seed).sort((a, b) => a - b)).toEqual([8, 9, 10]);
    expect(lost).toBe(1);
  });
});
