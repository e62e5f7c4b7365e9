/** Outages, as somebody sees them who pings every 50 ms. */
import type { Child, Namespace } from "../../src/program/lab/index.ts";
import { eventually } from "./observe.ts";

export interface Pinging {
  /** Resolves when the next answer has come. */
  answered(): Promise<void>;
  /** UNIX ms of those so far. */
  answers(): readonly number[];
  /** Ends it. @returns UNIX ms of all answers */
  stop(): Promise<readonly number[]>;
}

const PING_EVERY_S = "0.05";

export function startPinging(from: Namespace, to: string): Pinging {
  // Line by line, although the output is a pipe.
  const ping = `exec stdbuf -oL ping -n -D -i ${PING_EVERY_S} ${to}`;
  const child = from.start({ name: "ping", command: "sh", args: ["-c", ping] });
  return {
    async answered() {
      const before = answersIn(child).length;
      await eventually(() => {
        if (answersIn(child).length === before) throw new Error(`${to} does not answer`);
      }, 15_000);
    },
    answers: () => answersIn(child),
    async stop() {
      await child.stop({ signal: "SIGINT" });
      return answersIn(child);
    },
  };
}

/** The longest time without an answer between `from` and `until`, UNIX ms. */
export function longestGapMs(answers: readonly number[], from: number, until: number): number {
  const within = answers.filter((at) => at > from && at < until);
  const edges = [from, ...within, until];
  return Math.max(...edges.slice(1).map((at, i) => at - (edges[i] ?? at)));
}

function answersIn(ping: Child): readonly number[] {
  return [...ping.stdout().matchAll(/^\[(\d+\.\d+)\] \d+ bytes from/gm)].map(
    (match) => Number(match[1]) * 1000,
  );
}
