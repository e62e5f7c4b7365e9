/**
 * Conditions of policies, checked when they are read: one that cannot be understood never grants, so
 * it is better refused (PT-81).
 */
import { type Prefix, parsePrefix } from "../../base/index.ts";
import type { Condition } from "../server/model.ts";
import { parseWeekRanges, type WeekRange } from "../server/week-range.ts";
import type { ConfigPath } from "./document.ts";
import type { FileCondition } from "./file-schema.ts";

export type ConditionResult =
  | { readonly ok: true; readonly value: Condition }
  | { readonly ok: false; readonly at: ConfigPath; readonly message: string };

const OPERATORS: Readonly<Record<FileCondition["property"], readonly string[]>> = {
  remote_ip: ["is_in_cidr", "is_not_in_cidr"],
  remote_ip_location_region: ["is_in", "is_not_in"],
  auth_provider_id: ["is_in", "is_not_in"],
  current_utc_datetime: ["is_in_day_of_week_time_ranges"],
  client_verified: ["is"],
};

const WEEK_MESSAGES = {
  "bad-form": "is not of the form D/ranges/zone",
  "bad-day": "does not begin with one of M T W R F S U",
  "bad-time": "holds no ranges such as 9:00-17:30, or starts after its end",
  "bad-zone": "names no known time zone",
} as const;

export function parseCondition({ property, operator, values }: FileCondition): ConditionResult {
  if (!OPERATORS[property].includes(operator)) {
    return wrong(["operator"], `operator of ${property} must be ${OPERATORS[property].join(" or ")}`);
  }
  switch (property) {
    case "remote_ip":
      return parseNetworks(operator === "is_in_cidr" ? "is_in_cidr" : "is_not_in_cidr", values);
    case "remote_ip_location_region": {
      const bad = values.findIndex((value) => !/^[A-Z]{2}$/.test(value));
      if (bad >= 0) return wrong(["values", bad], `'${values[bad]}' is no country code of two letters`);
      return { ok: true, value: { property, operator: listOperator(operator), values } };
    }
    case "auth_provider_id":
      return { ok: true, value: { property, operator: listOperator(operator), values } };
    case "current_utc_datetime":
      return parseTimes(values);
    case "client_verified": {
      const [value, ...rest] = values;
      if ((value !== "true" && value !== "false") || rest.length > 0) {
        return wrong(["values"], 'values of client_verified must be ["true"] or ["false"]');
      }
      return { ok: true, value: { property, isRequired: value === "true" } };
    }
    default:
      return property satisfies never;
  }
}

function parseNetworks(
  operator: "is_in_cidr" | "is_not_in_cidr",
  values: readonly string[],
): ConditionResult {
  const prefixes: Prefix[] = [];
  for (const [i, value] of values.entries()) {
    const network = parsePrefix(value);
    if (!network.ok) return wrong(["values", i], `'${value}' is not a network`);
    prefixes.push(network.value);
  }
  return { ok: true, value: { property: "remote_ip", operator, prefixes } };
}

function parseTimes(values: readonly string[]): ConditionResult {
  const ranges: WeekRange[] = [];
  for (const [i, value] of values.entries()) {
    const parsed = parseWeekRanges(value);
    if (!parsed.ok) return wrong(["values", i], `'${value}' ${WEEK_MESSAGES[parsed.reason]}`);
    ranges.push(...parsed.value);
  }
  return { ok: true, value: { property: "current_utc_datetime", ranges } };
}

function listOperator(operator: string): "is_in" | "is_not_in" {
  return operator === "is_in" ? "is_in" : "is_not_in";
}

function wrong(at: ConfigPath, message: string): ConditionResult {
  return { ok: false, at, message };
}
