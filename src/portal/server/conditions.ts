/**
 * Whether the conditions of a policy hold, and until when (PT-81, PT-82).
 */
import { contains, type IpAddress, type UnixMs, unixMs, unreachable } from "../../base/index.ts";
import type { Condition, ConditionProperty, Policy } from "./model.ts";
import { nextBegin, withinWeek } from "./week-range.ts";

/** What conditions are checked against. */
export interface Circumstances {
  readonly wallNow: UnixMs;
  /** The address the client connects from (PT-73). */
  readonly remote: IpAddress;
  readonly isVerified: boolean;
}

/** `until` is absent when nothing but a change of the configuration can end it. */
export type ConditionResult =
  | { readonly holds: true; readonly until?: UnixMs }
  | { readonly holds: false; readonly violated: readonly ConditionProperty[] };

/** All conditions must hold; the earliest end counts. */
export function checkConditions(policy: Policy, circumstances: Circumstances): ConditionResult {
  const violated: ConditionProperty[] = [];
  let until: UnixMs | undefined;
  for (const condition of policy.conditions) {
    const result = checkCondition(condition, circumstances);
    if (!result.holds) violated.push(condition.property);
    else if (result.until !== undefined) {
      until = until === undefined ? result.until : unixMs(Math.min(until, result.until));
    }
  }
  if (violated.length > 0) return { holds: false, violated };
  return until === undefined ? { holds: true } : { holds: true, until };
}

/**
 * When a policy whose conditions do not hold may hold, because time passes: the latest beginning of its times.
 * `undefined`: something else is violated too, which no time mends.
 */
export function mayHoldAt(policy: Policy, circumstances: Circumstances): UnixMs | undefined {
  let latest: UnixMs | undefined;
  for (const condition of policy.conditions) {
    if (checkCondition(condition, circumstances).holds) continue;
    if (condition.property !== "current_utc_datetime") return undefined;
    const begin = nextBegin(condition.ranges, circumstances.wallNow);
    if (begin === undefined) return undefined;
    if (latest === undefined || begin > latest) latest = begin;
  }
  return latest;
}

export function checkCondition(
  condition: Condition,
  { remote, wallNow, isVerified }: Circumstances,
): { readonly holds: boolean; readonly until?: UnixMs } {
  switch (condition.property) {
    case "remote_ip": {
      const address = unmapped(remote);
      const isIn = condition.prefixes.some((prefix) => contains(prefix, address));
      return { holds: isIn === (condition.operator === "is_in_cidr") };
    }
    case "remote_ip_location_region":
      // Without a location database the country is unknown, which violates both operators (PT-118).
      return { holds: false };
    case "auth_provider_id":
      // Tokens of the file have no provider (PT-118).
      return { holds: condition.operator === "is_not_in" };
    case "current_utc_datetime": {
      const { isWithin, ...end } = withinWeek(condition.ranges, wallNow);
      return { holds: isWithin, ...end };
    }
    case "client_verified":
      return { holds: isVerified || !condition.isRequired };
    default:
      return unreachable(condition);
  }
}

/** IPv4-mapped IPv6 counts as IPv4 (PT-81). */
function unmapped(address: IpAddress): IpAddress {
  const isMapped =
    address.length === 16 &&
    address.slice(0, 10).every((byte) => byte === 0) &&
    address[10] === 0xff &&
    address[11] === 0xff;
  return isMapped ? address.slice(12) : address;
}
