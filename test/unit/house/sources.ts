/** The hand-written and generated sources of the repository, and what they import. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";

export const ROOT = join(import.meta.dirname, "../../..");

export interface Import {
  /** A path from the root, or the name of a package or `node:` module. */
  readonly target: string;
  readonly isType: boolean;
  readonly isOurs: boolean;
}

export interface Source {
  /** From the root, with `/`. */
  readonly path: string;
  readonly text: string;
  readonly imports: readonly Import[];
}

export function sourcesBelow(folder: string): readonly Source[] {
  return filesBelow(folder)
    .filter((path) => path.endsWith(".ts") && !path.endsWith(".d.ts"))
    .map((path) => {
      const text = readFileSync(join(ROOT, path), "utf8");
      return { path, text, imports: importsOf(path, text) };
    });
}

export function filesBelow(folder: string): string[] {
  if (!existsSync(join(ROOT, folder))) return [];
  return readdirSync(join(ROOT, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)))
    .sort();
}

/** Static, re-exporting, side-effect and dynamic imports, and modules named by `new URL`. */
const FORMS = [
  /^(?:import|export)\s(?<type>type\s)?[^"';]*?\sfrom\s+"(?<target>[^"]+)"/gm,
  /^import\s+"(?<target>[^"]+)"/gm,
  /\bimport\(\s*"(?<target>[^"]+)"\s*\)/g,
];

export function importsOf(path: string, text: string): readonly Import[] {
  return FORMS.flatMap((form) =>
    [...text.matchAll(form)].map((match) => {
      const target = match.groups?.["target"] ?? "";
      const isOurs = target.startsWith(".");
      return {
        target: isOurs ? resolve(path, target) : target,
        isType: match.groups?.["type"] !== undefined,
        isOurs,
      };
    }),
  );
}

/** AssemblyScript leaves the extension out, and may name a folder. */
function resolve(from: string, target: string): string {
  const path = normalize(join(dirname(from), target));
  if (/\.(ts|json|js|mjs)$/.test(path)) return path;
  return existsSync(join(ROOT, `${path}.ts`)) ? `${path}.ts` : `${path}/index.ts`;
}

/** The text without comments and the contents of strings: what the machine executes. */
export function codeOf(text: string): string {
  const token = /\/\*[\s\S]*?\*\/|\/\/[^\n]*|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'/g;
  return text.replace(token, (piece) => (piece.startsWith("/") ? " " : '""'));
}

/** A circle in a graph, as the nodes along it; `undefined` when there is none. */
export function findCircle(edges: ReadonlyMap<string, Iterable<string>>): readonly string[] | undefined {
  const finished = new Set<string>();
  const visit = (node: string, path: readonly string[]): readonly string[] | undefined => {
    const at = path.indexOf(node);
    if (at >= 0) return [...path.slice(at), node];
    if (finished.has(node)) return undefined;
    for (const next of edges.get(node) ?? []) {
      const circle = visit(next, [...path, node]);
      if (circle !== undefined) return circle;
    }
    finished.add(node);
    return undefined;
  };
  for (const node of edges.keys()) {
    const circle = visit(node, []);
    if (circle !== undefined) return circle;
  }
  return undefined;
}
