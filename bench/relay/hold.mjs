/**
 * Holds many allocations, each with some channels, until it is ended.
 *
 *   node hold.mjs PLAN     { server, username, password, realm, peers, allocations, ratePerSecond, binds }
 *
 * Prints `held {…}` when all are there. At SIGUSR2 one of them binds `binds` channels more, one at a time, and prints
 * `bound [ms, …]`.
 *
 * Clients come from addresses of 10.10.0.0/16, a few each, since a relay limits what one address may ask (RL-59).
 */
import { readFileSync } from "node:fs";
import { allocate, openSocket } from "./client.mjs";

const CLIENTS_PER_ADDRESS = 20;
/** So many are under way at most: a machine that is slower than the rate takes longer, and nobody waits too long. */
const UNDER_WAY_MAX = 48;
/** Below what one allocation may ask for long (RL-59). */
const BIND_EVERY_MS = 25;

async function main([planFile]) {
  const plan = JSON.parse(readFileSync(planFile, "utf8"));
  const started = performance.now();
  const all = [];
  const underWay = new Set();
  const failures = [];
  for (let i = 0; i < plan.allocations; i++) {
    const wait = started + (i * 1000) / plan.ratePerSecond - performance.now();
    if (wait > 1) await new Promise((resolve) => setTimeout(resolve, wait));
    while (underWay.size >= UNDER_WAY_MAX) await Promise.race(underWay);
    const host = Math.floor(i / CLIENTS_PER_ADDRESS) + 1;
    const socket = await openSocket(`10.10.${host >> 8}.${host & 255}`);
    const one = allocate(socket, plan)
      .catch((error) => failures.push(String(error)))
      .finally(() => underWay.delete(one));
    underWay.add(one);
    all.push(one);
  }
  const [first] = await Promise.all(all);
  const seconds = (performance.now() - started) / 1000;
  process.on("SIGUSR2", () => void bindMore(first, plan));
  console.log(`held ${JSON.stringify({ seconds, failed: failures.length, failure: failures[0] })}`);
}

async function bindMore(client, { peers, binds }) {
  const times = [];
  for (let i = 0; i < binds; i++) {
    times.push(await client.bind({ ...peers[0], port: 20_000 + i }));
    await new Promise((resolve) => setTimeout(resolve, BIND_EVERY_MS));
  }
  console.log(`bound ${JSON.stringify(times)}`);
}

await main(process.argv.slice(2));
