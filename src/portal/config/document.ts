/**
 * A YAML document that remembers where everything stands, so that a message can name line and column
 * (PT-112).
 *
 * YAML 1.2's core schema: `no` and dates stay text, duplicate keys are errors, JSON is a subset.
 */
import {
  type CST,
  type Document,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  Parser,
  parseDocument,
  visit,
} from "yaml";
import { MAX_NESTING, parsed } from "../../base/index.ts";

/** One mistake, and where it is; both count from 1. */
export interface ConfigIssue {
  readonly line: number;
  readonly column: number;
  readonly message: string;
}

/** Keys and indices from the root. */
export type ConfigPath = readonly (string | number)[];

export interface ConfigDocument {
  /** Plain values, to be checked by a schema. */
  readonly value: unknown;
  /** An issue at the value at `path`, or at the deepest thing above it that is there. */
  issueAt(path: ConfigPath, message: string): ConfigIssue;
  /** An issue at the key itself. */
  issueAtKey(path: ConfigPath, message: string): ConfigIssue;
}

/** An alias bomb grows with each use of an alias. */
const MAX_ALIASES = 100;
/** A portal with 10,000 resources writes about 3 MB. */
const MAX_TEXT_CHARS = 16 * 1024 * 1024;

const TOO_DEEP = `this nests deeper than ${MAX_NESTING} levels`;
const TOO_DEEP_BY_ALIASES = `with its aliases the file nests deeper than ${MAX_NESTING} levels`;

export type DocumentResult =
  | { readonly ok: true; readonly value: ConfigDocument }
  | { readonly ok: false; readonly issues: readonly ConfigIssue[] };

export function parseConfigDocument(text: string): DocumentResult {
  if (text.length > MAX_TEXT_CHARS) {
    return { ok: false, issues: [{ line: 1, column: 1, message: "the file is larger than 16 MiB" }] };
  }
  const tooDeep = tooDeepAt(text);
  if (tooDeep !== undefined) return { ok: false, issues: [tooDeep] };
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, version: "1.2" });
  const at = (offset: number, message: string): ConfigIssue => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col), message };
  };
  // A tag that the schema does not know would be read as if it were not there.
  const problems = [...document.errors, ...document.warnings];
  if (problems.length > 0) {
    return { ok: false, issues: problems.map(({ pos, message }) => at(pos[0], firstLine(message))) };
  }
  const oddKeys = collectionKeysOf(document);
  if (oddKeys.length > 0) {
    return { ok: false, issues: oddKeys.map((offset) => at(offset, "a key is plain text")) };
  }
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: MAX_ALIASES });
  } catch (error) {
    // The library throws for what only shows while values are built: too many or unknown aliases.
    const message = error instanceof Error ? firstLine(error.message) : "unreadable";
    return { ok: false, issues: [{ line: 1, column: 1, message }] };
  }
  if (nestsDeeperThan(value, MAX_NESTING)) {
    return { ok: false, issues: [{ line: 1, column: 1, message: TOO_DEEP_BY_ALIASES }] };
  }
  return parsed({
    value,
    issueAt: (path, message) => at(offsetOf(document, path), message),
    issueAtKey: (path, message) => at(keyOffsetOf(document, path), message),
  });
}

/**
 * Where the text nests too deeply. The library composes and visits nodes recursively, so this is looked
 * at first, with its lexer and parser, which keep a stack of their own.
 */
function tooDeepAt(text: string): ConfigIssue | undefined {
  const lines = new LineCounter();
  lines.addNewLine(0);
  const parser = new Parser(lines.addNewLine);
  for (const lexeme of new Lexer().lex(text)) {
    for (const _ of parser.next(lexeme));
    if (parser.stack.length <= MAX_NESTING || parser.stack.filter(isCollection).length <= MAX_NESTING)
      continue;
    const { line, col } = lines.linePos(parser.offset);
    return { line: Math.max(1, line), column: Math.max(1, col), message: TOO_DEEP };
  }
  return undefined;
}

function isCollection({ type }: CST.Token): boolean {
  return type === "block-map" || type === "block-seq" || type === "flow-collection";
}

/** Stops at the limit, so that its own recursion is bounded; aliases bound what there is to walk. */
function nestsDeeperThan(value: unknown, limit: number): boolean {
  if (typeof value !== "object" || value === null) return false;
  return limit === 0 || Object.values(value).some((inner) => nestsDeeperThan(inner, limit - 1));
}

/** Where keys stand that are lists or mappings: the library would make text of them and warn on stderr. */
function collectionKeysOf(document: Document): readonly number[] {
  const offsets: number[] = [];
  visit(document, {
    Pair(_, { key }) {
      const node = resolved(document, key);
      if (isMap(node) || isSeq(node)) offsets.push(startOf(key) ?? 0);
    },
  });
  return offsets;
}

function offsetOf(document: Document, path: ConfigPath): number {
  let node: unknown = document.contents;
  let offset = startOf(node) ?? 0;
  for (const step of path) {
    node = childOf(document, node, step);
    const start = startOf(node);
    if (start === undefined) break;
    offset = start;
  }
  return offset;
}

function keyOffsetOf(document: Document, path: ConfigPath): number {
  let node: unknown = document.contents;
  for (const step of path.slice(0, -1)) node = childOf(document, node, step);
  const parent = resolved(document, node);
  const name = path.at(-1);
  if (isMap(parent)) {
    for (const { key } of parent.items) {
      const start = startOf(key);
      if (isScalar(key) && String(key.value) === String(name) && start !== undefined) return start;
    }
  }
  return offsetOf(document, path);
}

function childOf(document: Document, node: unknown, step: string | number): unknown {
  const parent = resolved(document, node);
  if (isMap(parent) || isSeq(parent)) return parent.get(step, true);
  return undefined;
}

function resolved(document: Document, node: unknown): unknown {
  return isAlias(node) ? node.resolve(document) : node;
}

function startOf(node: unknown): number | undefined {
  return isNode(node) ? node.range?.[0] : undefined;
}

function firstLine(message: string): string {
  return message.split("\n")[0] ?? message;
}
