/** What a relay costs: processor seconds per gigabyte (G-10), for trains and for single datagrams. */
import { writeFileSync } from "node:fs";
import { cpuSeconds } from "../lib/processor.mjs";
import { cellOf } from "../lib/result.mjs";
import { shuffled } from "../lib/statistics.mjs";
import { nextLine, received } from "./arms.mjs";

/** What is smaller than this part of what was sent is no fair comparison any more. */
const ARRIVED_MIN = 0.95;

/** A tunnel's datagrams at MTU 1280; a train is what fits into one call. */
export const CELLS = {
  "trains, up": { direction: "up", bytes: 1312, count: 44, sendsPerSecond: 400 },
  "trains, down": { direction: "down", bytes: 1312, count: 44, sendsPerSecond: 400 },
  "single, up": { direction: "up", bytes: 1312, count: 1, sendsPerSecond: 15_000 },
  "single, down": { direction: "down", bytes: 1312, count: 1, sendsPerSecond: 15_000 },
};

async function measure({ relay, client }, peer, { seconds, load }) {
  const { direction, bytes, count, sendsPerSecond } = load;
  const [from, to] = direction === "up" ? [client, peer] : [peer, client];
  const target = direction === "up" ? client.server : { address: client.address, port: client.port };
  writeFileSync(from.jobFile, JSON.stringify({ to: target, bytes, count, sendsPerSecond, seconds }));
  const [cpuBefore, bytesBefore] = [cpuSeconds(relay.pid), received(to.child)];
  const done = nextLine(from.child, seconds);
  from.child.signal("SIGUSR2");
  const { sent, refused } = await done;
  await new Promise((resolve) => setTimeout(resolve, 200));
  const gigabytes = (received(to.child) - bytesBefore) / 1e9;
  const used = cpuSeconds(relay.pid) - cpuBefore;
  const share = (gigabytes * 1e9) / ((sent - refused) * count * bytes);
  const isValid = share > ARRIVED_MIN;
  return {
    value: used / gigabytes,
    gbps: (gigabytes * 8) / seconds,
    share,
    valid: isValid,
    ...(isValid ? {} : { reason: `${Math.round(share * 100)} % arrived` }),
  };
}

export async function runCell(name, load, { arms, peer, draw, options }) {
  const samples = [];
  for (let pair = 0; pair < options.pairs; pair++) {
    for (const arm of shuffled(arms, draw)) {
      const sample = await measure(arm, peer, { seconds: options.seconds, load });
      samples.push({ arm: arm.name, pair, ...sample });
      console.error(
        `${name.padEnd(13)} ${arm.name.padEnd(8)} ${sample.value.toFixed(3)} s/GB at ${sample.gbps.toFixed(2)} Gbit/s`,
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
