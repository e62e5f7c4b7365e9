/** Names of routing tables, as iproute2 keeps them (WG-63). */

import { readFileSync } from "node:fs";
import { U32_MAX } from "../base/index.ts";

/** iproute2 looks in /etc first; newer ones ship their names elsewhere. */
const FILES = ["/etc/iproute2/rt_tables", "/usr/share/iproute2/rt_tables", "/usr/lib/iproute2/rt_tables"];

/** Reads lines `254 main`, `0xfe main`; `#` begins a remark. Lines that are none are skipped. */
export function parseRouteTables(text: string): ReadonlyMap<string, number> {
  const tables = new Map<string, number>();
  for (const line of text.split("\n")) {
    const match = /^\s*(\d+|0x[0-9a-fA-F]+)\s+([^\s#]+)/.exec(line);
    if (match === null) continue;
    const number = Number(match[1]);
    if (number <= U32_MAX) tables.set(match[2] ?? "", number);
  }
  return tables;
}

/** The number of a table with that name on this host. */
export function routeTableNumber(name: string): number | undefined {
  for (const path of FILES) {
    try {
      const number = parseRouteTables(readFileSync(path, "utf8")).get(name);
      if (number !== undefined) return number;
    } catch {
      // This host keeps them elsewhere.
    }
  }
  return undefined;
}
