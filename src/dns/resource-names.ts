/** The list of DNS resources: whose name is this? (DN-27 to DN-34) */
import type { Log } from "../base/index.ts";
import type { Name } from "./name.ts";
import { domainOf } from "./name.ts";
import { comparePatterns, matches, type Pattern, parsePattern } from "./pattern.ts";
import type { IpStack, ResourcePattern } from "./resolver-face.ts";

export interface NamedResource {
  readonly rid: string;
  readonly ipStack: IpStack;
  readonly pattern: Pattern;
}

export interface ResourceNames {
  /** Patterns that mean one name. A literal pattern comes before any wildcard that matches it, too (DN-31). */
  readonly literals: ReadonlyMap<string, NamedResource>;
  /** In order of precedence. */
  readonly wildcards: readonly NamedResource[];
}

export function listResourceNames(patterns: readonly ResourcePattern[], log: Log): ResourceNames {
  const valid = patterns.flatMap(({ rid, pattern: text, ipStack }): NamedResource[] => {
    const pattern = parsePattern(text);
    if (pattern === undefined) log.warn?.("resource stays inactive: its name pattern is invalid", { rid });
    return pattern === undefined ? [] : [{ rid, ipStack, pattern }];
  });
  valid.sort(comparePatterns);
  const isLiteral = ({ pattern }: NamedResource): boolean =>
    pattern.labels.every(({ kind }) => kind === "literal");
  const literals = new Map<string, NamedResource>();
  for (const resource of valid.filter(isLiteral)) {
    // Of equal patterns the first wins.
    if (!literals.has(resource.pattern.text)) literals.set(resource.pattern.text, resource);
  }
  return { literals, wildcards: valid.filter((resource) => !isLiteral(resource)) };
}

export function findNamedResource(names: ResourceNames, name: Name): NamedResource | undefined {
  if (names.literals.size > 0) {
    const literal = names.literals.get(domainOf(name));
    if (literal !== undefined) return literal;
  }
  return names.wildcards.find(({ pattern }) => matches(pattern, name));
}

/** Under which ends of names resources lie, each once. */
export function suffixesOf({ literals, wildcards }: ResourceNames): readonly string[] {
  const suffixes = [...literals.values(), ...wildcards].map(({ pattern }) => pattern.suffix);
  return [...new Set(suffixes)].filter((suffix) => suffix !== "").sort();
}
