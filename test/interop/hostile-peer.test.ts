/**
 * A peer with valid keys and bad intentions: wireguard-go seals whatever its owner puts into its device,
 * and our end judges it (TN-3, WG-58; issue "First light": hostile inner packets).
 */
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Reason } from "../../bindings/memory/index.ts";
import { concatBytes, copyOf, ip, toHex } from "../../src/base/index.ts";
import { eventually } from "../lib/observe.ts";
import { describeWith } from "../lib/requirements.ts";
import { expectCounted, type WgSnapshot, wgSnapshot } from "../lib/wg-snapshot.ts";
import { counting, ipPacket, tcp, udp } from "../unit/plane/packets.ts";
import { openPair, ping, type WgPair } from "./wireguard-pair.ts";

const INJECT = join(import.meta.dirname, "../lib/inject.mjs");
const V4 = { family: 4, source: ip("10.7.0.2"), destination: ip("10.7.0.1") } as const;
const V6 = { family: 6, source: ip("fd07::2"), destination: ip("fd07::1") } as const;
const GOOD = udp(counting(64), V4);

function withBytes(packet: Uint8Array, at: number, ...values: readonly number[]): Uint8Array {
  const copy = copyOf(packet);
  copy.set(values, at);
  return copy;
}

/** An IPv6 packet with nine options headers, one more than is walked. */
function longChain(): Uint8Array {
  const header = Uint8Array.from([60, 0, 1, 4, 0, 0, 0, 0]);
  return ipPacket(60, concatBytes(...Array<Uint8Array>(9).fill(header)), V6);
}

/** By the reason under which our end must count each. */
const REFUSED = {
  "ip-length": [
    withBytes(GOOD, 2, 0x05, 0xdc),
    withBytes(GOOD, 0, 0x44),
    withBytes(udp(counting(64), V6), 4, 2, 0),
  ],
  "udp-length": [withBytes(GOOD, 24, 0x01, 0x00), withBytes(GOOD, 24, 0, 7), ipPacket(17, counting(7), V6)],
  "tcp-length": [withBytes(tcp(counting(8), V4), 32, 0xf0), ipPacket(6, counting(19), V6)],
  "icmp-length": [ipPacket(1, counting(7), V4), ipPacket(58, counting(3), V6)],
  "icmp-family": [ipPacket(58, counting(16), V4), ipPacket(1, counting(16), V6)],
  "ip6-ext": [longChain(), ipPacket(0, Uint8Array.from([17, 9, 0, 0, 0, 0, 0, 0]), V6)],
  wg_disallowed_source: [
    udp(counting(9), { ...V4, source: ip("10.7.0.99") }),
    udp(counting(9), { ...V6, source: ip("fd07::99") }),
    // A land attack: from us, to us.
    udp(counting(9), { ...V4, source: V4.destination }),
    udp(counting(9), { ...V4, source: ip("127.0.0.1") }),
  ],
} as const satisfies Partial<Record<Reason, readonly Uint8Array[]>>;

/** What a plain peer carries although a client or gateway would not (TN-4). */
const CARRIED: readonly Uint8Array[] = [
  udp(counting(64), { ...V4, fragmentField: 0x2000 }),
  udp(counting(64), { ...V4, fragmentField: 0x0010 }),
  udp(counting(64), { ...V4, options: Uint8Array.from([131, 3, 4, 0]) }),
  ipPacket(1, concatBytes(Uint8Array.from([3, 1, 0, 0, 0, 0, 0, 0]), GOOD.subarray(0, 28)), V4),
  ipPacket(255, counting(20), V4),
];

describeWith(["root", "netns", "tun", "wireguard-go", "wg", "ipv6", "build"], "a malicious peer", () => {
  let pair: WgPair;
  beforeAll(async () => {
    pair = await openPair();
    // They learn our endpoint from our handshake.
    await ping(pair.ours, "10.7.0.2");
  });
  afterAll(() => pair?.close());

  /** Seals the packets at the other end; returns our counters before and after. */
  async function send(packets: readonly Uint8Array[]): Promise<readonly [WgSnapshot, WgSnapshot]> {
    const before = await wgSnapshot(pair.postern);
    await pair.theirs.run(process.execPath, [INJECT, "wg0", ...packets.map(toHex)]);
    let after = before;
    await eventually(async () => {
      after = await wgSnapshot(pair.postern);
      const arrived = countOf(after, "packets_in") - countOf(before, "packets_in");
      if (arrived < packets.length) throw new Error(`${arrived} of ${packets.length} arrived`);
    });
    return [before, after];
  }

  function countOf({ counters }: WgSnapshot, name: string): number {
    return counters.ingress.counters[name] ?? 0;
  }

  it.each(Object.entries(REFUSED))("TN-3, WG-58: counts packets as %s", async (reason, packets) => {
    const [before, after] = await send(packets);
    const dropped = (snapshot: WgSnapshot) => snapshot.counters.ingress.drops[reason] ?? 0;
    expect(dropped(after) - dropped(before)).toBe(packets.length);
    expectCounted(after);
  });

  it("TN-4: carries fragments, source routes and unknown protocols, as every WireGuard peer does", async () => {
    const [before, after] = await send(CARRIED);
    const passed = countOf(after, "packets_passed") - countOf(before, "packets_passed");
    expect(passed).toBeGreaterThanOrEqual(CARRIED.length);
    expectCounted(after);
  });

  it("carries good packets afterwards, and ends with 0", async () => {
    await ping(pair.theirs, "10.7.0.1");
    await ping(pair.ours, "fd07::2");
    expect(await pair.postern.stop()).toEqual({ status: 0, signal: undefined });
    expect(pair.postern.stderr()).not.toMatch(/ ERROR |^\s+at /m);
  });
});
