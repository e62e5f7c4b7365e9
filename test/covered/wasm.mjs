/**
 * The plane's modules with counters and the names of their functions (TS-37, TS-41): tests compile what lies in `build/`,
 * `collect.ts` gives them these instead.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import asc from "assemblyscript/asc";
import { ROOT } from "../../scripts/steps.mjs";
import { withCounters } from "../fuzz/loop/count-wasm.mjs";
import { hashOf, MODULES } from "./modules.mjs";

/** The modules that tests of one room or the whole plane use, each with what it is compiled from. */
function modules() {
  const packet = readdirSync(join(ROOT, "build", "test")).filter((name) => name.startsWith("packet-"));
  return [
    { built: "build/plane-turbofan.wasm", args: ["assembly/index.ts", "--target", "turbofan"] },
    { built: "build/relay.wasm", args: ["assembly/relay/index.ts", "--target", "relay"] },
    ...packet.map((name) => ({
      built: `build/test/${name}`,
      args: ["assembly/__tests__/exports/packet.ts"],
    })),
  ];
}

/** Makes what is missing. Files have the names of the hashes of what they stand for. */
export async function makeModules() {
  mkdirSync(MODULES, { recursive: true });
  for (const { built, args } of modules()) {
    const hash = hashOf(readFileSync(join(ROOT, built)));
    const path = join(MODULES, `${hash}.wasm`);
    if (existsSync(path)) continue;
    const named = join(".cache", "covered-wasm", `${hash}.named.wasm`);
    const options = ["--debug", "--outFile", named, "--baseDir", ROOT];
    const { error, stderr } = await asc.main([...args, ...options]);
    if (error) throw new Error(`${error.message}\n${stderr.toString()}`);
    // The ciphers are generated, compared with their twin in full, and would be counted in every round.
    const isCipher = (name) => name.startsWith("assembly/crypto/aead");
    const { bytes, functions } = withCounters(readFileSync(join(ROOT, named)), isCipher);
    writeFileSync(join(MODULES, `${hash}.json`), JSON.stringify(functions));
    writeFileSync(path, bytes);
  }
}
