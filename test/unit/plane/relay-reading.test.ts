/** When the relay's workers read, wait and make way (RL-51), on the kernel of lists. */
import { describe, expect, it } from "vitest";
import { concatBytes, ip, type SocketAddress } from "../../../src/base/index.ts";
import type { RelayBinding } from "../../../src/plane/index.ts";
import { createRelayBench, FD, fdOf, type RelayBench } from "./relay-kernel.ts";

const CLIENT: SocketAddress = { address: ip("192.0.2.1"), port: 51820 };
const PEER: SocketAddress = { address: ip("203.0.113.9"), port: 40_000 };
const PORT = 50_000;
const BINDING: RelayBinding = { client: CLIENT, channel: 0x4000, port: PORT, peer: PEER, isHairpin: false };
const DATA = new Uint8Array(9);

function bench(): RelayBench {
  const made = createRelayBench();
  made.publish(BINDING);
  return made;
}

describe("a worker's turns", () => {
  it("RL-51: a worker reads what poll has found, and what does not fill a receive only once", () => {
    const made = bench();
    made.fromClients({ from: CLIENT, bytes: concatBytes(Uint8Array.of(0x40, 0, 0, 9), DATA) });
    expect(made.receives.splice(0)).toEqual([FD.listen4]);
    made.fromPeers(PORT, { from: PEER, bytes: DATA });
    expect(made.receives.splice(0)).toEqual([fdOf(PORT, 4)]);
    made.fromPeers(PORT, ...Array.from({ length: 64 }, () => ({ from: PEER, bytes: DATA })));
    expect(made.receives).toEqual([fdOf(PORT, 4), fdOf(PORT, 4)]);
  });

  it("RL-51: a worker makes way before it waits while datagrams come fast, and not for one now and then", () => {
    const made = bench();
    made.receiveMs = 1;
    const one = { from: PEER, bytes: DATA };
    const many = Array.from({ length: 64 * 20 }, () => one);
    made.fromPeers(PORT, one);
    made.fromPeers(PORT, ...many);
    expect(made.yields).toBe(0);
    made.fromPeers(PORT, ...many);
    expect(made.yields).toBeGreaterThan(0);
    made.now += 1000;
    const before = made.yields;
    made.fromPeers(PORT, one);
    expect(made.yields).toBe(before);
  });
});
