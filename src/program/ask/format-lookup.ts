/** The text of `postern lookup` (PG-195). */
import type { LookupView } from "../control/index.ts";

/** One line per family, and the reason once if it is the same. */
export function formatLookup(views: readonly LookupView[]): readonly string[] {
  const lines = views.map(({ name, type, rcode, addresses }) => {
    const answer = addresses.length > 0 ? addresses.join(" ") : rcode === "NOERROR" ? "no address" : rcode;
    return `${name}  ${type.padEnd(4)}  ${answer}`;
  });
  const reasons = [...new Set(views.map(({ why }) => why))];
  return [...lines, ...reasons.map((why) => `  ${why}`)];
}
