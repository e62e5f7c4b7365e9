/** Short messages that the *wide* variant seals with their first blocks made in advance (PF-81). */
import { describe, expect, it } from "vitest";
import { BYTES, CONSTANTS, OFFSETS, RECORDS } from "../../../bindings/memory/index.ts";
import type { Plane } from "../../../bindings/plane/index.ts";
import { concatBytes, createSeededRandom, ip, randomBelow, randomBytes } from "../../../src/base/index.ts";
import type { SessionKeys } from "../../../src/plane/index.ts";
import { openMessage, sealMessage } from "../../twin/plane/message.ts";
import { encodeVnet } from "../../twin/plane/split.ts";
import { type Received, runLoop } from "./kernel-script.ts";
import { expectLaw } from "./law.ts";
import { counting, tcp, udp } from "./packets.ts";
import {
  A,
  B,
  createPair,
  datagramsOf,
  directPath,
  NET_A,
  NET_B,
  PEER_B,
  plainFrame,
  receiveOne,
  SLOT,
  sendAll,
  sessionKeys,
  type testPlane,
} from "./pair.ts";

const ROUTED = { family: 4, source: NET_A.v4, destination: NET_B.v4 } as const;
const RELAY = { address: { address: ip("198.51.100.1"), port: 3478 }, channel: 0x4abc };
const FIRST_ROUND_BYTES = 1024;
const WAYS = [
  ["direct", 0],
  ["relayed", 4],
] as const;

function sender(way: "direct" | "relayed" = "direct"): Plane {
  return createPair({ variant: "wide", ...(way === "relayed" ? { relay: RELAY } : {}) }).a;
}

function memoryOf(plane: Plane) {
  const { buffer } = (plane as ReturnType<typeof testPlane>).memory;
  const view = new DataView(buffer);
  const at = (field: number) => view.getUint32(CONSTANTS.PLANE_ADDRESS + field, true);
  return { view, egress: at(OFFSETS.plane.egress), sessions: at(OFFSETS.plane.sessions) };
}

/** For how many messages blocks have been made. */
function blocksMade(plane: Plane): number {
  const { view, egress } = memoryOf(plane);
  return view.getUint32(egress + OFFSETS.egress.aheadMade, true);
}

/** What the messages of a frame say, opened by the twin; padding must be zeros. */
function sealed(plane: Plane, frame: Uint8Array, key: Uint8Array, headRoom = 0) {
  return sendAll(plane, frame)
    .flatMap(datagramsOf)
    .map((datagram) => {
      const { index, counter, text } = openMessage(key, datagram.subarray(headRoom));
      const bytes = new DataView(text.buffer, text.byteOffset).getUint16(2);
      expect(text.subarray(bytes).every((byte) => byte === 0)).toBe(true);
      return { index, counter: Number(counter), packet: text.subarray(0, bytes) };
    });
}

/** A super-frame of UDP datagrams with that payload each. */
function burst(count: number, payload: number): Uint8Array {
  const vnet = { needsChecksum: true, gsoType: 5, headerBytes: 28, checksumStart: 20, checksumOffset: 6 };
  return concatBytes(encodeVnet({ ...vnet, gsoBytes: payload }), udp(counting(count * payload), ROUTED));
}

