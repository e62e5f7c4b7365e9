/** The text of `postern lookup` (PG-195). */
import type { LookupView } from "../control/index.ts";

/** One line per type, and the reason once if it is the same. */
export function formatLookup(views: readonly LookupView[]): readonly string[] {
  const lines = views.map((view) => `${view.name}  ${view.type.padEnd(4)}  ${answerOf(view)}`);
  const reasons = [...new Set(views.map(({ why }) => why))];
  return [...lines, ...reasons.map((why) => `  ${why}`)];
}

function answerOf({ type, rcode, addresses, records }: LookupView): string {
  if (addresses.length > 0) return addresses.join(" ");
  if (rcode !== "NOERROR") return rcode;
  if (type === "A" || type === "AAAA") return "no address";
  return records === 1 ? "1 record" : `${records} records`;
}
