/** Packets that the peer's path does not carry whole, and what TCP is told of that (TN-108, TN-109, TN-121). */
import { describe, expect, it } from "vitest";
import { concatBytes, ip, type Prefix, prefix } from "../../../src/base/index.ts";
import type { PathRecord } from "../../../src/plane/index.ts";
import { createDrivenPlane, type DrivenPlane, frameOf, PLANE_KINDS } from "../../twin/driven-plane.ts";
import { openMessage, sealMessage } from "../../twin/plane/message.ts";
import { encodeVnet } from "../../twin/plane/split.ts";
import { counting, type TcpOptions, tcp, udp } from "./packets.ts";
import { A, B, directPath, NOW, PEER_B, SLOT, sessionKeys } from "./pair.ts";

const MTU = 1240;
const V4 = { family: 4, source: ip("10.1.0.1"), destination: ip("10.2.0.1") } as const;
const V6 = { family: 6, source: ip("fd01::1"), destination: ip("fd02::1") } as const;
const EVERYWHERE: readonly Prefix[] = [prefix("0.0.0.0/0"), prefix("::/0")];
const SYN = 0x02;
const NO_DF = 0;

/** A gateway with one client, whose path carries packets of `mtu` bytes. */
function planeOn(
  kind: (typeof PLANE_KINDS)[number],
  limits: Pick<PathRecord, "mtu" | "isCutInside">,
): DrivenPlane {
  const plane = createDrivenPlane(kind, { mode: "gateway" });
  plane.execute({ kind: "add-peer", slot: SLOT, peerId: PEER_B });
  plane.execute({ kind: "set-path", slot: SLOT, path: directPath(B, limits) });
  plane.execute({ kind: "install", slot: SLOT, peerId: PEER_B, session: sessionKeys("a") });
  plane.execute({ kind: "set-current", slot: SLOT, local: sessionKeys("a").local });
  plane.publish({
    routes: ["10.2.0.0/16", "fd02::/16"].map((text) => ({
      prefix: prefix(text),
      target: { kind: "peer", slot: SLOT },
    })),
    permits: [{ slot: SLOT, sources: EVERYWHERE, refuseDestination: false }],
  });
  return plane;
}

function setMtu(plane: DrivenPlane, mtu: number | undefined): void {
  const path = directPath(B, mtu === undefined ? {} : { mtu });
  plane.execute({ kind: "set-path", slot: SLOT, path });
}

/** The packets that left for a frame. */
function sent(plane: DrivenPlane, frame: Uint8Array): readonly Uint8Array[] {
  return plane.egress(NOW, frame).map(({ bytes }) => openMessage(sessionKeys("a").sendKey, bytes).text);
}

/** The packets that came out for a message of the peer. */
function received(plane: DrivenPlane, packet: Uint8Array): readonly Uint8Array[] {
  const { receiveKey, local } = sessionKeys("a");
  return plane.ingress(NOW, { from: B, local: A.address, bytes: sealMessage(receiveKey, local, 0n, packet) });
}

const syn = (options: Omit<TcpOptions, "flags" | "tcpOptions">, mss: number) =>
  tcp(new Uint8Array(0), { ...options, flags: SYN, tcpOptions: Uint8Array.of(2, 4, mss >> 8, mss) });

const sized = (bytes: number, fragmentField?: number) =>
  udp(counting(bytes - 28), fragmentField === undefined ? V4 : { ...V4, fragmentField });

/** TCP of IPv4 in segments whose packets are of `bytes` bytes. */
function superFrame(bytes: number, segments: number, options: Partial<TcpOptions> = {}): Uint8Array {
  const vnet = encodeVnet({
    needsChecksum: true,
    gsoType: 1,
    headerBytes: 40,
    gsoBytes: bytes - 40,
    checksumStart: 20,
    checksumOffset: 16,
  });
  return concatBytes(vnet, tcp(counting((bytes - 40) * segments), { ...V4, ...options }));
}

