/** What a relay costs: processor seconds per gigabyte (G-10), for trains and for single datagrams. */
import { writeFileSync } from "node:fs";
import { cpuParts, sleeps } from "../lib/processor.mjs";
import { cellOf } from "../lib/result.mjs";
import { shuffled } from "../lib/statistics.mjs";
import { nextLine, received } from "./arms.mjs";

/** What is smaller than this part of what was sent is no fair comparison any more. */
const ARRIVED_MIN = 0.95;

/** A tunnel's datagrams at MTU 1280; a train is what fits into one call. */
const TRAIN = { bytes: 1312, count: 44 };
const SINGLE = { bytes: 1312, count: 1 };

/** The rates of the second half are what one process that sends can do, and either relay still follow. */
export const CELLS = {
  "trains, up": { direction: "up", ...TRAIN, sendsPerSecond: 400 },
  "trains, down": { direction: "down", ...TRAIN, sendsPerSecond: 400 },
  "single, up": { direction: "up", ...SINGLE, sendsPerSecond: 15_000 },
  "single, down": { direction: "down", ...SINGLE, sendsPerSecond: 15_000 },
  "trains-1k, up": { direction: "up", ...TRAIN, sendsPerSecond: 1000 },
  "trains-1k, down": { direction: "down", ...TRAIN, sendsPerSecond: 1000 },
  "single-40k, up": { direction: "up", ...SINGLE, sendsPerSecond: 40_000 },
  "single-40k, down": { direction: "down", ...SINGLE, sendsPerSecond: 40_000 },
};

async function measure({ relay, client }, peer, { seconds, load }) {
  const { direction, bytes, count, sendsPerSecond } = load;
  const [from, to] = direction === "up" ? [client, peer] : [peer, client];
  const target = direction === "up" ? client.server : { address: client.address, port: client.port };
  writeFileSync(from.jobFile, JSON.stringify({ to: target, bytes, count, sendsPerSecond, seconds }));
  const [before, sleepsBefore, bytesBefore] = [cpuParts(relay.pid), sleeps(relay.pid), received(to.child)];
  const done = nextLine(from.child, seconds);
  from.child.signal("SIGUSR2");
  const { sent, refused } = await done;
  await new Promise((resolve) => setTimeout(resolve, 200));
  const gigabytes = (received(to.child) - bytesBefore) / 1e9;
  const after = cpuParts(relay.pid);
  const [user, system] = [after.user - before.user, after.system - before.system];
  const share = (gigabytes * 1e9) / ((sent - refused) * count * bytes);
  // A load that does not reach its rate gives either relay another one.
  const offered = sent / (sendsPerSecond * seconds);
  const isValid = Math.min(share, offered) > ARRIVED_MIN;
  const reason = `${Math.round(share * 100)} % of what was sent arrived, ${Math.round(offered * 100)} % of the rate was sent`;
  return {
    value: (user + system) / gigabytes,
    user: user / gigabytes,
    system: system / gigabytes,
    sleeps_per_send: (sleeps(relay.pid) - sleepsBefore) / sent,
    gbps: (gigabytes * 8) / seconds,
    share,
    offered,
    valid: isValid,
    ...(isValid ? {} : { reason }),
  };
}

export async function runCell(name, load, { arms, peer, draw, options }) {
  const samples = [];
  for (let pair = 0; pair < options.pairs; pair++) {
    for (const arm of shuffled(arms, draw)) {
      const sample = await measure(arm, peer, { seconds: options.seconds, load });
      samples.push({ arm: arm.name, pair, ...sample });
      console.error(
        `${name.padEnd(20)} ${arm.name.padEnd(8)} ${sample.value.toFixed(3)} s/GB (${sample.user.toFixed(2)} user) at ${sample.gbps.toFixed(2)} Gbit/s, ${sample.sleeps_per_send.toFixed(2)} sleeps a send ${sample.reason ?? ""}`,
      );
    }
  }
  const names = arms.map((arm) => arm.name);
  return cellOf({
    name,
    params: { ...load, seconds: options.seconds },
    unit: "s CPU/GB",
    samples,
    arms: names,
  });
}
