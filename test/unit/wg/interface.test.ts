/** Plain mode as a machine (WG-57 to WG-62), on a packet plane. */
import { describe, expect, it } from "vitest";
import {
  createSeededRandom,
  formatPrefix,
  instant,
  ip,
  prefix,
  randomBytes,
  SILENT,
  type SocketAddress,
  unixMs,
} from "../../../src/base/index.ts";
import type { PolicyTables } from "../../../src/plane/index.ts";
import { createNodeCrypto } from "../../../src/program/crypto-node.ts";
import { createWgInterface, type WgInterfaceTransmit } from "../../../src/wg/interface.ts";
import type { WgPeerSet, WgSet } from "../../../src/wg/uapi.ts";
import { DEFAULT_PLANE } from "../../twin/driven-plane.ts";
import { createPolledPlane } from "../../twin/polled-plane.ts";

const NOW = instant(1_000_000);
const UNIX = Date.UTC(2026, 0, 1);
const HERE: SocketAddress = { address: ip("192.0.2.1"), port: 51820 };
const THERE: SocketAddress = { address: ip("192.0.2.2"), port: 51820 };
const ELSEWHERE: SocketAddress = { address: ip("198.51.100.9"), port: 4444 };
const PEERS_MAX = 4;
const crypto = createNodeCrypto();

/** An interface with its plane; outputs pile up in lists. */
function createEnd(seed: number, options: Partial<Parameters<typeof createWgInterface>[0]> = {}) {
  const random = createSeededRandom(seed);
  const plane = createPolledPlane(DEFAULT_PLANE, { mode: "plain" });
  const machine = createWgInterface({
    now: NOW,
    unixMs: unixMs(UNIX),
    random,
    records: plane.records,
    crypto,
    log: SILENT,
    peersMax: PEERS_MAX,
    ...options,
  });
  const privateKey = randomBytes(random, 32);
  machine.set(NOW, { replacePeers: false, peers: [], privateKey: { key: privateKey } });
  const end = {
    machine,
    plane,
    publicKey: machine.publicKey() ?? new Uint8Array(0),
    sent: [] as WgInterfaceTransmit[],
    written: [] as Uint8Array[],
    tables: [] as PolicyTables[],
    received: 0,
  };
  drain(end);
  return end;
}

type End = ReturnType<typeof createEnd>;

function drain(end: End, now = NOW): void {
  const { machine, plane } = end;
  for (let event = plane.pollEvent(); event !== undefined; event = plane.pollEvent()) {
    machine.handlePlaneEvent(now, event);
  }
  for (let punt = plane.pollPunt(); punt !== undefined; punt = plane.pollPunt())
    machine.handlePunt(now, punt);
  for (let command = machine.pollCommand(); command !== undefined; command = machine.pollCommand()) {
    if (command.kind === "publish") {
      end.tables.push(command.tables);
      plane.publish(command.tables);
    } else if (command.kind === "write-tun") end.written.push(command.packet);
    else {
      plane.execute(now, command);
      machine.handleCarriedOut(now, command);
    }
  }
  for (let sent = machine.pollTransmit(); sent !== undefined; sent = machine.pollTransmit())
    end.sent.push(sent);
  for (let sealed = plane.pollTransmit(); sealed !== undefined; sealed = plane.pollTransmit())
    end.sent.push(sealed);
  while (plane.pollPacket() !== undefined) end.received++;
  machine.drainEvents();
}

function apply(end: End, change: Partial<WgSet>, now = NOW): void {
  end.machine.set(now, { replacePeers: false, peers: [], ...change });
  drain(end, now);
}

function peerSet(publicKey: Uint8Array, change: Partial<WgPeerSet> = {}): WgPeerSet {
  return { publicKey, remove: false, updateOnly: false, replaceAllowedIps: false, allowedIps: [], ...change };
}

function allow(...texts: readonly string[]): WgPeerSet["allowedIps"] {
  return texts.map((text) => ({ prefix: prefix(text), remove: false }));
}

/** Carries everything that `from` has sent to `to`, as coming from `source`. */
function carry(from: End, to: End, source: SocketAddress, local: SocketAddress, now = NOW): void {
  for (const { bytes } of from.sent.splice(0)) {
    to.plane.handleDatagram(now, { bytes, from: source, local });
    drain(to, now);
  }
}

function packet(from: string, to: string): Uint8Array {
  const bytes = new Uint8Array(32);
  bytes.set([0x45, 0, 0, 32, 0, 0, 0, 0, 64, 253]);
  bytes.set(ip(from), 12);
  bytes.set(ip(to), 16);
  return bytes;
}

