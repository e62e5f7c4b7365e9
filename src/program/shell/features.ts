/** Local feature flags, `POSTERN_FF_<NAME>=true|false` (PG-118). */
import type { Log } from "../../base/index.ts";
import type { PlaneFeatures } from "./plane-host.ts";

const PREFIX = "POSTERN_FF_";
const TRUE = ["1", "true", "yes", "on"];
const FALSE = ["0", "false", "no", "off"];
const KNOWN = {
  GSO: "gso",
  GRO: "gro",
  TUN_OFFLOAD: "tunOffload",
  ENOBUFS_RETRY: "enobufsRetry",
  ICMP_ERROR_CREATES_FLOW: "icmpErrorCreatesFlow",
} as const;

/** The flags as the environment sets them; all are on by default. An unknown name or value: WARN. */
export function readFeatures(env: Readonly<Record<string, string | undefined>>, log: Log): PlaneFeatures {
  const features = {
    ...{ gso: true, gro: true, tunOffload: true, enobufsRetry: true },
    icmpErrorCreatesFlow: true,
  };
  for (const [variable, value] of Object.entries(env)) {
    if (!variable.startsWith(PREFIX) || value === undefined || value === "") continue;
    const name = variable.slice(PREFIX.length);
    const isTrue = TRUE.includes(value.toLowerCase());
    if (!isKnown(name)) log.warn?.("unknown feature flag", { variable });
    else if (!isTrue && !FALSE.includes(value.toLowerCase())) {
      log.warn?.("feature flag is neither true nor false: its default applies", { variable, value });
    } else features[KNOWN[name]] = isTrue;
  }
  return features;
}

function isKnown(name: string): name is keyof typeof KNOWN {
  return name in KNOWN;
}
