/** Names of resources, as the parts of the client speak of them. */
import type { AssignedName } from "../dns/index.ts";

/** A name, and whose it is. */
export type Named = Pick<AssignedName, "rid" | "domain">;

/** What the flows of a name are found by. */
export function ownerOf({ rid, domain }: Named): string {
  return `${rid} ${domain}`;
}
