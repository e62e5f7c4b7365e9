/** What a hostile program of the host may send to a sentinel (dns.md §17, hostile input). */
import { describe, expect, it } from "vitest";
import { concatBytes } from "../../../src/base/index.ts";
import { encodeQuery, parseMessage, TYPE } from "../../../src/dns/index.ts";
import { viewPacket } from "../../../src/packet/index.ts";
import { type TcpOptions, tcp } from "../plane/packets.ts";
import { nameOf } from "./octets.ts";
import { createWorld, OWN, SENTINEL } from "./resolver-world.ts";

const [SYN, ACK, PSH] = [0x02, 0x10, 0x08];
/** Behind an IPv4 header without options. */
const CHECKSUM_AT = 36;
type World = ReturnType<typeof createWorld>;

const ends = (port: number): Pick<TcpOptions, "family" | "source" | "destination" | "ports"> => ({
  ...{ family: 4, source: OWN.v4, destination: SENTINEL },
  ports: [port, 53],
});

/** The front end's first sequence number, from its answer to a SYN; `undefined`: it said nothing. */
function knock(world: World, port: number): number | undefined {
  const [answer] = world.give(tcp(new Uint8Array(0), { ...ends(port), flags: SYN, sequence: 1_000 }));
  if (answer === undefined) return undefined;
  const { transport } = viewPacket(answer);
  return new DataView(transport.buffer, transport.byteOffset).getUint32(4);
}

/** A connection by hand; what comes back for these octets, from the first sequence number on. */
function speak(world: World, port: number, pieces: readonly Uint8Array[]): Uint8Array {
  const theirs = knock(world, port);
  if (theirs === undefined) throw new Error("no answer to a SYN");
  const acknowledgment = (theirs + 1) >>> 0;
  world.give(tcp(new Uint8Array(0), { ...ends(port), flags: ACK, sequence: 1_001, acknowledgment }));
  let sequence = 1_001;
  let told: Uint8Array = new Uint8Array(0);
  for (const piece of pieces) {
    // The kernel hands over what it would have cut and summed up only later.
    const packet = tcp(piece, { ...ends(port), flags: ACK | PSH, sequence, acknowledgment });
    packet.fill(0, CHECKSUM_AT, CHECKSUM_AT + 2);
    sequence += piece.length;
    for (const back of world.give(packet)) {
      const { transport } = viewPacket(back);
      told = concatBytes(told, transport.subarray(((transport[12] ?? 0) >> 4) * 4));
    }
  }
  return told;
}

function framed(message: Uint8Array): Uint8Array {
  return concatBytes(Uint8Array.of(message.length >> 8, message.length & 0xff), message);
}

/** A query with so many octets that it need not have (DN-8). */
function padded(octets: number): Uint8Array {
  const query = encodeQuery({ id: 7, name: nameOf("wiki.corp"), type: TYPE.A });
  return concatBytes(query, new Uint8Array(octets - query.length));
}

function rcodeOf(stream: Uint8Array): number | string {
  const read = parseMessage(stream.subarray(2));
  return read.ok ? read.value.header.rcode : read.reason;
}

describe("a hostile program at a sentinel", () => {
  it("§17, DN-91: a flood of SYNs gets 256 answers, and is over 5 s later", () => {
    const world = createWorld();
    const answered = Array.from({ length: 5_000 }, (_, i) => knock(world, 1_024 + i)).filter(
      (sequence) => sequence !== undefined,
    );
    expect(answered).toHaveLength(256);
    expect(world.resolver.figures().present["tcp_connections"]).toBe(256);
    world.passTime(5_000);
    expect(world.resolver.figures().present["tcp_connections"]).toBe(0);
    expect(rcodeOf(speak(world, 9_999, [framed(padded(64))]))).toBe(0);
  });

  it("§17, DN-58: an offloaded segment of 60,000 octets, whose checksum nobody has finished", () => {
    expect(rcodeOf(speak(createWorld(), 40_000, [framed(padded(60_000))]))).toBe(0);
  });

  it("§17, DN-90: the longest message, in segments of one octet at first", () => {
    const message = framed(padded(65_535));
    const single = Array.from(message.subarray(0, 2_000), (octet) => Uint8Array.of(octet));
    const rest = Array.from({ length: 64 }, (_, i) => message.subarray(2_000 + i * 1_000, 3_000 + i * 1_000));
    expect(rcodeOf(speak(createWorld(), 40_000, [...single, ...rest]))).toBe(0);
  });
});
