/** Cookies with wireguard-go: each end is flooded in turn, and calls get through all the same (WG §12). */
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Child, Namespace } from "../../src/program/lab/index.ts";
import { describeWith } from "../lib/requirements.ts";
import { isReachable, openPair, PORT, until, type WgPair } from "./wireguard-pair.ts";

const NEEDS = ["root", "netns", "tun", "ipv6", "wireguard-go", "wg", "build"] as const;
const FLOOD = join(import.meta.dirname, "flood.mjs");
/** One retransmission after REKEY_TIMEOUT, and three more for a busy machine. */
const CALL_WITHIN_MS = 25_000;
const FLOOD_SECONDS = 40;
/** Ten times what we serve without cookies; wireguard-go calls it load only when its queue is filled. */
const FLOOD_ON_US = 1_000;
const FLOOD_ON_THEM = 5_000;
const OUTPUT = { withinMs: 10_000, stream: "stdout" } as const;

async function flood(from: Namespace, address: string, publicKey: string, rate: number): Promise<Child> {
  const child = from.start({
    name: "flood",
    command: process.execPath,
    args: [FLOOD, address, String(PORT), publicKey, String(rate), String(FLOOD_SECONDS)],
  });
  await child.waitForLine(/^flooding$/, OUTPUT);
  return child;
}

describeWith(NEEDS, "under load", () => {
  let pair: WgPair;
  beforeAll(async () => {
    // Where a peer's path leads nobody asks for a cookie (PG-160): it calls from an address that we do not know.
    pair = await openPair({ weKnowThem: false });
  });
  afterAll(() => pair?.close());

  it("WG-31 to WG-33: flooded, we ask wireguard-go for a cookie, and its next call gets through", async () => {
    const { theirs, ours, ourKey, postern, wireguardGo } = pair;
    const flooding = await flood(theirs, "fd09::1", ourKey.publicKey, FLOOD_ON_US);
    await until(
      async () => (await snapshotOf(postern)).counters.ingress.drops["wg_cookie_asked"] !== undefined,
      5_000,
    );
    // A call just when the load is over is served without one: the next comes from a port that we do not know.
    let port = PORT;
    await until(async () => {
      await theirs.run("wg", ["set", "wg0", "listen-port", String(++port)]);
      await callAnew(theirs, ourKey.publicKey, `10.9.0.1:${PORT}`, "10.7.0.1/32");
      await until(() => isReachable(theirs, "10.7.0.1"), CALL_WITHIN_MS);
      return wireguardGo.stdout().includes("Receiving cookie response");
    }, FLOOD_SECONDS * 1000);
    expect((await snapshotOf(postern)).drops["wg_unknown_peer"]).toBeGreaterThan(10);
    flooding.signal("SIGINT");
    const [, asked = "0"] = await flooding.waitForLine(/^done \d+ cookies (\d+)$/, OUTPUT);
    expect(Number(asked)).toBeGreaterThan(100);
    expect(await isReachable(ours, "10.7.0.2")).toBe(true);
    await theirs.run("wg", ["set", "wg0", "listen-port", String(PORT)]);
  }, 90_000);

  it("WG-30: flooded, wireguard-go asks us for a cookie, and our next call gets through", async () => {
    const { theirs, ours, theirKey, postern } = pair;
    const flooding = await flood(ours, "fd09::2", theirKey.publicKey, FLOOD_ON_THEM);
    await until(async () => {
      await callAnew(ours, theirKey.publicKey, `10.9.0.2:${PORT}`, "10.7.0.2/32");
      await until(() => isReachable(ours, "10.7.0.2"), CALL_WITHIN_MS);
      return postern.stderr().includes("cookie received");
    }, FLOOD_SECONDS * 1000);
    await flooding.stop();
    expect(await isReachable(theirs, "10.7.0.1")).toBe(true);
  }, 90_000);
});

/** Forgets the peer and adds it again, so that the next packet needs a handshake. */
async function callAnew(from: Namespace, peer: string, endpoint: string, allowed: string): Promise<void> {
  await from.run("wg", ["set", "wg0", "peer", peer, "remove"]);
  await from.run("wg", ["set", "wg0", "peer", peer, "endpoint", endpoint, "allowed-ips", allowed]);
}

interface Snapshot {
  readonly drops: Readonly<Record<string, number>>;
  readonly counters: { readonly ingress: { readonly drops: Readonly<Record<string, number>> } };
}

/** The JSON line of SIGUSR2 (PG-143); each is told from those before by its place in the output. */
async function snapshotOf(postern: Child): Promise<Snapshot> {
  const count = (): number => postern.stdout().split("\n{").length;
  const before = count();
  postern.signal("SIGUSR2");
  await until(async () => count() > before && postern.stdout().endsWith("\n"), 5_000);
  return JSON.parse(postern.stdout().trim().split("\n").at(-1) ?? "{}");
}
