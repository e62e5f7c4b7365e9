/** What may be asked: a table of methods, each with the schema of its parameters (PG-108). */
import * as v from "valibot";
import { ControlRefusal, type ControlRequest } from "./protocol.ts";

export interface ControlMethod {
  /** What it returns may be a promise. @throws ControlRefusal, or rejects with it */
  readonly answer: (params: Readonly<Record<string, unknown>>) => unknown;
}

export type ControlMethods = Readonly<Record<string, ControlMethod>>;

/** Ties a method to the types of its parameters; unknown parameters are refused, they may be misspelt. */
export function method<Entries extends v.ObjectEntries>(
  entries: Entries,
  answer: (params: v.InferOutput<v.StrictObjectSchema<Entries, undefined>>) => unknown,
): ControlMethod {
  const schema = v.strictObject(entries);
  return {
    answer(params) {
      const read = v.safeParse(schema, params);
      if (read.success) return answer(read.output);
      const [issue] = read.issues;
      throw new ControlRefusal("bad_params", `${v.getDotPath(issue) ?? "params"}: ${issue.message}`);
    },
  };
}

/** @throws ControlRefusal */
export function answerRequest(methods: ControlMethods, { method: name, params }: ControlRequest): unknown {
  const found = Object.hasOwn(methods, name) ? methods[name] : undefined;
  if (found !== undefined) return found.answer(params);
  const known = Object.keys(methods).join(", ");
  throw new ControlRefusal("unknown_method", `unknown method '${name}'; this program knows ${known}`);
}
