/**
 * What a resource may be (PT-116).
 */
import {
  covers,
  LOOPBACK,
  malformed,
  type Parsed,
  type Prefix,
  parsed,
  parsePrefix,
} from "../../base/index.ts";
import { FORBIDDEN_RANGES } from "../server/address-pool.ts";

const MAX_NAME_CHARS = 253;
const MAX_LABEL_CHARS = 63;

/**
 * A network, or with `ip` a single address. Whatever reaches into loopback or into the tunnel's own
 * ranges is refused, wide networks that merely contain them, too: they would capture the tunnel.
 */
export function parseResourceNetwork(kind: "cidr" | "ip", text: string): Parsed<Prefix> {
  if (kind === "ip" && text.includes("/")) return malformed("must be a single address");
  const network = parsePrefix(text);
  if (!network.ok) return malformed(kind === "ip" ? "is not an IP address" : "is not a network");
  const { value } = network;
  if (value.bits === 0) return malformed("covers everything; use a resource of type internet");
  if (LOOPBACK.some((range) => overlaps(range, value))) return malformed("reaches into loopback");
  if (FORBIDDEN_RANGES.some((range) => overlaps(range, value))) {
    return malformed("reaches into the tunnel's own ranges, 100.64.0.0/10 and fd00:2021:1111::/48");
  }
  return network;
}

export function overlaps(a: Prefix, b: Prefix): boolean {
  return covers(a, b) || covers(b, a);
}

/** A name with wildcards: `*` one label, `**` any number, `?` one character. */
export function parseResourceName(text: string): Parsed<string> {
  const name = text.toLowerCase();
  const labels = name.split(".");
  if (name.length > MAX_NAME_CHARS) return malformed("has more than 253 characters");
  if (labels.some((label) => label === "")) return malformed("has an empty label");
  if (labels.some((label) => label.length > MAX_LABEL_CHARS)) {
    return malformed("has a label of more than 63 characters");
  }
  if (!labels.every((label) => /^(\*\*|[\p{L}\p{M}\p{N}*?-]+)$/u.test(label))) {
    return malformed("may hold letters, digits, hyphens, dots and wildcards only");
  }
  if (labels.some((label) => label !== "**" && label.includes("**"))) {
    return malformed("uses ** as a part of a label");
  }
  const last = labels.at(-1) ?? "";
  if (/[*?]/.test(last)) return malformed("has a wildcard in the last label");
  if (/^\d+$/.test(last)) return malformed("is not a name; use a resource of type cidr or ip");
  if (last === "localhost") return malformed("must not be localhost");
  if (labels.length > 1 && labels.slice(0, -1).every((label) => /^[*?]+$/.test(label))) {
    return malformed("matches everything below a top-level domain");
  }
  return parsed(name);
}
