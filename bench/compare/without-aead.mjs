/**
 * Makes of a checkout one whose AEAD is a copy, and builds it: what a tunnel would carry if ciphers cost nothing (G-3).
 *
 *   git worktree add --detach ../free COMMIT && (cd ../free && npm ci)
 *   node bench/compare/without-aead.mjs ../free
 *   npm run bench -- compare --against ../free --cells tunnel
 *
 * Its two ends speak only with each other, and nothing that they carry is secret or verified: for measuring alone. It
 * changes the checkout's files, and refuses one that is not clean or is this one.
 */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { ROOT } from "../../scripts/steps.mjs";
import { ASKED } from "../lib/limits.mjs";

const BUILD_MS_MAX = 900_000;
const CRYPTO = join("assembly", "crypto", "index.ts");
const SELF_TEST = join("bindings", "cipher", "self-test.ts");
/** What the functions of the AEAD do instead; what makes keys or blocks in advance is not called. */
const BODIES = {
  seal: "memory.copy(dst, src, len);",
  flush: "",
  open: "memory.copy(dst, src, len);\n  return 1;",
};
const CONSTANTS = /^(export const (?:LANES|SHORT_BYTES|SEAL_SHORT_BYTES): i32 = )[^;]+;/gm;

function main([folder]) {
  const root = folder === undefined ? undefined : resolve(folder);
  if (root === undefined || root === ROOT || !isClean(root)) {
    console.error("without-aead: wants the folder of another checkout, without changes");
    return 2;
  }
  let crypto = readFileSync(join(root, CRYPTO), "utf8").replace(CONSTANTS, "$10;");
  for (const [name, body] of Object.entries(BODIES)) crypto = withBody(crypto, name, body);
  writeFileSync(join(root, CRYPTO), crypto);
  const test = readFileSync(join(root, SELF_TEST), "utf8");
  writeFileSync(join(root, SELF_TEST), withBody(test, "findFault", "return undefined;"));
  const command = [process.execPath, ["scripts/build.mjs"]];
  return spawnSync(...command, { cwd: root, stdio: "inherit", timeout: BUILD_MS_MAX }).status ?? 1;
}

function isClean(root) {
  const said = spawnSync("git", ["status", "--porcelain"], { ...ASKED, cwd: root, encoding: "utf8" });
  return said.status === 0 && said.stdout === "";
}

/** The text with another body of an exported function. */
function withBody(text, name, body) {
  const found = new RegExp(`^(export function ${name}\\([^{]*\\{)\\n[\\s\\S]*?^\\}`, "m");
  if (!found.test(text)) throw new Error(`there is no exported function '${name}'`);
  return text.replace(found, (_, head) => `${head}\n  ${body}\n}`);
}

process.exitCode = main(process.argv.slice(2));
