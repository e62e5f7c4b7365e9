/**
 * Format and lint of the packet plane, which Biome cannot read as it stands: AssemblyScript puts
 * decorators before functions. A copy in which they are comments is judged instead.
 *
 *   node scripts/assembly-style.mjs [--write]
 *
 * --write formats, sorts imports and mends what Biome can mend safely.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { BIN, filesBelow, ROOT, run } from "./steps.mjs";

/** The rules of Biome that AssemblyScript contradicts. */
const RULES_OFF = {
  suspicious: {
    // `===` compares identities in AssemblyScript, and its compiler warns of it.
    noDoubleEquals: "off",
    // An editor's TypeScript reports the decorators; `@ts-expect-error` would report their absence.
    noTsIgnore: "off",
  },
  correctness: {
    // The compiler wants a `return` behind an endless loop too.
    noUnreachable: "off",
  },
};

/** Hand-written files of the plane; what generators make is as they make it. */
export function planeFiles() {
  return filesBelow("assembly", ".ts").filter(
    (path) => path !== "assembly/layout.ts" && !path.startsWith("assembly/crypto/aead-"),
  );
}

/** The text with its decorators as comments, and back; lines keep their numbers. */
function withoutDecorators(text) {
  return text.replace(/^@(?=\w)/gm, "//@");
}

function withDecorators(text) {
  return text.replace(/^\/\/@(?=\w)/gm, "@");
}

/**
 * Makes a copy of the plane's files that TypeScript's tools can read.
 * @param work gets the folder; the copy is gone when it has ended
 */
export async function inReadableCopy(work) {
  const folder = mkdtempSync(join(tmpdir(), "postern-assembly-"));
  try {
    for (const path of planeFiles()) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), withoutDecorators(readFileSync(join(ROOT, path), "utf8")));
    }
    return await work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function configuration() {
  const { formatter, javascript, linter } = JSON.parse(readFileSync(join(ROOT, "biome.json"), "utf8"));
  const rules = { ...linter.rules };
  for (const [group, off] of Object.entries(RULES_OFF)) rules[group] = { ...rules[group], ...off };
  return {
    root: true,
    files: { includes: ["assembly/**"] },
    formatter,
    javascript,
    linter: { rules },
  };
}

/**
 * Checks format and lint of `assembly/`.
 * @returns `{ status, output }`
 */
export function checkAssembly({ isWrite = false } = {}) {
  return inReadableCopy(async (folder) => {
    writeFileSync(join(folder, "biome.json"), JSON.stringify(configuration()));
    const options = ["--error-on-warnings", "--colors=off", `--config-path=${folder}`];
    const result = await run(join(BIN, "biome"), [
      "check",
      ...options,
      ...(isWrite ? ["--write"] : []),
      join(folder, "assembly"),
    ]);
    if (isWrite) {
      for (const path of planeFiles()) {
        const text = withDecorators(readFileSync(join(folder, path), "utf8"));
        if (text !== readFileSync(join(ROOT, path), "utf8")) writeFileSync(join(ROOT, path), text);
      }
    }
    return { ...result, output: result.output.replaceAll(`${folder}/`, "") };
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { status, output } = await checkAssembly({ isWrite: process.argv.includes("--write") });
  if (status !== 0) process.stderr.write(output);
  process.exitCode = status;
}