describe.each(PLANE_KINDS)("a path of 1240 bytes (%s)", (kind) => {
  it("TN-108: carries a packet of 1240 bytes; of one more its sender is told, and it does not leave", () => {
    const plane = planeOn(kind, { mtu: MTU });
    expect(sent(plane, frameOf(sized(MTU)))).toHaveLength(1);
    expect(plane.takePunts()).toEqual([]);
    const tooBig = sized(MTU + 1);
    expect(sent(plane, frameOf(tooBig))).toEqual([]);
    expect(plane.takePunts()).toEqual([{ reason: "too-big", slot: SLOT, packet: tooBig }]);
    expect(plane.tallies().egress.drops).toEqual({});
  });

  it("TN-108: a super-frame is judged by its largest segment, and one segment tells for all", () => {
    const plane = planeOn(kind, { mtu: MTU });
    expect(sent(plane, superFrame(MTU, 4))).toHaveLength(4);
    expect(sent(plane, superFrame(MTU + 1, 4))).toEqual([]);
    expect(plane.takePunts()).toMatchObject([{ reason: "too-big", packet: { length: MTU + 1 } }]);
    expect(plane.tallies().egress.drops).toEqual({ "path-too-big": 3 });
  });

  it("TN-108: one short segment of a frame with longer ones to come is not what is judged", () => {
    const plane = planeOn(kind, { mtu: MTU });
    // Less payload than one segment takes: a single packet of 140 bytes.
    const frame = concatBytes(superFrame(1280, 0).subarray(0, 10), tcp(counting(100), V4));
    expect(sent(plane, frame)).toHaveLength(1);
  });

  it("TN-108: beyond the budget of refusals nobody is told, and all is dropped", () => {
    const plane = planeOn(kind, { mtu: MTU });
    for (let i = 0; i < 201; i++) plane.egress(NOW, frameOf(sized(MTU + 1)));
    expect(plane.takePunts()).toHaveLength(200);
    expect(plane.tallies().egress.drops).toEqual({ "path-too-big": 1 });
  });

  it("TN-108: what may be cut up, or is of IPv6 and within 1280 bytes, leaves", () => {
    const plane = planeOn(kind, { mtu: MTU });
    expect(sent(plane, frameOf(sized(1280, NO_DF)))).toHaveLength(1);
    expect(sent(plane, superFrame(1280, 2, { fragmentField: NO_DF }))).toHaveLength(2);
    expect(sent(plane, frameOf(udp(counting(1280 - 48), V6)))).toHaveLength(1);
    expect(plane.takePunts()).toEqual([]);
  });

  it("TN-108, WG-46: a packet that does not fit does not wait for a session", () => {
    const plane = planeOn(kind, { mtu: MTU });
    plane.execute({ kind: "hold", slot: SLOT });
    plane.egress(NOW, frameOf(sized(MTU + 1)));
    plane.egress(NOW, frameOf(sized(MTU)));
    expect(plane.takePunts().map(({ reason }) => reason)).toEqual(["too-big", "no-session"]);
  });

  it("TN-121: where nobody cuts up outside, that goes to control as without session, and what follows behind it", () => {
    const plane = planeOn(kind, { mtu: MTU, isCutInside: true });
    const packets = [sized(1280, NO_DF), sized(100), udp(counting(1280 - 48), V6)];
    for (const packet of packets) expect(sent(plane, frameOf(packet))).toEqual([]);
    expect(plane.takePunts()).toEqual(
      packets.map((packet) => ({ reason: "no-session", slot: SLOT, packet })),
    );
    // Control has injected what came of it: what follows goes by itself again, whatever fits.
    plane.execute({ kind: "release", slot: SLOT, handled: 3 });
    expect(sent(plane, frameOf(sized(100)))).toEqual([sized(100)]);
    expect(sent(plane, frameOf(sized(MTU, NO_DF)))).toHaveLength(1);
    expect(sent(plane, frameOf(udp(counting(MTU - 48), V6)))).toHaveLength(1);
    expect(plane.takePunts()).toEqual([]);
    expect(plane.tallies().egress.drops).toEqual({});
  });

  it("TN-121: so does every segment of a super-frame; who can be told still is", () => {
    const plane = planeOn(kind, { mtu: MTU, isCutInside: true });
    expect(sent(plane, superFrame(1280, 4, { fragmentField: NO_DF }))).toEqual([]);
    const waiting = plane.takePunts();
    expect(waiting.map(({ reason, packet }) => [reason, packet.length])).toEqual(
      Array.from({ length: 4 }, () => ["no-session", 1280]),
    );
    plane.execute({ kind: "release", slot: SLOT, handled: 4 });
    expect(sent(plane, frameOf(sized(MTU + 1)))).toEqual([]);
    expect(plane.takePunts().map(({ reason }) => reason)).toEqual(["too-big"]);
    expect(sent(plane, frameOf(sized(MTU)))).toHaveLength(1);
  });

  it("TN-109: a SYN leaves with the MSS that fits, of either family", () => {
    const plane = planeOn(kind, { mtu: MTU });
    expect(sent(plane, frameOf(syn(V4, 1460)))).toEqual([syn(V4, MTU - 40)]);
    expect(sent(plane, frameOf(syn(V6, 1440)))).toEqual([syn(V6, MTU - 60)]);
  });

  it("TN-109: a SYN too long for the path that is sent all the same is lowered, too", () => {
    const plane = planeOn(kind, { mtu: MTU });
    const options = { ...V6, flags: SYN };
    const mss = (value: number) => Uint8Array.of(2, 4, value >> 8, value);
    const early = (value: number) => tcp(counting(1200), { ...options, tcpOptions: mss(value) });
    expect(sent(plane, frameOf(early(1440)))).toEqual([early(MTU - 60)]);
  });

  it("TN-109: so does one that control injects, and one that waited", () => {
    const plane = planeOn(kind, { mtu: MTU });
    plane.execute({ kind: "inject", slot: SLOT, packets: [syn(V4, 1460), sized(1280)] });
    const texts = plane.egress(NOW).map(({ bytes }) => openMessage(sessionKeys("a").sendKey, bytes).text);
    expect(texts).toEqual([syn(V4, MTU - 40), sized(1280)]);
    plane.execute({ kind: "hold", slot: SLOT });
    plane.egress(NOW, frameOf(syn(V4, 1460)));
    expect(plane.takePunts()).toEqual([{ reason: "no-session", slot: SLOT, packet: syn(V4, MTU - 40) }]);
  });

  it("TN-109: a SYN of the peer comes out with the MSS that fits", () => {
    const plane = planeOn(kind, { mtu: MTU });
    const back = (mss: number) => syn({ family: 4, source: V4.destination, destination: V4.source }, mss);
    expect(received(plane, back(1460))).toEqual([back(MTU - 40)]);
  });

  it("TN-109: a super-frame with SYN, which no stack makes, is left as it is", () => {
    const plane = planeOn(kind, { mtu: MTU });
    const tcpOptions = Uint8Array.of(2, 4, 5, 180);
    const vnet = superFrame(1000, 0).subarray(0, 10);
    const frame = concatBytes(vnet, tcp(counting(1500), { ...V4, flags: SYN, tcpOptions }));
    const [first] = sent(plane, frame);
    expect(first?.subarray(40, 44)).toEqual(tcpOptions);
  });

  it("TN-108, TN-109: without a limit nothing is judged and nothing changes", () => {
    const plane = planeOn(kind, {});
    expect(sent(plane, frameOf(sized(1280)))).toHaveLength(1);
    expect(sent(plane, frameOf(syn(V4, 1460)))).toEqual([syn(V4, 1460)]);
    setMtu(plane, MTU);
    expect(sent(plane, frameOf(sized(1280)))).toEqual([]);
    setMtu(plane, undefined);
    expect(sent(plane, frameOf(sized(1280)))).toHaveLength(1);
  });
});
