/**
 * What takes minutes (WG §12 item 9): new keys after 120 s under traffic, whoever called first, and a
 * session that is gone after 180 s of silence. About six minutes; `npm run test:long`.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Namespace } from "../../src/program/lab/index.ts";
import { describeWith } from "../lib/requirements.ts";
import { openPair, PORT, ping, showPeers, until, type WgPair } from "./wireguard-pair.ts";

const NEEDS = ["root", "netns", "tun", "ipv6", "wireguard-go", "wg", "build"] as const;
const REKEY_MS = 120_000;
const LAST_MINUTE_MS = 165_000;
const REJECT_MS = 180_000;
/** Traffic goes on beyond the second renewal. */
const TRAFFIC_SECONDS = 260;
const CASE_MS = 500_000;

/** Pings every 200 ms for the whole time; returns what ping says at the end. */
function traffic(from: Namespace, address: string): Promise<string> {
  const args = ["-q", "-i", "0.2", "-w", String(TRAFFIC_SECONDS), address];
  return from.run("ping", args, { withinMs: (TRAFFIC_SECONDS + 20) * 1000 });
}

async function lastHandshake(namespace: Namespace, peer: string): Promise<number> {
  return 1000 * Number((await showPeers(namespace, "latest-handshakes")).get(peer));
}

describeWith(NEEDS, "sessions over minutes", () => {
  let calling: WgPair;
  let called: WgPair;
  let idle: WgPair;
  beforeAll(async () => {
    calling = await openPair();
    called = await openPair({ weKnowThem: false, label: "2" });
    idle = await openPair({ label: "3" });
    const { theirs, ourKey } = called;
    await theirs.run("wg", ["set", "wg0", "peer", ourKey.publicKey, "endpoint", `10.9.0.1:${PORT}`]);
  });
  afterAll(async () => {
    await calling?.close();
    await called?.close();
    await idle?.close();
  });

  it.concurrent(
    "WG-15, T7: as caller we renew at 120 s, and no packet is lost",
    async () => {
      const { ours, theirKey } = calling;
      await ping(ours, "10.7.0.2");
      const first = await lastHandshake(ours, theirKey.publicKey);
      const pings = traffic(ours, "10.7.0.2");
      const renewals: number[] = [];
      for (let last = first; renewals.length < 2; ) {
        await until(async () => (await lastHandshake(ours, theirKey.publicKey)) > last, REKEY_MS + 20_000);
        const next = await lastHandshake(ours, theirKey.publicKey);
        renewals.push(next - last);
        last = next;
      }
      for (const gap of renewals) {
        expect(gap).toBeGreaterThanOrEqual(REKEY_MS - 1_000);
        expect(gap).toBeLessThanOrEqual(REKEY_MS + 5_000);
      }
      expect(await pings).toMatch(/ 0% packet loss/);
    },
    CASE_MS,
  );

  it.concurrent(
    "WG-15, WG-16: called, we follow their renewal, and no packet is lost",
    async () => {
      const { theirs, ours, theirKey } = called;
      await ping(theirs, "10.7.0.1");
      const first = await lastHandshake(ours, theirKey.publicKey);
      expect(await traffic(theirs, "10.7.0.1")).toMatch(/ 0% packet loss/);
      const last = await lastHandshake(ours, theirKey.publicKey);
      expect(Math.round((last - first) / REKEY_MS)).toBe(2);
    },
    CASE_MS,
  );

  it.concurrent(
    "T7b, T1: a used session is renewed once at 165 s; the idle one after it is gone at 180 s",
    async () => {
      const { ours, theirKey } = idle;
      await ping(ours, "10.7.0.2");
      const first = await lastHandshake(ours, theirKey.publicKey);
      const isRenewed = async () => (await lastHandshake(ours, theirKey.publicKey)) > first;
      await until(isRenewed, LAST_MINUTE_MS + 10_000);
      const second = await lastHandshake(ours, theirKey.publicKey);
      expect(second - first).toBeGreaterThanOrEqual(LAST_MINUTE_MS - 1_000);
      expect(second - first).toBeLessThanOrEqual(LAST_MINUTE_MS + 3_000);

      const silentUntil = second + REJECT_MS + 3_000;
      await until(async () => Date.now() >= silentUntil, REJECT_MS + 10_000);
      expect(await lastHandshake(ours, theirKey.publicKey)).toBe(second);
      await ping(ours, "10.7.0.2");
      expect(await lastHandshake(ours, theirKey.publicKey)).toBeGreaterThan(second);
    },
    CASE_MS,
  );
});
