/**
 * Reads the portal's configuration file: text in, a checked model or a list of mistakes with line and
 * column out (PT-110 to PT-116).
 */
import * as v from "valibot";
import { nearest } from "../../base/index.ts";
import type { PortalModel } from "../server/model.ts";
import { buildModel } from "./build-model.ts";
import { type ConfigDocument, type ConfigIssue, type ConfigPath, parseConfigDocument } from "./document.ts";
import type { DevDefaults, FileOptions } from "./file-options.ts";
import { fileSchema, type PortalFile } from "./file-schema.ts";

/** What the file may refer to outside of itself. */
export type FileResult =
  | { readonly ok: true; readonly model: PortalModel; readonly warnings: readonly string[] }
  | { readonly ok: false; readonly issues: readonly ConfigIssue[] };

/** So many mistakes at most are listed: past that, one message helps more. */
const MAX_ISSUES = 50;

export function parsePortalFile(text: string, options: FileOptions): FileResult {
  const document = parseConfigDocument(text);
  if (!document.ok) return document;
  const shape = v.safeParse(fileSchema, document.value.value);
  if (!shape.success) {
    return limited(shape.issues.map((issue) => toConfigIssue(document.value, issue)));
  }
  const issues: ConfigIssue[] = [];
  const built = buildModel(shape.output, options, (path, message) => {
    issues.push(document.value.issueAt(path, message));
  });
  return issues.length > 0 ? limited(issues) : { ok: true, ...built };
}

/** The model of `--dev` without a file. */
export function devModel(options: FileOptions & { readonly dev: DevDefaults }): PortalModel {
  const file: PortalFile = v.parse(fileSchema, { version: 1 });
  return buildModel(file, options, (_, message) => {
    throw new Error(`the defaults of --dev are inconsistent: ${message}`);
  }).model;
}

function limited(issues: readonly ConfigIssue[]): FileResult {
  const ordered = issues.toSorted((a, b) => a.line - b.line || a.column - b.column);
  return { ok: false, issues: ordered.slice(0, MAX_ISSUES) };
}

function toConfigIssue(document: ConfigDocument, issue: v.BaseIssue<unknown>): ConfigIssue {
  const path = (issue.path ?? []).map((item) => item.key as string | number);
  const name = path.at(-1);
  if (issue.type === "strict_object" && issue.expected === "never") {
    const guess = nearest(String(name), knownKeys(fileSchema, path.slice(0, -1), document.value));
    const hint = guess === undefined ? "" : `; did you mean '${guess}'?`;
    return document.issueAtKey(path, `unknown key '${String(name)}'${hint}`);
  }
  if (issue.type === "strict_object" && issue.received === "undefined" && name !== undefined) {
    return document.issueAt(path.slice(0, -1), `missing key '${String(name)}'`);
  }
  return document.issueAt(path, `${describePath(path)}${issue.message}`);
}

function describePath(path: ConfigPath): string {
  const name = path.findLast((step) => typeof step === "string");
  return name === undefined ? "" : `${name} `;
}

/** The keys that the object at `path` may have. */
function knownKeys(schema: v.GenericSchema, path: ConfigPath, value: unknown): readonly string[] {
  const inner = unwrapped(schema, value);
  const [step, ...rest] = path;
  if (step === undefined) return "entries" in inner ? Object.keys(inner.entries as object) : [];
  const child = value == null ? undefined : (value as Record<string | number, unknown>)[step];
  if ("item" in inner) return knownKeys(inner.item as v.GenericSchema, rest, child);
  const entries = "entries" in inner ? (inner.entries as Record<string, v.GenericSchema>) : {};
  const next = entries[step];
  return next === undefined ? [] : knownKeys(next, rest, child);
}

/** Takes optional wrappers off and chooses the variant that the value names. */
function unwrapped(schema: v.GenericSchema, value: unknown): v.GenericSchema {
  if ("wrapped" in schema) return unwrapped(schema.wrapped as v.GenericSchema, value);
  if (schema.type !== "variant" || !("options" in schema) || !("key" in schema)) return schema;
  const options = schema.options as readonly v.GenericSchema[];
  const key = String(schema.key);
  const chosen = options.find((option) => {
    const entries = "entries" in option ? (option.entries as Record<string, v.GenericSchema>) : {};
    const entry = entries[key];
    return entry !== undefined && v.is(entry, (value as Record<string, unknown> | null)?.[key]);
  });
  return chosen ?? schema;
}
