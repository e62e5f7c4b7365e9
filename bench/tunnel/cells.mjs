/** Cells of a tunnel's benchmark: what is measured of each arm, and the runs that alternate (TS-50). */
import { cellOf } from "../lib/result.mjs";
import { shuffled, spread } from "../lib/statistics.mjs";
import { ping, tcp, udp } from "./loads.mjs";

/** How often an invalid run is repeated (TS-50). */
export const REPEATS_MAX = 2;
const SPREAD_MAX = 0.15;
const UDP_LOADS = [
  [64, "150M"],
  [1200, "2500M"],
];

/**
 * The cells for one MTU: name, unit, load.
 * @param cells `tcp`, `streams`, `udp` (or `udp-64`, `udp-1200` alone), `ping`
 */
export function planFor(mtu, { cells, seconds, pings, roundTripMs = 0 }) {
  const plan = [];
  const add = (name, unit, params, load) =>
    plan.push({
      name: `${name}-${mtu}${roundTripMs === 0 ? "" : `-${roundTripMs}ms`}`,
      unit,
      params: { mtu, ...(roundTripMs === 0 ? {} : { roundTripMs }), ...params },
      load,
    });
  if (cells.has("tcp")) {
    for (const direction of ["up", "down"]) {
      add(`tcp-${direction}`, "Gbit/s", { direction, seconds }, (arm) => tcp(arm, { direction, seconds }));
    }
  }
  if (cells.has("streams")) {
    for (const direction of ["up", "down"]) {
      const params = { streams: 4, direction, seconds };
      add(`tcp-4-streams-${direction}`, "Gbit/s", params, (arm) => tcp(arm, params));
    }
  }
  for (const [bytes, offered] of UDP_LOADS) {
    if (!cells.has("udp") && !cells.has(`udp-${bytes}`)) continue;
    const params = { bytes, offered, seconds };
    add(`udp-${bytes}`, "packets/s", params, (arm) => udp(arm, params));
  }
  if (cells.has("ping")) {
    add("ping-idle", "ms (median)", {}, (arm) => ping(arm, { isLoaded: false, count: pings }));
    add("ping-loaded", "ms (p99)", {}, (arm) => ping(arm, { isLoaded: true, count: pings }));
  }
  return plan;
}

/**
 * Runs a cell's load on every arm, pair by pair, in drawn order.
 * @param options `pairs`, `repeats` of an invalid run, `say` for a line of progress
 */
export async function runCell({ name, unit, params, load }, arms, { pairs, repeats = 0, say }, draw) {
  const samples = [];
  for (let pair = 0; pair < pairs; pair++) {
    for (const arm of shuffled(arms, draw))
      samples.push({ arm: arm.name, pair, ...(await runValid(arm, load, repeats)) });
    say?.(`${name}: pair ${pair + 1} of ${pairs}`);
  }
  const names = arms.map((arm) => arm.name);
  const baseline = samples.filter((sample) => sample.arm === names.at(-1)).map((sample) => sample.value);
  const wide = baseline.length > 1 && spread(baseline) > SPREAD_MAX;
  const notes = wide ? `invalid: the baseline's spread is ${(spread(baseline) * 100).toFixed(0)} %` : "";
  const cell = cellOf({ name, params, unit, samples, arms: names, notes });
  printCell(cell, names);
  return cell;
}

async function runValid(arm, load, repeats) {
  for (let attempt = 0; ; attempt++) {
    const sample = await load(arm);
    if (sample.valid || attempt >= repeats) return attempt === 0 ? sample : { ...sample, repeated: attempt };
  }
}

export function printCell(cell, names) {
  const values = names.map((name) => `${name} ${format(cell.arms[name]?.median)}`).join(", ");
  const ratios = Object.entries(cell.ratio_to).map(([to, ratio]) => {
    const cpu = cell.cpu_ratio_to[to];
    const cost = cpu === undefined ? "" : `, CPU per GB ${format(cpu.median)}×`;
    return `${format(ratio?.median)}× ${to} [${format(ratio?.min)}–${format(ratio?.max)}]${cost}`;
  });
  const invalid = cell.samples.filter((sample) => sample.valid === false).length;
  const notes = [
    ...(invalid > 0 ? [`${invalid} of ${cell.samples.length} samples invalid`] : []),
    cell.notes,
  ];
  console.error(
    `${cell.name.padEnd(18)} ${cell.unit.padEnd(12)} ${values}; ${ratios.join("; ")} ${notes.join("; ")}`,
  );
}

export function format(value) {
  return value === undefined ? "–" : Number(value.toPrecision(3)).toString();
}
