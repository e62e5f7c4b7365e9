/** A result that an earlier run wrote, checked (PG-203). */
import * as v from "valibot";
import { type Parsed, parseJson } from "../../base/index.ts";
import type { BenchResult } from "./result.ts";

const Text = v.pipe(v.string(), v.maxLength(500));
const Count = v.pipe(v.number(), v.integer(), v.minValue(0));

const Result = v.object({
  v: v.literal(1),
  version: Text,
  started: Text,
  machine: v.object({ processor: Text, cores: Count, kernel: Text, runtime: Text }),
  topology: Text,
  pairs: Count,
  seconds: v.number(),
  arms: v.array(v.object({ name: Text, title: Text, note: v.exactOptional(Text) })),
  cells: v.array(
    v.object({
      name: Text,
      title: Text,
      unit: Text,
      better: v.picklist(["higher", "lower"]),
      samples: v.array(v.object({ arm: Text, pair: Count, value: v.number() })),
    }),
  ),
  missing: v.array(Text),
  othersShare: v.exactOptional(v.number()),
});

export function readResult(text: string): Parsed<BenchResult> {
  const json = parseJson(text);
  if (!json.ok) return json;
  const result = v.safeParse(Result, json.value);
  if (result.success) return { ok: true, value: result.output };
  const [issue] = result.issues;
  return { ok: false, reason: `${issue.message} at ${v.getDotPath(issue) ?? "its top"}` };
}
