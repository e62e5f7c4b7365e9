/** What processes of clients have in common: orders by a file, and one piece of work for each client. */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

const LOOK_MS = 20;

/** Does what the plan's file says, again and again, and prints `answer N {…}` behind each. */
export async function obeyOrders(plan, obey) {
  for (let done = 0; ; ) {
    let order;
    try {
      order = JSON.parse(readFileSync(plan.orders, "utf8"));
    } catch {
      // There is none yet.
    }
    if (order === undefined || order.number === done) {
      await sleep(LOOK_MS);
      continue;
    }
    done = order.number;
    console.log(`answer ${done} ${JSON.stringify(await obey(order))}`);
  }
}

/** What a process says, before anything has happened. */
export function nothing() {
  return { done: 0, failed: 0, failures: {}, lastMs: 0, times: [], bytes: [] };
}

export function noteFailure(said, error) {
  const why = error.code ?? error.message;
  said.failed++;
  said.failures[why] = (said.failures[why] ?? 0) + 1;
  console.error(`failed: ${error.message}`);
}

/** Each once, so many at a time. */
export async function onceEach(all, atOnce, work) {
  const said = nothing();
  const since = performance.now();
  const left = [...all];
  const worker = async () => {
    for (let one = left.shift(); one !== undefined; one = left.shift()) {
      const begun = performance.now();
      try {
        await work(one);
        said.done++;
        said.lastMs = performance.now() - since;
        said.times.push(performance.now() - begun);
      } catch (error) {
        noteFailure(said, error);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, left.length) }, worker));
  return said;
}
