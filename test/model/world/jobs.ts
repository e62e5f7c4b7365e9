/**
 * Several processes that share the seeds of one run. Each is given the next seed when it has told of the last, so that
 * none waits for another, and no seed is left out.
 */
import { type ChildProcess, fork } from "node:child_process";

/** What is told of a case. */
export interface Report {
  readonly seed: number;
  readonly steps: number;
  readonly labels: readonly string[];
  /** What to print; empty: nothing was wrong. */
  readonly failure: readonly string[];
}

interface Sharing {
  readonly jobs: number;
  readonly seeds: Iterator<number>;
  readonly take: (report: Report) => void;
  /** What each runs; default: what this process does. */
  readonly program?: string;
}

const MARK = "POSTERN_TEST_WORLD_JOB";

/** Whether this process is one of them. */
export function isJob(): boolean {
  return process.env[MARK] !== undefined;
}

/** Runs what it is given, until nothing more comes. */
export function serveJob(run: (seed: number) => Report): void {
  process.on("message", (seed: number) => process.send?.(run(seed)));
  process.send?.("ready");
}

/** @returns how many processes ended while a case was under way */
export async function shareOut(sharing: Sharing): Promise<number> {
  const ends = await Promise.all(Array.from({ length: sharing.jobs }, () => runJob(sharing)));
  return ends.filter((isWhole) => !isWhole).length;
}

/** @returns whether it told of all that it was given */
function runJob({ seeds, take, program = process.argv[1] ?? "" }: Sharing): Promise<boolean> {
  const job = fork(program, process.argv.slice(2), {
    env: { ...process.env, [MARK]: "1" },
  });
  let given: number | undefined;
  job.on("message", (message: Report | "ready") => {
    if (message !== "ready") take(message);
    given = giveNext(job, seeds);
  });
  return new Promise((resolve) => {
    // A message to one that has just ended; its end says it.
    job.on("error", () => {});
    job.on("exit", (code, signal) => {
      if (given !== undefined) console.error(`seed ${given}: its process ended with ${signal ?? code}`);
      resolve(given === undefined);
    });
  });
}

function giveNext(job: ChildProcess, seeds: Iterator<number>): number | undefined {
  const { value, done } = seeds.next();
  if (done === true) {
    job.disconnect();
    return undefined;
  }
  job.send(value);
  return value;
}
