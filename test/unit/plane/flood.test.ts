/** What the kernel drops of a flood of initiations (PG-160). */
import { createSocket } from "node:dgram";
import { describe, expect, it } from "vitest";
import { type Kernel, openKernel, openUdpSockets } from "../../../bindings/linux/index.ts";
import { CONSTANTS } from "../../../bindings/memory/index.ts";
import { concatBytes, instant, ip, type SocketAddress } from "../../../src/base/index.ts";
import fc from "../../lib/property.ts";
import { passesFilter, passingPart } from "../../twin/plane/flood.ts";
import { sealMessage } from "../../twin/plane/message.ts";
import { FD, type Received, runLoop, type SocketFilter } from "./kernel-script.ts";
import { A, B, createPair, directPath, NOW, PEER_A, sessionKeys, type testPlane } from "./pair.ts";
import { runFilter } from "./socket-filter.ts";
import { createStranger, STRANGER } from "./stranger.ts";

const { FLOOD_ONE, FLOOD_PERIOD_MS, FLOOD_PEERS_MAX } = CONSTANTS;
const PEER6: SocketAddress = { address: ip("2001:db8:1:2::5"), port: 51820 };
const LOCAL = { level: 0, type: 8, data: concatBytes(new Uint8Array(4), B.address, B.address) };
/** The clock is read so often. */
const TICK = 16;

/** An initiation without a cookie; nobody has looked at its mac1 yet. */
function bare(): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(148).fill(7, 4, 132);
  bytes[0] = 1;
  return bytes;
}

const flood = (count: number, bytes = bare()): Received[] =>
  Array.from({ length: count }, () => ({ from: STRANGER, bytes, control: [LOCAL] }));

/** With a message of the peer's session behind every tenth of them. */
function besideData(strangers: readonly Received[]): Received[] {
  const { remote, sendKey } = sessionKeys("a");
  return strangers.flatMap((one, i) => {
    if (i % 10 > 0) return [one];
    const bytes = sealMessage(sendKey, remote, BigInt(i), new Uint8Array());
    return [one, { from: A, bytes, control: [LOCAL] }];
  });
}

/** A loop that receives at `perSecond`, then waits so often; peers of both families have paths. */
function flooded(
  received: readonly Received[],
  perSecond: number,
  { waits = 1, peers = 0, waitMs = FLOOD_PERIOD_MS as number } = {},
) {
  const plane = createPair({ maxPeers: 320 }).b as ReturnType<typeof testPlane>;
  plane.execute({ kind: "set-guard", guard: createStranger().guard });
  plane.execute({ kind: "add-peer", slot: 5, peerId: PEER_A + 1 });
  plane.execute({ kind: "set-path", slot: 5, path: directPath(PEER6) });
  for (let i = 0; i < peers; i++) {
    plane.execute({ kind: "add-peer", slot: 10 + i, peerId: PEER_A + 10 + i });
    const address = Uint8Array.of(192, 0, 3 + (i >> 8), i & 255);
    plane.execute({ kind: "set-path", slot: 10 + i, path: directPath({ address, port: 1 }) });
  }
  let now: number = NOW;
  const run = runLoop("ingress", plane, {
    receives4: [...received],
    waits,
    now: () => {
      now += (TICK * 1000) / perSecond;
      return instant(Math.floor(now));
    },
    onPoll: () => {
      now += waitMs;
    },
  });
  return { ...run, plane };
}

/** Which part passes, of those without a mac2 and of those with one. */
const partOf = ({ program }: SocketFilter, instruction: number) =>
  new DataView((program ?? new Uint8Array()).buffer).getUint32(instruction * 8 + 4, true) / 2 ** 32;
const thresholdOf = (filter: SocketFilter) => partOf(filter, 21);
const staleThresholdOf = (filter: SocketFilter) => partOf(filter, 18);

