/** How long a start takes: `postern wg` to `ready`, a client to the first answer of a resource (G-15). */
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createLab } from "../../build/src/program/lab/index.js";
import { cellOf } from "../lib/result.mjs";
import { openClientGateway } from "./arms.mjs";

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
        args: [...runtime.words, main, "wg", "/run/wg0.conf"],
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

/** Asks until somebody answers; before the client has its interface there is no route. */
const ASK =
  "for i in $(seq 500); do ping -n -q -c 1 -W 1 $0 >/dev/null 2>&1 && exit 0; sleep 0.01; done; exit 1";

/** From the start of the client to the first answer: portal, access, ICE and handshake lie between. */
export async function measureFirstAnswer({ runtime, times }) {
  const samples = [];
  const lab = createLab();
  try {
    const arm = await openClientGateway(lab, { runtime });
    let [client] = arm.processes;
    for (let pair = 0; pair < times; pair++) {
      await client.stop();
      const started = performance.now();
      client = arm.startClient();
      await arm.near.run("sh", ["-c", ASK, arm.address], { withinMs: 20_000 });
      samples.push({ arm: "client-gateway", pair, value: performance.now() - started, valid: true });
    }
  } finally {
    await lab.close();
  }
  return cellOf({ name: "first-answer", params: {}, unit: "ms", samples, arms: ["client-gateway"] });
}
