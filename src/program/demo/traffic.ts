/** Echo requests that go on while the demo's network changes, and how long nothing came back (PG-86). */

import { setTimeout as wait } from "node:timers/promises";
import { PosternError } from "../../base/index.ts";
import type { Namespace } from "../lab/index.ts";
import { RESOURCE_ADDRESS } from "./topology.ts";

const INTERVAL_S = "0.02";
const LOOK_MS = 10;
/** Far more than a demo with a hundred steps needs; beyond it the oldest half is forgotten. */
const ANSWERS_MAX = 200_000;

/** Times are those of `performance.now()`. */
export interface Traffic {
  /** The longest time without an answer that ended, or still lasts, after `since`. */
  longestPauseMs(since: number): number;
  /** Waits for the answer to a request that left at `since` or later. @throws PosternError `demo-silent` */
  untilAnswered(since: number, withinMs: number): Promise<void>;
  /** Waits until nothing has come for `quietMs`; resolves to the time of the last answer. */
  untilQuiet(quietMs: number, withinMs: number): Promise<number>;
  stop(): Promise<void>;
}

interface Answer {
  readonly at: number;
  readonly sentAt: number;
}

export function startTraffic(client: Namespace): Traffic {
  const answers: Answer[] = [{ at: performance.now(), sentAt: performance.now() }];
  const onLine = (line: string): void => {
    const rttMs = /icmp_seq=\d+ .*time=([\d.]+) ms/.exec(line)?.[1];
    if (rttMs === undefined) return;
    const at = performance.now();
    answers.push({ at, sentAt: at - Number(rttMs) });
    if (answers.length > ANSWERS_MAX) answers.splice(0, ANSWERS_MAX / 2);
  };
  const args = ["-n", "-i", INTERVAL_S, RESOURCE_ADDRESS];
  const child = client.start({ name: "traffic", command: "ping", args, onLine });
  const lastAt = (): number => answers.at(-1)?.at ?? 0;
  return {
    longestPauseMs(since) {
      const times = [...answers.map(({ at }) => at), performance.now()];
      return times.reduce(
        (most, at, i) => (at < since ? most : Math.max(most, at - (times[i - 1] ?? at))),
        0,
      );
    },
    untilAnswered: (since, withinMs) =>
      untilTrue(() => (answers.at(-1)?.sentAt ?? 0) >= since, withinMs, "no answer"),
    async untilQuiet(quietMs, withinMs) {
      await untilTrue(() => performance.now() - lastAt() >= quietMs, withinMs, "answers still came");
      return lastAt();
    },
    stop: async () => void (await child.stop({ signal: "SIGINT" })),
  };
}

async function untilTrue(isTrue: () => boolean, withinMs: number, otherwise: string): Promise<void> {
  const deadline = performance.now() + withinMs;
  while (!isTrue()) {
    if (performance.now() >= deadline) {
      throw new PosternError("demo-silent", `${otherwise} within ${withinMs} ms`);
    }
    await wait(LOOK_MS);
  }
}
