/** Cookies with wireguard-go: each end is flooded in turn, and calls get through all the same (WG §12). */
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Child, Namespace } from "../../src/program/lab/index.ts";
import { describeWith } from "../lib/requirements.ts";
import { isReachable, openPair, PORT, until, type WgPair } from "./wireguard-pair.ts";

const NEEDS = ["root", "netns", "tun", "ipv6", "wireguard-go", "wg", "build"] as const;
const FLOOD = join(import.meta.dirname, "flood.mjs");
/** One retransmission after REKEY_TIMEOUT, and room for a busy machine. */
const CALL_WITHIN_MS = 12_000;
const FLOOD_SECONDS = 14;

async function flood(from: Namespace, address: string, publicKey: string, rate: number): Promise<Child> {
  const child = from.start({
    name: "flood",
    command: process.execPath,
    args: [FLOOD, address, String(PORT), publicKey, String(rate), String(FLOOD_SECONDS)],
  });
  await child.waitForLine(/^flooding$/, { withinMs: 10_000, stream: "stdout" });
  return child;
}

describeWith(NEEDS, "under load", () => {
  let pair: WgPair;
  beforeAll(async () => {
    pair = await openPair();
  });
  afterAll(() => pair?.close());

  it("WG-31 to WG-33: flooded, we ask wireguard-go for a cookie, and its next call gets through", async () => {
    const { theirs, ours, ourKey, postern, wireguardGo } = pair;
    const flooding = await flood(theirs, "fd09::1", ourKey.publicKey, 1_000);
    await theirs.run("wg", ["set", "wg0", "peer", ourKey.publicKey, "endpoint", `10.9.0.1:${PORT}`]);
    await until(() => isReachable(theirs, "10.7.0.1"), CALL_WITHIN_MS);
    await wireguardGo.waitForLine(/Receiving cookie response/, { withinMs: 1_000, stream: "stdout" });
    const [, asked = "0"] = await flooding.waitForLine(/^done \d+ cookies (\d+)$/, {
      withinMs: 20_000,
      stream: "stdout",
    });
    // 100 of each second's messages are served; the others are asked for a cookie.
    expect(Number(asked)).toBeGreaterThan(100);
    const snapshot = await snapshotOf(postern);
    expect(snapshot.drops["wg_unknown_peer"]).toBeGreaterThan(100);
    expect(await isReachable(ours, "10.7.0.2")).toBe(true);
  }, 40_000);

  it("WG-30: flooded, wireguard-go asks us for a cookie, and our next call gets through", async () => {
    const { theirs, ours, theirKey, postern } = pair;
    const flooding = await flood(ours, "fd09::2", theirKey.publicKey, 20_000);
    const before = (await snapshotOf(postern)).peers[0]?.lastHandshakeUnixMs ?? 0;
    await ours.run("wg", ["set", "wg0", "peer", theirKey.publicKey, "remove"]);
    const settings = ["endpoint", `10.9.0.2:${PORT}`, "allowed-ips", "10.7.0.2/32"];
    await ours.run("wg", ["set", "wg0", "peer", theirKey.publicKey, ...settings]);
    await until(() => isReachable(ours, "10.7.0.2"), CALL_WITHIN_MS);
    const after = (await snapshotOf(postern)).peers[0]?.lastHandshakeUnixMs ?? 0;
    expect(after).toBeGreaterThan(before);
    await flooding.stop();
    expect(await isReachable(theirs, "10.7.0.1")).toBe(true);
  }, 40_000);
});

interface Snapshot {
  readonly drops: Readonly<Record<string, number>>;
  readonly peers: readonly { readonly lastHandshakeUnixMs?: number }[];
}

/** The JSON line of SIGUSR2 (PG-143); each is told from those before by its place in the output. */
async function snapshotOf(postern: Child): Promise<Snapshot & { drops: Record<string, number> }> {
  const count = (): number => postern.stdout().split("\n{").length;
  const before = count();
  postern.signal("SIGUSR2");
  await until(async () => count() > before && postern.stdout().endsWith("\n"), 5_000);
  return JSON.parse(postern.stdout().trim().split("\n").at(-1) ?? "{}");
}
