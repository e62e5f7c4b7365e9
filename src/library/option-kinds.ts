/** What each option takes, for programs without types and for values that come from a file (PG-120). */
import { PORT_MAX } from "../program/userspace/index.ts";
import { usage } from "./error.ts";

interface Kind {
  readonly wants: string;
  readonly fits: (value: unknown) => boolean;
}

const TEXT: Kind = { wants: "text", fits: (value) => typeof value === "string" };
const TEXTS: Kind = {
  wants: "an array of texts",
  fits: (value) => Array.isArray(value) && value.every(TEXT.fits),
};
const FLAG: Kind = { wants: "true or false", fits: (value) => typeof value === "boolean" };
const FUNCTION: Kind = { wants: "a function", fits: (value) => typeof value === "function" };
const MILLISECONDS: Kind = {
  wants: "milliseconds, 0 or more",
  fits: (value) => typeof value === "number" && value >= 0,
};
const PORT: Kind = {
  wants: `a port from 0 to ${PORT_MAX}`,
  fits: (value) => Number.isInteger(value) && Number(value) >= 0 && Number(value) <= PORT_MAX,
};

function oneOf(...choices: readonly string[]): Kind {
  return {
    wants: `${choices.slice(0, -1).join(", ")} or ${choices.at(-1)}`,
    fits: (value) => choices.some((one) => one === value),
  };
}

const KINDS: Readonly<Record<string, Kind>> = {
  id: TEXT,
  ...{ name: TEXT, logFilter: TEXT, tunName: TEXT, instance: TEXT, egressInterface: TEXT },
  ...{ ca: TEXTS, addresses: TEXTS, systemResolvers: TEXTS },
  ...{ internetResource: FLAG, flowLogs: FLAG, allowLinkLocal: FLAG },
  ...{ log: FUNCTION, onFlow: FUNCTION, resolver: FUNCTION },
  ...{ listenPort: PORT, maxPartitionMs: MILLISECONDS },
  dnsControl: oneOf("auto", "systemd-resolved", "etc-resolv-conf", "disabled"),
  masquerade: oneOf("auto", "off"),
  hostAccess: oneOf("dns", "all"),
};

/** @throws PosternError `host` with the detail `usage` */
export function checkKinds(options: object & { readonly id?: unknown }): void {
  if (options.id === undefined)
    throw usage("id is missing", "give each instance a name of its own that stays the same");
  for (const [name, value] of Object.entries(options)) {
    const kind = Object.hasOwn(KINDS, name) ? KINDS[name] : undefined;
    if (value !== undefined && kind?.fits(value) === false)
      throw usage(`${name} is ${shown(value)}`, `use ${kind.wants}`);
  }
}

/** Text is not repeated: it may be long, or somebody's secret that is in the wrong place. */
function shown(value: unknown): string {
  if (typeof value === "string") return "text that it does not take";
  return typeof value === "object" && value !== null ? "an object" : String(value);
}
