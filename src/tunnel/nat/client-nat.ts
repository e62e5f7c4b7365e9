/** What a gateway translates for one client. */
import { createDeadlineQueue, type DeadlineQueue } from "../../base/index.ts";
import { createEntries, type Entries } from "./entries.ts";
import { type Ageing, createMappings, type Mappings } from "./mappings.ts";

export interface ClientNat {
  readonly entries: Entries;
  readonly mappings: Mappings;
  /** Outside tuples of its untranslated flows, and how many have each: a mapping takes none of them (TN-65). */
  readonly untranslated: Map<string, number>;
}

/** @param ageing what of all clients ends by itself */
export function createClientNat(ageing: DeadlineQueue<Ageing> = createDeadlineQueue()): ClientNat {
  return { entries: createEntries(), mappings: createMappings(ageing), untranslated: new Map() };
}

/** The client numbers its proxy addresses anew, or has other tunnel addresses (TN-52, TN-64). */
export function resetClientNat({ entries, mappings }: ClientNat): void {
  entries.clear();
  mappings.clear();
}