describe("a filter before the sockets while initiations flood them (PG-160)", () => {
  it("is there after half a second of 25,000 a second, in both families, and gone when nothing comes", () => {
    const { filters, timeouts, plane } = flooded(flood(12_700), 25_000, { waits: 2 });
    expect(filters.map(({ fd, program }) => [fd, program !== undefined])).toEqual([
      [FD.udp4, true],
      [FD.udp6, true],
      [FD.udp4, false],
      [FD.udp6, false],
    ]);
    expect(timeouts).toEqual([FLOOD_PERIOD_MS, 60_000]);
    expect(plane.counters().ingress.counters.packets_in).toBe(12_700);
  });

  it("is not there at 15,000 a second", () => {
    expect(flooded(flood(15_000), 15_000).filters).toEqual([]);
  });

  it("lets as few pass that have a mac2 which is wrong, and leaves those without any alone", () => {
    const [filter] = flooded(flood(12_700, bare().fill(9, 132)), 25_000).filters;
    if (filter === undefined) throw new Error("no filter");
    expect(staleThresholdOf(filter)).toBeCloseTo(passingPart(12_500, 500, 1), 1);
    expect(thresholdOf(filter)).toBeCloseTo(1);
  });

  it("is there from 2,000 a second on while the worker is behind with data", () => {
    const [filter] = flooded(besideData(flood(3_000)), 3_300).filters;
    if (filter === undefined) throw new Error("no filter");
    expect(thresholdOf(filter)).toBeCloseTo(passingPart(1_500, 500, 1, 0.1), 1);
    expect(flooded(flood(3_000), 3_000).filters).toEqual([]);
  });

  it("is taken away when the loop ends", () => {
    const { filters } = flooded(flood(12_700), 25_000, { waitMs: 1 });
    expect(filters.slice(2)).toEqual([{ fd: FD.udp4 }, { fd: FD.udp6 }]);
  });

  it("lets half as many again pass as there are replies for, and follows the flood", () => {
    // A scripted kernel filters nothing: what comes looks like more and more behind a filter.
    const rate = 30_000;
    const { filters } = flooded(flood(30_200), rate);
    const parts = filters
      .filter(({ fd, program }) => fd === FD.udp4 && program !== undefined)
      .map(thresholdOf);
    let part = 1;
    const expected = [0, 1].map(() => {
      part = Math.floor(passingPart(rate / 2, 500, part) * FLOOD_ONE) / FLOOD_ONE;
      return part;
    });
    for (const [i, wanted] of expected.entries()) expect(parts[i]).toBeCloseTo(wanted, 1);
  });

  it("is left out where peers are too many to name them", () => {
    expect(flooded(flood(12_700), 25_000, { peers: FLOOD_PEERS_MAX - 1 }).filters).toHaveLength(4);
    const { filters } = flooded(flood(12_700), 25_000, { peers: FLOOD_PEERS_MAX });
    // The other family has one peer.
    expect(filters.map(({ fd }) => fd)).toEqual([FD.udp6, FD.udp4, FD.udp6]);
  });

  it("counts what it dropped as filtered", () => {
    const lost = (count: number): Received => ({
      from: STRANGER,
      bytes: bare(),
      control: [LOCAL, { level: 1, type: 40, data: new Uint8Array(Uint32Array.of(count).buffer) }],
    });
    const { plane } = flooded([lost(3), ...flood(15_000), lost(5000)], 25_000);
    expect(plane.counters().ingress.counters).toMatchObject({ udp_overflow: 3, udp_filtered: 4997 });
  });
});

