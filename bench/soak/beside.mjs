/** What a soak has beside the stream of TCP: two relays, small requests, DNS queries. */
import { join } from "node:path";
import { ROOT } from "../../scripts/steps.mjs";
import { MAIN } from "../tunnel/arms.mjs";

const SMALL = join(ROOT, "bench", "soak", "small.mjs");
const SERVERS = join(ROOT, "bench", "load", "servers.mjs");
const SENTINEL = "100.100.111.1";
const WITHIN_MS = 20_000;
const RELAYS = [
  { name: "relay 1", turnPort: "3478", lowest: "50000", highest: "50499" },
  { name: "relay 2", turnPort: "3479", lowest: "50500", highest: "50999" },
];

/** Two relays in the gateway's namespace, known to client and gateway by the portal. */
export async function openRelays({ far, apiUrl, relayToken }, runtime) {
  const relays = RELAYS.map(({ name, turnPort, lowest, highest }) => {
    const where = ["--public-ip4", "10.9.0.2", "--turn-port", turnPort];
    const ports = ["--lowest-port", lowest, "--highest-port", highest];
    const args = ["relay", "--api-url", apiUrl, ...where, ...ports, "--instance", name.replace(" ", "-")];
    return far.start({
      name,
      command: runtime.path,
      args: [...runtime.words, MAIN, ...args],
      env: { ...process.env, POSTERN_TOKEN: relayToken },
    });
  });
  for (const relay of relays) await relay.waitForLine(/\bready\b/i, { withinMs: WITHIN_MS });
  return relays;
}

/** Requests and queries begin; `seconds` are what they have counted so far. */
export async function openSmall({ near, far, address }) {
  const servers = far.start({ name: "servers", command: process.execPath, args: [SERVERS, address] });
  await servers.waitForLine(/^serving$/, { withinMs: WITHIN_MS });
  const small = near.start({ name: "small", command: process.execPath, args: [SMALL, address, SENTINEL] });
  await small.waitForLine(/^\{/, { withinMs: WITHIN_MS });
  let isStopped = false;
  return {
    // The first second has had no time to be answered.
    seconds: () =>
      small
        .stdout()
        .split("\n")
        .slice(1, -1)
        .map((line) => JSON.parse(line)),
    hasEndedByItself: () => !isStopped && !small.isRunning(),
    stop: () => {
      isStopped = true;
      return small.stop();
    },
    said: () => small.stderr(),
  };
}

const KINDS = ["http", "dns"];

/** In one line, for people: of the seconds of a slice. */
export function tellSmall(seconds) {
  const of = (kind) => {
    const ok = seconds.reduce((sum, one) => sum + one[kind].ok, 0);
    const failed = seconds.reduce((sum, one) => sum + one[kind].failed, 0);
    const slowest = Math.max(0, ...seconds.map((one) => one[kind].slowestMs));
    return `${kind} ${ok} answered, ${failed} not, the slowest ${slowest} ms`;
  };
  return KINDS.map(of).join("; ");
}

/** A second as a line of columns, for whoever follows the run. */
export function tellSecond({ at, http, dns }) {
  const column = (kind, { ok, failed, slowestMs }) =>
    `${kind} ${String(ok).padStart(3)} ok ${String(failed).padStart(3)} failed ${String(slowestMs).padStart(6)} ms`;
  return `${new Date(at).toISOString().slice(11, 19)}  ${column("http", http)}  ${column("dns", dns)}`;
}

/** Seconds in which nothing was answered, or something failed, and that no fault excuses. */
export function wrongSeconds(seconds, isExcused) {
  return KINDS.flatMap((kind) => {
    const bad = seconds.filter((one) => (one[kind].ok === 0 || one[kind].failed > 0) && !isExcused(one.at));
    return bad.length === 0 ? [] : [`${bad.length} seconds without an answer or with a failure: ${kind}`];
  });
}
