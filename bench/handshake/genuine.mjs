/**
 * How long a genuine handshake takes while strangers flood the responder (PG-160, TS-57).
 *
 * ```
 *   stranger ── veth ── far ── veth ── caller        initiations of peers that far knows, one after the other
 * ```
 *
 * Each try comes from an address that the responder has not seen, and answers a cookie at once, as our initiator
 * does (WG-30). It is not repeated: WireGuard would after 5 s.
 */
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../../scripts/steps.mjs";

const CALLER = join(ROOT, "bench", "handshake", "caller.mjs");
const FLOOD = join(ROOT, "bench", "handshake", "flood.mjs");
const PORT = 5555;
const TRIES = 20;
/** A try and the pause behind it take up to 1.1 s. */
const FLOOD_S = 25;
const WITHIN_MS = 60_000;
/** What is wanted of nineteen in twenty, besides two round trips, which take nothing here. */
const WANTED_MS = 100;

/** Adds the caller's machine behind the far end of an arm, and its peers to the responder. */
export async function addCaller(lab, arm) {
  const caller = await lab.add(`${arm.name.slice(0, 4)}-caller`);
  await lab.connect(
    { namespace: caller, device: "wan", addresses: ["10.13.0.1/24"] },
    { namespace: arm.far, device: "call", addresses: ["10.13.0.2/24"] },
  );
  await caller.ip("route add local 10.10.0.0/16 dev lo");
  await arm.far.ip("route add 10.10.0.0/16 via 10.13.0.1");
  const keys = JSON.parse(await caller.run(process.execPath, [CALLER, "prepare", String(TRIES)]));
  const peers = keys.flatMap(({ publicKey }, i) => ["peer", publicKey, "allowed-ips", `10.8.0.${i}/32`]);
  await arm.far.run("wg", ["set", "wg0", ...peers]);
  const responder = (await arm.far.run("wg", ["show", "wg0", "public-key"])).trim();
  const plan = join(caller.runFolder, "plan.json");
  writeFileSync(plan, JSON.stringify({ responder, keys, rounds: 1 }));
  chmodSync(plan, 0o600);
  return { caller, responder };
}

/** One run: all tries beside a flood of initiations at `rate`; 0: none. `value`: the time of 19 in 20. */
export async function measureGenuine({ caller, responder }, stranger, rate) {
  const args = [FLOOD, "10.11.0.2", PORT, responder, rate, FLOOD_S].map(String);
  const flood = stranger.start({ name: "flood", command: process.execPath, args });
  await flood.waitForLine(/^ready$/, { withinMs: WITHIN_MS, stream: "stdout" });
  const line = await caller.run(
    process.execPath,
    [CALLER, "one-by-one", "/run/plan.json", "10.13.0.2", String(PORT)],
    {
      withinMs: WITHIN_MS,
    },
  );
  flood.signal("SIGTERM");
  const [report] = await flood.waitForLine(/^\{.*\}$/, { withinMs: WITHIN_MS, stream: "stdout" });
  const flooded = JSON.parse(report);
  const { times, cookies } = JSON.parse(line);
  const answered = times.filter((time) => time !== null).sort((a, b) => a - b);
  const inOrder = [...answered, ...Array(times.length - answered.length).fill(Number.POSITIVE_INFINITY)];
  return {
    value: Math.min(1000, inOrder[Math.ceil(times.length * 0.95) - 1]),
    median_ms: Math.min(1000, inOrder[times.length >> 1]),
    in_time: answered.filter((time) => time <= WANTED_MS).length,
    answered: answered.length,
    tries: times.length,
    cookies,
    initiations_per_s: flooded.sent / (flooded.elapsedMs / 1000),
    cookies_per_s: flooded.cookies / (flooded.elapsedMs / 1000),
    flood_s: flooded.elapsedMs / 1000,
    valid: true,
  };
}
