/** Processes of clients (`clients.mjs`, or another script with the same plan), asked all together. */
import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../../scripts/steps.mjs";
import { cpuSeconds } from "../lib/processor.mjs";

const CLIENTS = join(ROOT, "bench", "load", "clients.mjs");
/** Clients stand for machines with processors of their own: here they leave them to gateway and portal first. */
const GIVES_WAY = "10";
/** New devices a second of one token (PT-72), with room to spare. */
const SIGN_IN_MS_EACH = 120;
const SIGN_IN_WITHIN_MS = 60_000;
const ORDER_WITHIN_MS = 120_000;
const ORDER_MS_EACH = 40;
/** A socket and more for each client, here and at the portal. */
export const WITH_FILES = 'ulimit -n 65536; exec "$0" "$@"';

/** Starts the processes; resolves when every client has signed in. */
export async function openHerd(
  { near, url, clientToken },
  { count, perProcess, atOnce, users, seed, resource, resourceName, runtime, note, script = CLIENTS },
) {
  const flocks = [];
  for (let first = 0; first < count; first += perProcess) {
    const size = Math.min(perProcess, count - first);
    const orders = `orders-${first}`;
    const plan = {
      url,
      orders: `/run/${orders}`,
      first,
      size,
      atOnce,
      users,
      seed,
      resource,
      resourceName,
      own: "10.9.0.1",
    };
    const child = near.start({
      name: "clients",
      command: "nice",
      args: ["-n", GIVES_WAY, "sh", "-c", WITH_FILES, runtime.path, script, JSON.stringify(plan)],
      env: { ...process.env, POSTERN_TOKEN: clientToken },
    });
    const withinMs = SIGN_IN_WITHIN_MS + size * SIGN_IN_MS_EACH * 4;
    await child.waitForLine(/^signed in$/, { withinMs });
    flocks.push({
      child,
      file: join(near.runFolder, orders),
      orders: 0,
      withinMs: ORDER_WITHIN_MS + count * ORDER_MS_EACH,
    });
    note(`${first + size} of ${count} have signed in`);
  }
  return {
    /** Processor time of all clients' processes, in seconds. */
    cpu: () => flocks.reduce((sum, { child }) => sum + cpuSeconds(child.pid), 0),
    /** @returns the sums of what the processes say; `lastMs`: until the last of them had its last success */
    async each(order, { seconds = 0 } = {}) {
      const answers = await Promise.all(flocks.map((flock) => ask(flock, order, seconds)));
      return {
        done: answers.reduce((sum, { done }) => sum + done, 0),
        failed: answers.reduce((sum, { failed }) => sum + failed, 0),
        failures: sumOf(answers.map(({ failures }) => failures)),
        lastMs: Math.max(...answers.map(({ lastMs }) => lastMs)),
        times: answers.flatMap(({ times }) => times),
        bytes: answers.flatMap(({ bytes }) => bytes),
      };
    },
  };
}

function sumOf(counts) {
  const sum = {};
  for (const [name, n] of counts.flatMap(Object.entries)) sum[name] = (sum[name] ?? 0) + n;
  return sum;
}

/** Orders go by a file, which is put in place whole: children have no standard input that stays open. */
async function ask(flock, order, seconds) {
  const { child, file, withinMs } = flock;
  const number = ++flock.orders;
  writeFileSync(`${file}.new`, JSON.stringify({ number, order, seconds }));
  renameSync(`${file}.new`, file);
  const pattern = new RegExp(`^answer ${number} (.*)$`);
  const [, said] = await child.waitForLine(pattern, { withinMs: withinMs + seconds * 1000 });
  return JSON.parse(said);
}