/** Two interfaces with a session: `a` has called. */
function connected(): { a: End; b: End } {
  const a = createEnd(1);
  const b = createEnd(2);
  apply(b, { peers: [peerSet(a.publicKey, { allowedIps: allow("10.0.0.1/32") })] });
  apply(a, { peers: [peerSet(b.publicKey, { allowedIps: allow("10.0.0.2/32"), endpoint: THERE })] });
  a.plane.sendPacket(NOW, packet("10.0.0.1", "10.0.0.2"));
  drain(a);
  carry(a, b, HERE, THERE);
  carry(b, a, THERE, HERE);
  carry(a, b, HERE, THERE);
  return { a, b };
}

describe("WG-58: allowed IPs", () => {
  it("become routes, and a prefix added elsewhere moves", () => {
    const end = createEnd(1);
    const [one, two] = [createEnd(2).publicKey, createEnd(3).publicKey];
    apply(end, { peers: [peerSet(one, { allowedIps: allow("10.0.0.0/8", "fd00::/64") }), peerSet(two)] });
    apply(end, { peers: [peerSet(two, { allowedIps: allow("10.0.0.0/8") })] });
    expect(end.machine.peers().map((peer) => peer.allowedIps.map(formatPrefix))).toEqual([
      ["fd00::/64"],
      ["10.0.0.0/8"],
    ]);
    const routes = end.tables.at(-1)?.routes.map((route) => [formatPrefix(route.prefix), route.target]);
    expect(routes).toEqual([
      ["fd00::/64", { kind: "peer", slot: 0 }],
      ["10.0.0.0/8", { kind: "peer", slot: 1 }],
    ]);
  });

  it("are taken away one by one, replaced, and gone with their peer", () => {
    const end = createEnd(1);
    const key = createEnd(2).publicKey;
    apply(end, { peers: [peerSet(key, { allowedIps: allow("10.0.0.0/8", "10.1.0.0/16") })] });
    apply(end, { peers: [peerSet(key, { allowedIps: [{ prefix: prefix("10.0.0.0/8"), remove: true }] })] });
    expect(end.machine.peers()[0]?.allowedIps.map(formatPrefix)).toEqual(["10.1.0.0/16"]);
    apply(end, { peers: [peerSet(key, { replaceAllowedIps: true, allowedIps: allow("::/0") })] });
    expect(end.machine.peers()[0]?.allowedIps.map(formatPrefix)).toEqual(["::/0"]);
    apply(end, { peers: [peerSet(key, { remove: true })] });
    expect(end.machine.peers()).toEqual([]);
    expect(end.tables.at(-1)?.routes).toEqual([]);
  });

  it("WG-66: update_only makes no peer, replace_peers removes those before", () => {
    const end = createEnd(1);
    const [one, two] = [createEnd(2).publicKey, createEnd(3).publicKey];
    apply(end, { peers: [peerSet(one, { updateOnly: true })] });
    expect(end.machine.peers()).toEqual([]);
    apply(end, { peers: [peerSet(one)] });
    apply(end, { replacePeers: true, peers: [peerSet(two)] });
    expect(end.machine.peers().map((peer) => peer.publicKey)).toEqual([two]);
  });

  it("WG-61: our own key is no peer, now or after a change of it", () => {
    const end = createEnd(1);
    apply(end, { peers: [peerSet(end.publicKey)] });
    expect(end.machine.peers()).toEqual([]);
    const other = randomBytes(createSeededRandom(77), 32);
    const itsKey = crypto.keyPair(other.slice()).publicKey;
    apply(end, { peers: [peerSet(itsKey)] });
    expect(end.machine.peers()).toHaveLength(1);
    apply(end, { privateKey: { key: other } });
    expect(end.machine.peers()).toEqual([]);
  });
});

it("WG-61, WG-67: a change of our key agrees with no peer at once, but with each at its next handshake", () => {
  let agreements = 0;
  const counting: typeof crypto = {
    ...crypto,
    keyPair(privateKey) {
      const made = crypto.keyPair(privateKey);
      const dh = (publicKey: Uint8Array) => {
        agreements++;
        return made.dh(publicKey);
      };
      return { publicKey: made.publicKey, dh, erase: () => made.erase() };
    },
  };
  const end = createEnd(1, { crypto: counting, peersMax: 64 });
  const random = createSeededRandom(3);
  const peers = Array.from({ length: 50 }, () => peerSet(crypto.keyPair(randomBytes(random, 32)).publicKey));
  apply(end, { peers });
  expect(agreements).toBe(50);
  apply(end, { privateKey: { key: randomBytes(random, 32) } });
  expect(agreements).toBe(50);
  apply(end, { peers: [{ ...(peers[0] as WgPeerSet), endpoint: THERE, keepaliveSeconds: 25 }] });
  expect(end.sent.filter(({ bytes }) => bytes[0] === 1)).toHaveLength(1);
  expect(agreements).toBe(51);
});