describe("sealing with blocks made in advance", () => {
  const { sendKey, remote } = sessionKeys("a");

  it.each(WAYS)("PF-81: acknowledgments one by one, from the fourth on (%s)", (way, headRoom) => {
    const a = sender(way);
    for (let i = 0; i < 40; i++) {
      const packet = tcp(new Uint8Array(), { ...ROUTED, acknowledgment: i });
      expect(sealed(a, plainFrame(packet), sendKey, headRoom)).toEqual([
        { index: remote, counter: i, packet },
      ]);
      expect(blocksMade(a)).toBe(i < 3 ? 0 : 4);
    }
    expectLaw(a);
  });

  it.each(WAYS)("PF-81: the segments of a frame, from the first on (%s)", (way, headRoom) => {
    for (const payload of [1, 30, 36, 37, 60, 100, 101]) {
      for (const count of [1, 2, 3, 4, 5, 9, 20]) {
        const a = sender(way);
        const got = sealed(a, burst(count, payload), sendKey, headRoom);
        expect(got.map(({ counter }) => counter)).toEqual(Array.from({ length: count }, (_, i) => i));
        const bodies = got.map(({ packet }) => packet.subarray(28));
        expect(concatBytes(...bodies)).toEqual(counting(count * payload));
        const isShort = Math.ceil((payload + 28) / 16) * 16 <= 128;
        expect(blocksMade(a)).toBe(count >= 3 && isShort ? 4 : 0);
      }
    }
  });

  it("PF-81: makes none for short messages that stand between long ones", () => {
    const a = sender();
    for (let i = 0; i < 30; i++) {
      const packet = udp(counting(i % 3 === 2 ? 1000 : 20), ROUTED);
      expect(sealed(a, plainFrame(packet), sendKey)).toEqual([{ index: remote, counter: i, packet }]);
    }
    expect(blocksMade(a)).toBe(0);
  });

  it("PF-81: any lengths, counters that others take, new sessions, and rows and indices used again", () => {
    const random = createSeededRandom(810);
    const a = sender();
    let session = sessionKeys("a");
    let next = 0;
    for (let i = 0; i < 3000; i++) {
      const what = randomBelow(random, 60);
      if (what === 0) [session, next] = [replacePeer(a, randomBytes(random, 32)), 0];
      else if (what === 1) next += takeCounters(a, next, 1 + randomBelow(random, 6));
      const isShort = randomBelow(random, 10) !== 0;
      const packet = udp(counting(randomBelow(random, isShort ? 101 : 1300), i), ROUTED);
      expect(sealed(a, plainFrame(packet), session.sendKey)).toEqual([
        { index: session.remote, counter: next, packet },
      ]);
      next++;
    }
    expectLaw(a);
  });
});

describe("what was made in advance, at the end of a loop", () => {
  it("PF-63, PF-81: egress leaves nothing of it, and a loop that begins again does not use it", () => {
    const a = sender() as ReturnType<typeof testPlane>;
    const frame = burst(3, 30);
    for (let i = 0; i < 3; i++) {
      const { sent } = runLoop("egress", a, { frames: [frame] }, "wide");
      const messages = sent.flatMap(({ bytes }) => [0, 96, 192].map((at) => bytes.slice(at, at + 96)));
      const texts = messages.map((bytes) => openMessage(sessionKeys("a").sendKey, bytes));
      expect(texts.map(({ counter }) => Number(counter))).toEqual([3 * i, 3 * i + 1, 3 * i + 2]);
      expect(secretsOf(a, "egress").every((byte) => byte === 0)).toBe(true);
    }
  });

  it("PF-63, PF-65: ingress leaves nothing of it", () => {
    const plane = receiver();
    const { written } = runLoop("ingress", plane, { receives4: [train(20)] }, "wide");
    expect(written).toHaveLength(1);
    expect(secretsOf(plane, "ingress").every((byte) => byte === 0)).toBe(true);
  });
});

