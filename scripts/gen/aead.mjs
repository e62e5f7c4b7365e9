/**
 * Writes the AEAD's variants and their tables, assembly/crypto/aead-*.ts.
 *
 *   node scripts/gen/aead.mjs [--check]
 *
 * With --check nothing is written; the exit status is 1 if a file is not what it would become.
 *
 * The parts, in the order in which to read them: aead/variants.mjs (which routines there are),
 * chacha-vertical.mjs and chacha-horizontal.mjs (arrangements of ChaCha20), first-round.mjs, rotation.mjs, poly1305.mjs,
 * fused.mjs, routine.mjs and wide.mjs (how the two run under each other), module.mjs (the file around them).
 */
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { aeadModule, tablesModule } from "./aead/module.mjs";
import { VARIANTS } from "./aead/variants.mjs";

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const COMMAND = "node scripts/gen/aead.mjs";

/** The generated files: `{ path, text }` with paths relative to the root. */
export function aeadFiles() {
  const variants = Object.keys(VARIANTS).map((name) => ({
    path: `assembly/crypto/aead-${name}.ts`,
    text: aeadModule(name, COMMAND),
  }));
  return [...variants, { path: "assembly/crypto/aead-tables.ts", text: tablesModule(COMMAND) }];
}

function main(isCheck) {
  let status = 0;
  for (const { path, text } of aeadFiles()) {
    if (!isCheck) {
      writeFileSync(join(ROOT, path), text);
    } else if (readFileSync(join(ROOT, path), "utf8") !== text) {
      process.stderr.write(`${path} is stale: run ${COMMAND}\n`);
      status = 1;
    }
  }
  return status;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.exitCode = main(process.argv.includes("--check"));
}
