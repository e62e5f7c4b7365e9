/** Ports of a filter, as the file writes them: `443` or `8000-8100` (PT-116). */
import { malformed, type Parsed, parsed } from "../../base/index.ts";

export interface PortRange {
  readonly firstPort: number;
  readonly lastPort: number;
}

const LAST_PORT = 65535;

export function parsePortRange(text: string): Parsed<PortRange> {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text.trim());
  if (match === null) return malformed("is neither a port nor a range such as 8000-8100");
  const firstPort = Number(match[1]);
  const lastPort = Number(match[2] ?? match[1]);
  if (firstPort > LAST_PORT || lastPort > LAST_PORT) return malformed("has a port above 65535");
  if (firstPort > lastPort) return malformed("starts after its end");
  return parsed({ firstPort, lastPort });
}