describe("what is kept of a key's first round", () => {
  it("PF-83: egress has it from frame to frame, and forgets it before it waits", () => {
    const a = sender() as ReturnType<typeof testPlane>;
    const frame = plainFrame(udp(counting(1000), ROUTED));
    const [reading, waiting]: [boolean[], boolean[]] = [[], []];
    const { sent } = runLoop(
      "egress",
      a,
      {
        ...{ frames: [frame, frame, frame], waits: 2 },
        onRead: () => reading.push(hasFirstRound(a, "egress")),
        onPoll: () => waiting.push(hasFirstRound(a, "egress")),
      },
      "wide",
    );
    expect(sent.length).toBeGreaterThan(0);
    expect(reading.slice(0, 4)).toContain(true);
    expect(waiting.length).toBeGreaterThan(0);
    expect(waiting).not.toContain(true);
  });

  it("PF-83: ingress has it from receive to receive, and forgets it before it waits", () => {
    const plane = receiver();
    const { bytes } = train(1000);
    for (let i = 0; i < 3; i++)
      receiveOne(plane, bytes.subarray((i * bytes.length) / 3, ((i + 1) * bytes.length) / 3));
    expect(hasFirstRound(plane, "ingress")).toBe(true);
    const waiting: boolean[] = [];
    const { written } = runLoop(
      "ingress",
      plane,
      {
        ...{ receives4: [train(1000, 3), train(1000, 6)], waits: 2 },
        onPoll: () => waiting.push(hasFirstRound(plane, "ingress")),
      },
      "wide",
    );
    expect(written.length).toBeGreaterThan(0);
    expect(waiting.length).toBeGreaterThan(0);
    expect(waiting).not.toContain(true);
  });
});

function receiver(): ReturnType<typeof testPlane> {
  return createPair({ variant: "wide" }).b as ReturnType<typeof testPlane>;
}

/** Three messages of A in one receive, of texts that hold so many bytes. */
function train(bytes: number, first = 0): Received {
  const { sendKey, remote } = sessionKeys("a");
  const messages = [0, 1, 2].map((i) =>
    sealMessage(sendKey, remote, BigInt(first + i), udp(counting(bytes), ROUTED)),
  );
  const info = concatBytes(new Uint8Array([2, 0, 0, 0]), B.address, ip("192.0.2.255"));
  const stride = Uint32Array.of(messages[0]?.length ?? 0);
  const control = [
    { level: 0, type: 8, data: info },
    { level: 17, type: 104, data: new Uint8Array(stride.buffer) },
  ];
  return { from: A, bytes: concatBytes(...messages), control };
}

/** Whether a worker's record has anything of a first round, which is the last of the AEAD's state. */
function hasFirstRound(plane: ReturnType<typeof testPlane>, kind: "egress" | "ingress"): boolean {
  return secretsOf(plane, kind)
    .subarray(-FIRST_ROUND_BYTES)
    .some((byte) => byte !== 0);
}

/** What a worker's record has of keys and keystream. */
function secretsOf(plane: ReturnType<typeof testPlane>, kind: "egress" | "ingress"): Uint8Array {
  const worker = new DataView(plane.memory.buffer).getUint32(
    CONSTANTS.PLANE_ADDRESS + OFFSETS.plane[kind],
    true,
  );
  const { keysAhead, aead } = OFFSETS.worker;
  return new Uint8Array(plane.memory.buffer).slice(
    worker + keysAhead,
    worker + aead + RECORDS.worker.fields.aead.bytes,
  );
}

/** Another peer in the same slot with another key, whose session has the same indices and generation. */
function replacePeer(plane: Plane, sendKey: Uint8Array): SessionKeys {
  const session = { ...sessionKeys("a"), sendKey };
  plane.execute({ kind: "remove-peer", slot: SLOT });
  plane.execute({ kind: "add-peer", slot: SLOT, peerId: PEER_B });
  plane.execute({ kind: "set-path", slot: SLOT, path: directPath(B) });
  plane.execute({ kind: "install", slot: SLOT, peerId: PEER_B, session });
  plane.execute({ kind: "set-current", slot: SLOT, local: session.local });
  return session;
}

/** Another worker seals that many messages of the session whose next counter is `next`. */
function takeCounters(plane: Plane, next: number, count: number): number {
  const { view, sessions } = memoryOf(plane);
  const rows = Array.from({ length: 8 * 16 }, (_, row) => sessions + row * BYTES.session);
  const at = rows
    .map((row) => row + OFFSETS.session.sendCounter)
    .filter((field) => view.getBigUint64(field, true) === BigInt(next));
  if (next === 0 || at[0] === undefined) return 0;
  view.setBigUint64(at[0], BigInt(next + count), true);
  return count;
}