it("WG-67: peers come in pieces, without those that have gone by then", () => {
  const end = createEnd(1, { peersMax: 600 });
  const keys = Array.from({ length: 600 }, (_, i) =>
    new Uint8Array(32)
      .fill(9)
      .with(0, i >> 8)
      .with(1, i & 255),
  );
  apply(end, { peers: keys.map((publicKey) => peerSet(publicKey)) });
  const lengths: number[] = [];
  for (const piece of end.machine.peersInPieces()) {
    lengths.push(piece.length);
    if (lengths.length === 1) apply(end, { peers: [peerSet(keys[599] as Uint8Array, { remove: true })] });
  }
  expect(lengths).toEqual([256, 256, 87]);
});

describe("WG-62: roaming", () => {
  it("an authentic initiation tells where the caller is, and what we are called there", () => {
    const { a, b } = connected();
    expect(b.machine.peers()[0]?.endpoint).toEqual(HERE);
    expect(b.received).toBe(1);
    b.plane.sendPacket(NOW, packet("10.0.0.2", "10.0.0.1"));
    drain(b);
    expect(b.sent.at(-1)).toMatchObject({ destination: HERE, source: THERE.address });
    expect(a.machine.peers()[0]?.endpoint).toEqual(THERE);
  });

  it("a data packet from elsewhere moves the endpoint", () => {
    const { a, b } = connected();
    a.plane.sendPacket(NOW, packet("10.0.0.1", "10.0.0.2"));
    drain(a);
    carry(a, b, ELSEWHERE, { ...THERE, address: ip("192.0.2.3") });
    expect(b.machine.peers()[0]?.endpoint).toEqual(ELSEWHERE);
    b.plane.sendPacket(NOW, packet("10.0.0.2", "10.0.0.1"));
    drain(b);
    expect(b.sent.at(-1)).toMatchObject({ destination: ELSEWHERE, source: ip("192.0.2.3") });
  });

  it("a forged one does not", () => {
    const { a, b } = connected();
    a.plane.sendPacket(NOW, packet("10.0.0.1", "10.0.0.2"));
    drain(a);
    for (const sent of a.sent) sent.bytes[20] = (sent.bytes[20] ?? 0) ^ 1;
    carry(a, b, ELSEWHERE, THERE);
    expect(b.plane.drops()["wg_bad_tag"]).toBe(1);
    expect(b.machine.peers()[0]?.endpoint).toEqual(HERE);
  });

  it("the local address is forgotten when a handshake has to be repeated", () => {
    const { a, b } = connected();
    b.sent.length = 0;
    const later = instant(NOW + 200_000);
    b.machine.handleTimeout(later);
    drain(b, later);
    b.plane.sendPacket(later, packet("10.0.0.2", "10.0.0.1"));
    drain(b, later);
    expect(b.sent.at(-1)).toMatchObject({ destination: HERE, source: THERE.address });
    const again = instant(later + 5_400);
    b.machine.handleTimeout(again);
    drain(b, again);
    expect(b.sent).toHaveLength(2);
    expect(b.sent.at(-1)?.source).toBeUndefined();
    expect(b.sent.at(-1)?.destination).toEqual(HERE);
    expect(a.machine.peers()).toHaveLength(1);
  });

  it("WG-63: a name that resolves late sets the endpoint of a peer that has none, and only then", () => {
    const end = createEnd(1);
    const key = createEnd(2).publicKey;
    apply(end, { peers: [peerSet(key, { keepaliveSeconds: 25 })] });
    expect(end.sent).toEqual([]);
    end.machine.setEndpoint(NOW, key, THERE);
    end.machine.handleTimeout(NOW);
    drain(end);
    expect(end.sent).toHaveLength(1);
    end.machine.setEndpoint(NOW, key, ELSEWHERE);
    expect(end.machine.peers()[0]?.endpoint).toEqual(THERE);
    end.machine.setEndpoint(NOW, createEnd(3).publicKey, THERE);
    expect(end.machine.peers()).toHaveLength(1);
  });
});