describe("its program and its twin (PG-160, D-4)", () => {
  // Both kinds at once, of one twice as many.
  const both = [...flood(1), ...flood(2, bare().fill(9, 132))];
  const mixed = Array.from({ length: 13_000 }, () => both).flat();
  const [program4, program6] = flooded(mixed, 75_000).filters.map(({ program }) => program);
  if (program4 === undefined || program6 === undefined) throw new Error("no filter");
  const part = thresholdOf({ fd: 0, program: program4 });
  const stalePart = staleThresholdOf({ fd: 0, program: program4 });
  const sources = [
    STRANGER,
    A,
    PEER6,
    { address: ip("2001:db8:1:2::99"), port: 1 },
    { address: ip("2001:db8:1:3::5"), port: 1 },
  ];

  it("agree on any datagram, from peers and strangers, whatever chance says", () => {
    const bytes = fc.oneof(
      fc.constant(bare()),
      fc.constant(bare().subarray(0, 147)),
      fc.constant(concatBytes(bare(), new Uint8Array(1))),
      fc.tuple(fc.nat(147), fc.nat(255)).map(([at, value]) => bare().fill(value, at, at + 1)),
      fc.tuple(fc.integer({ min: 132, max: 147 }), fc.nat(255)).map(([at, value]) => bare().fill(value, at)),
      fc.uint8Array({ maxLength: 200 }),
    );
    const edges = [part, stalePart].flatMap((one) => [one * 2 ** 32, one * 2 ** 32 - 1]);
    const chance = fc.oneof(fc.nat(0xffffffff), fc.constantFrom(...edges));
    fc.assert(
      fc.property(bytes, fc.constantFrom(...sources), chance, (datagram, { address: from }, random) => {
        const network =
          from.length === 4 ? concatBytes(new Uint8Array(12), from) : concatBytes(new Uint8Array(8), from);
        const transport = concatBytes(new Uint8Array(8), datagram);
        const passes = runFilter(from.length === 4 ? program4 : program6, { network, transport, random });
        const state = { part, stalePart, chance: random / 2 ** 32, peers: [A, PEER6] };
        expect(passes).toBe(passesFilter({ from, bytes: datagram }, state));
      }),
      { numRuns: 2000 },
    );
  });

  it("does in the kernel what it says: one in so many initiations passes, and everything else", async () => {
    const others = Array.from({ length: 20 }, () => bare().fill(2, 0, 1));
    for (const [mac2, wanted] of [
      [0, part],
      [1, stalePart],
    ] as const) {
      const initiations = Array.from({ length: 30 }, () => bare().fill(mac2, 140));
      const passed = await countThrough(program4, [...initiations, ...others], 20);
      // Twenty times twenty, and of six hundred that part: seven times the deviation that chance has.
      expect(Math.abs((passed - 400) / 600 - wanted)).toBeLessThan(0.14);
    }
  });
});

/** How many a socket on loopback gets of so many rounds of datagrams. */
async function countThrough(
  program: Uint8Array,
  datagrams: readonly Uint8Array[],
  rounds: number,
): Promise<number> {
  const kernel = openKernel();
  const sockets = openUdpSockets(kernel, {
    port: { kind: "any" },
    gro: false,
    sendBufferBytes: 1 << 18,
    receiveBufferBytes: 1 << 18,
  });
  const sender = createSocket("udp4");
  try {
    const { fd, port } = sockets.v4 ?? { fd: -1, port: 0 };
    expect(attachFilter(kernel, fd, program)).toBe(0);
    let passed = 0;
    for (let round = 0; round < rounds; round++) {
      const sent = datagrams.map(
        (bytes) => new Promise((resolve) => sender.send(bytes, port, "127.0.0.1", resolve)),
      );
      await Promise.all(sent);
      passed += drain(kernel, fd);
    }
    return passed;
  } finally {
    sender.close();
    sockets.close();
  }
}

function attachFilter({ sys, scratch }: Kernel, fd: number, program: Uint8Array): number {
  return scratch.frame((room) => {
    const at = room.take(16);
    room.view.setUint16(at, program.length / 8, true);
    room.view.setBigUint64(at + 8, BigInt(sys.base) + BigInt(room.put(program)), true);
    return sys.setsockopt(fd, 1, 26, at, 16);
  });
}

function drain({ sys, scratch }: Kernel, fd: number): number {
  return scratch.frame((room) => {
    const at = room.take(2048);
    let count = 0;
    while (sys.read(fd, at, 2048) >= 0) count++;
    return count;
  });
}
