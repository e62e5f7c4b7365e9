/** Whether a soak was as it should be (TS-62). */
import { median } from "../lib/statistics.mjs";
import { wrongSeconds } from "./beside.mjs";
import { tablesLeft } from "./tables.mjs";

/** TS-17: a dead path has another, or has failed. */
const RECOVERS_WITHIN_MS = 20_000;
/** What was asked while the path was dead fails later. */
const FORGOTTEN_WITHIN_MS = 30_000;
const TEN_MINUTES_MS = 600_000;
const JUDGED_FROM_MINUTES = 30;
const MEMORY_GROWTH_MAX = 1.1;
const SHARE_MIN = 0.9;

/** Client, gateway and relays. */
export const programsOf = ({ processes, relays }) => [...processes, ...relays];

/** What was wrong, in words; empty: nothing. */
export function faultsFound({ slices, looks, broken, failed, struck, seconds, tables }, arms, { minutes }) {
  const { tunnel, small } = arms;
  const wrong = [...failed, ...broken.map((message) => `a slice broke: ${message}`)];
  const programs = programsOf(tunnel);
  for (const child of programs) if (!child.isRunning()) wrong.push(`${child.name} has ended`);
  if (small.hasEndedByItself()) wrong.push(`small requests have ended: ${small.said()}`);
  wrong.push(...tablesLeft(arms.tables, tables));
  const excuseFor = (ms) => (at) => struck.some(({ from, to }) => at >= from - 1000 && at <= to + ms);
  const isExcused = excuseFor(RECOVERS_WITHIN_MS);
  const stalls = slices.flatMap(({ empty }) => empty).filter((at) => !isExcused(at));
  wrong.push(...wrongSeconds(seconds, excuseFor(FORGOTTEN_WITHIN_MS)));
  if (stalls.length > 0) wrong.push(`${stalls.length} seconds without a byte and without a fault`);
  // Of a short run memory says nothing: the runtime collects its garbage when it likes.
  if (minutes < JUDGED_FROM_MINUTES) return wrong;
  const quarter = Math.floor(looks.length / 4);
  for (const [i, { name }] of programs.entries()) {
    const of = (key, from, to) => median(looks.slice(from, to).map((look) => look[i][key]));
    const growth = of("residentMb", -quarter) / of("residentMb", quarter, 2 * quarter);
    if (growth > MEMORY_GROWTH_MAX) wrong.push(`${name}: memory grew to ${growth.toFixed(2)} times`);
    const more = of("descriptors", -quarter) - of("descriptors", quarter, 2 * quarter);
    if (more > 0) wrong.push(`${name}: ${more} descriptors more`);
  }
  const share = lastToFirst(slices, minutes);
  if (share < SHARE_MIN) {
    wrong.push(`the last ten minutes had ${share.toFixed(2)} of the first ten's share of the cable`);
  }
  return wrong;
}

/** Of short runs the first and the last third. */
export function lastToFirst(slices, minutes) {
  const span = Math.min(TEN_MINUTES_MS, (minutes * 60_000) / 3);
  const [first, last] = [slices[0]?.began ?? 0, slices.at(-1)?.began ?? 0];
  const of = (isIn) => median(slices.filter(({ began }) => isIn(began)).map(({ share }) => share)) ?? 0;
  return of((began) => began >= last - span) / of((began) => began <= first + span);
}