describe("WG-58, WG-59: packets that lead nowhere", () => {
  it("are answered with host unreachable, ten per second", () => {
    const end = createEnd(1);
    const lost = packet("10.0.0.1", "10.9.9.9");
    for (let i = 0; i < 15; i++) end.machine.handlePunt(NOW, { reason: "refused", packet: lost });
    drain(end);
    expect(end.written).toHaveLength(10);
    // ICMP, destination unreachable, host.
    expect([end.written[0]?.[9], end.written[0]?.[20], end.written[0]?.[21]]).toEqual([1, 3, 1]);
    end.machine.handlePunt(instant(NOW + 99), { reason: "refused", packet: lost });
    end.machine.handlePunt(instant(NOW + 100), { reason: "refused", packet: lost });
    drain(end);
    expect(end.written).toHaveLength(11);
  });
});

describe("WG-66: what is reported", () => {
  it("the last handshake in Unix time, and bytes with handshakes", () => {
    const { a } = connected();
    const [peer] = a.machine.peers();
    expect(peer?.lastHandshakeUnixMs).toBe(UNIX);
    expect(peer?.txBytes).toBe(148 + 64);
    expect(peer?.rxBytes).toBe(92);
  });

  it("WG-8: the time of a handshake stands still while clocks jitter, and follows a step", () => {
    const { a } = connected();
    const shown = () => a.machine.peers()[0]?.lastHandshakeUnixMs;
    const then = instant(NOW + 5000);
    a.machine.handleWallClock(then, unixMs(UNIX + 5001));
    a.machine.handleWallClock(then, unixMs(UNIX + 4999));
    expect(shown()).toBe(UNIX);
    a.machine.handleWallClock(then, unixMs(UNIX + 5000 + 3_600_000));
    expect(shown()).toBe(UNIX + 3_600_000);
  });

  it("WG-69: erase removes all peers and keys", () => {
    const { a } = connected();
    a.machine.erase();
    drain(a);
    expect(a.machine.peers()).toEqual([]);
    expect(a.machine.privateKey()).toBeUndefined();
    expect(a.machine.publicKey()).toBeUndefined();
    expect(a.machine.pollTimeout()).toBeUndefined();
  });

  it("WG-69: and does so without a command for each peer that has no session", () => {
    const { a } = connected();
    apply(a, {
      peers: Array.from({ length: 9 }, (_, i) =>
        peerSet(crypto.keyPair(new Uint8Array(32).fill(50 + i)).publicKey),
      ),
    });
    a.machine.erase();
    const kinds: string[] = [];
    for (let command = a.machine.pollCommand(); command !== undefined; command = a.machine.pollCommand())
      kinds.push(command.kind);
    expect(kinds).toEqual(["set-guard", "retire", "publish"]);
  });
});

describe("WG-57, WG-67: changes that cannot be made", () => {
  const keyOf = (i: number): Uint8Array => crypto.keyPair(new Uint8Array(32).fill(100 + i)).publicKey;
  const change = (peers: readonly WgPeerSet[], replacePeers = false): WgSet => ({ replacePeers, peers });

  it("a peer too many is refused, before anything is changed; one that goes makes room", () => {
    const end = createEnd(1);
    apply(end, { peers: [1, 2, 3].map((i) => peerSet(keyOf(i))) });
    expect(end.machine.refusalOf(change([peerSet(keyOf(4))]))).toBeUndefined();
    expect(end.machine.refusalOf(change([peerSet(keyOf(4)), peerSet(keyOf(5))]))).toBe("no-room");
    // Known, absent or leaving peers need no room.
    const other = [
      peerSet(keyOf(3)),
      peerSet(keyOf(7), { updateOnly: true }),
      peerSet(keyOf(1), { remove: true }),
    ];
    expect(end.machine.refusalOf(change([...other, peerSet(keyOf(4)), peerSet(keyOf(5))]))).toBeUndefined();
    expect(
      end.machine.refusalOf(
        change(
          [4, 5, 6, 7].map((i) => peerSet(keyOf(i))),
          true,
        ),
      ),
    ).toBeUndefined();
    expect(end.machine.peers()).toHaveLength(3);
  });

  it("WG-6: a key that agrees with every other on zeros is refused, with and without a key of our own", () => {
    const end = createEnd(1);
    const zeros = peerSet(new Uint8Array(32));
    expect(end.machine.refusalOf(change([zeros]))).toBe("low-order-key");
    apply(end, { privateKey: { key: undefined } });
    apply(end, { peers: [zeros] });
    expect(end.machine.peers()).toEqual([]);
  });
});
