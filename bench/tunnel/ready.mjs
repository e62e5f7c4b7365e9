/** How long `postern wg` takes from its start to `ready` (G-15). */
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createLab } from "../../build/src/program/lab/index.js";
import { cellOf } from "../lib/result.mjs";

export async function measureReady({ runtime, main, times }) {
  const samples = [];
  const lab = createLab();
  try {
    const end = await lab.add("ready");
    const privateKey = (await end.run("wg", ["genkey"])).trim();
    const file = join(end.runFolder, "wg0.conf");
    writeFileSync(file, `[Interface]\nPrivateKey = ${privateKey}\nAddress = 10.7.0.1/24\n`);
    chmodSync(file, 0o600);
    for (let pair = 0; pair < times; pair++) {
      const started = performance.now();
      const child = end.start({
        name: "postern wg",
        command: runtime.path,
        args: [main, "wg", "/run/wg0.conf"],
      });
      await child.waitForLine(/^ready$/, { withinMs: 20_000, stream: "stdout" });
      samples.push({ arm: "postern", pair, value: performance.now() - started, valid: true });
      await child.stop();
    }
  } finally {
    await lab.close();
  }
  return cellOf({ name: "ready", params: {}, unit: "ms", samples, arms: ["postern"] });
}
