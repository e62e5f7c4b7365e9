/**
 * What a flood of initiations leaves of existing traffic (G-12, TS-57).
 *
 * ```
 *   near ── veth ── far ── veth ── stranger          a TCP stream near → far through the tunnel
 * ```
 *
 * The same flood goes to a closed port of the far end first: what the stream loses by that is the price of
 * sending and receiving 50,000 datagrams a second on this machine, and not the tunnel's doing.
 */
import { join } from "node:path";
import { ROOT } from "../../scripts/steps.mjs";
import { tcp } from "../tunnel/loads.mjs";

const FLOOD = join(ROOT, "bench", "handshake", "flood.mjs");
const PORT = 5555;
const CLOSED_PORT = 9;
const WITHIN_MS = 30_000;
/** The flood begins before the stream and outlasts it. */
const MARGIN_S = 3;

/** Adds a stranger behind the far end of an arm, and a way back for what the far end answers. */
export async function addStranger(lab, arm) {
  const stranger = await lab.add(`${arm.name.slice(0, 4)}-stranger`);
  await lab.connect(
    { namespace: stranger, device: "wan", addresses: ["10.11.0.1/24"] },
    { namespace: arm.far, device: "side", addresses: ["10.11.0.2/24"] },
  );
  await arm.far.ip("route add 198.18.0.0/15 via 10.11.0.1");
  // Answers to addresses that nobody has: nothing to be said about them.
  await stranger.ip("route add blackhole 198.18.0.0/15");
  return stranger;
}

/** One run: the stream alone, beside a flood of a closed port, and beside a flood of the tunnel's port. */
export async function measureFlooded(arm, stranger, { rate, seconds }) {
  const publicKey = (await arm.far.run("wg", ["show", "wg0", "public-key"])).trim();
  const alone = await tcp(arm, { direction: "up", seconds });
  const beside = await besideFlood(arm, stranger, { port: CLOSED_PORT, publicKey, rate, seconds });
  const under = await besideFlood(arm, stranger, { port: PORT, publicKey, rate, seconds });
  const isValid = under.flood.sent > 0.9 * rate * (seconds + MARGIN_S);
  return {
    value: under.stream.value / beside.stream.value,
    gbps_alone: alone.value,
    gbps_beside_flood: beside.stream.value,
    gbps_under_flood: under.stream.value,
    share_of_alone: under.stream.value / alone.value,
    initiations_per_s: under.flood.sent / (under.flood.elapsedMs / 1000),
    cookies_per_s: under.flood.cookies / (under.flood.elapsedMs / 1000),
    valid: isValid,
    ...(isValid ? {} : { reason: `only ${under.flood.sent} initiations were sent` }),
  };
}

async function besideFlood(arm, stranger, { port, publicKey, rate, seconds }) {
  const args = [FLOOD, "10.11.0.2", port, publicKey, rate, seconds + MARGIN_S].map(String);
  const flood = stranger.start({ name: "flood", command: process.execPath, args });
  await flood.waitForLine(/^ready$/, { withinMs: WITHIN_MS, stream: "stdout" });
  const stream = await tcp(arm, { direction: "up", seconds });
  const [line] = await flood.waitForLine(/^\{.*\}$/, { withinMs: WITHIN_MS, stream: "stdout" });
  return { stream, flood: JSON.parse(line) };
}
