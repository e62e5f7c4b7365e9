/**
 * Counters in TypeScript (TS-41): each function, branch and alternative counts in `__blocks[n]`.
 *
 * The bundler's own parser and one pass over the tree are enough: istanbul's counters are objects by file,
 * which a loop of thousands of runs per second would have to walk through after each, and it brings Babel.
 * An `if` without `else` gets one, and the right side of `&&`, `||` and `??` counts, so that a guard of many
 * comparisons is found one after another.
 */
import { parseAst } from "rolldown/parseAst";

/**
 * @param code TypeScript
 * @param first the number of the first counter
 * @returns the code with counters, and where each stands: `[offset in the original]`
 */
export function instrument(code, first) {
  const places = [];
  /** By offset; what is nearer to the code in the middle stands last of `before`, first of `behind`. */
  const before = new Map();
  const behind = new Map();
  const next = (node) => {
    places.push(node.start);
    return `__blocks[${first + places.length - 1}]++`;
  };
  const insertBefore = (at, text) => before.set(at, (before.get(at) ?? "") + text);
  const insertBehind = (at, text) => behind.set(at, text + (behind.get(at) ?? ""));

  function asExpression(node) {
    insertBefore(node.start, `(${next(node)}, `);
    insertBehind(node.end, ")");
  }

  /** @param rest what follows the statement, outside of it */
  function asStatement(node, rest = "") {
    if (node.type === "BlockStatement") {
      insertBefore(node.start + 1, `${next(node)};`);
      insertBehind(node.end, rest);
    } else {
      insertBefore(node.start, `{${next(node)};`);
      insertBehind(node.end, `}${rest}`);
    }
  }

  const visitors = {
    FunctionDeclaration: ({ body }) => body && asStatement(body),
    FunctionExpression: ({ body }) => body && asStatement(body),
    ArrowFunctionExpression: ({ body }) =>
      body.type === "BlockStatement" ? asStatement(body) : asExpression(body),
    IfStatement(node) {
      const { consequent, alternate } = node;
      asStatement(consequent, alternate ? "" : ` else {${next(node)};}`);
      if (alternate) asStatement(alternate);
    },
    ForStatement: ({ body }) => asStatement(body),
    ForOfStatement: ({ body }) => asStatement(body),
    ForInStatement: ({ body }) => asStatement(body),
    WhileStatement: ({ body }) => asStatement(body),
    DoWhileStatement: ({ body }) => asStatement(body),
    CatchClause: ({ body }) => asStatement(body),
    SwitchCase(node) {
      const [statement] = node.consequent;
      if (statement) insertBefore(statement.start, `${next(node)};`);
      else insertBehind(node.end, `${next(node)};`);
    },
    ConditionalExpression({ consequent, alternate }) {
      asExpression(consequent);
      asExpression(alternate);
    },
    LogicalExpression: ({ right }) => asExpression(right),
  };

  visit(parseAst(code, { lang: "ts" }), (node) => visitors[node.type]?.(node));
  return { code: insert(code, before, behind), places };
}

function visit(node, enter) {
  if (node.type.startsWith("TS") && !EXPRESSIONS_OF_TYPESCRIPT.has(node.type)) return;
  enter(node);
  for (const value of Object.values(node)) {
    for (const child of Array.isArray(value) ? value : [value]) {
      if (typeof child?.type === "string") visit(child, enter);
    }
  }
}

/** Those of TypeScript's nodes that hold code; all others are types. */
const EXPRESSIONS_OF_TYPESCRIPT = new Set([
  "TSAsExpression",
  "TSSatisfiesExpression",
  "TSNonNullExpression",
  "TSTypeAssertion",
]);

function insert(code, before, behind) {
  const offsets = [...new Set([...before.keys(), ...behind.keys()])].sort((a, b) => a - b);
  let from = 0;
  let text = "";
  for (const at of offsets) {
    text += code.slice(from, at) + (behind.get(at) ?? "") + (before.get(at) ?? "");
    from = at;
  }
  return text + code.slice(from);
}
