/**
 * IP packets that a malicious peer, or a hostile process behind the TUN device, may make: addresses of
 * others, lengths that lie, fragments, chains of extension headers, source routes, ICMP errors, control
 * events; and runs of good TCP and UDP among them, so that super-frames are built and broken.
 */
import { concatBytes, ip } from "../../src/base/index.ts";
import { type FlowOptions, fragmentsOf, ipPacket, type TcpOptions, tcp, udp } from "../unit/plane/packets.ts";
import type { Chance } from "./chance.ts";

export interface InnerPacketOptions {
  /** Addresses that the sender may use, and those of others. */
  readonly own: readonly Uint8Array[];
  readonly foreign: readonly Uint8Array[];
  readonly destinations: readonly Uint8Array[];
  /** Largest payload of a good packet in bytes. */
  readonly payloadMax: number;
  /** Nothing of it is for control. */
  readonly isPassing?: boolean;
}

export interface InnerPackets {
  /** A packet of any kind. */
  hostile(): Uint8Array<ArrayBuffer>;
  /** A packet in which nothing is wrong. */
  good(): Uint8Array<ArrayBuffer>;
  /** The next packets of one flow, of equal length but the last; now and then something is wrong. */
  run(length: number): readonly Uint8Array<ArrayBuffer>[];
}

const ODD_ADDRESSES = [
  "0.0.0.0",
  "127.0.0.1",
  "224.0.0.251",
  "239.255.255.250",
  "255.255.255.255",
  "10.1.0.255",
  "10.1.200.1",
  "10.50.0.1",
  "10.60.0.1",
  "10.70.0.1",
  "10.80.0.1",
  "10.77.0.1",
  "::",
  "::1",
  "ff02::1",
  "fe80::1",
  "::ffff:10.2.0.1",
].map(ip);

/** Who makes the packets. */
interface Maker extends InnerPacketOptions {
  readonly chance: Chance;
  /** What is still to come of datagrams that have begun. */
  readonly fragments: Uint8Array<ArrayBuffer>[];
}

export function createInnerPackets(chance: Chance, options: InnerPacketOptions): InnerPackets {
  const maker: Maker = { ...options, chance, fragments: [] };
  return {
    hostile: () => hostile(maker),
    good: () => good(maker),
    run: (length) => run(maker, length),
  };
}

/** Source and destination of one family; one in four is none that the sender may use. */
function flow({ chance, own, foreign, destinations, isPassing }: Maker, isHonest: boolean): FlowOptions {
  const family = chance.pick([4, 6] as const);
  const ofFamily = (list: readonly Uint8Array[]) =>
    list.filter(({ length }) => length === (family === 4 ? 4 : 16));
  const isLying = !isHonest && chance.isOneIn(4);
  const any = [...own, ...foreign, ...destinations, ...ODD_ADDRESSES];
  const source = chance.pick(ofFamily(isLying ? any : own));
  const isAstray = !isHonest && chance.isOneIn(4);
  // One in sixteen is a land attack: both ends are the same.
  const destination =
    isAstray && chance.isOneIn(4) ? source : chance.pick(ofFamily(isAstray ? any : destinations));
  return {
    family,
    source,
    destination,
    tos: chance.pick([0, 0, 1, 2, 3, 0xb8, 0xba]),
    hops: chance.pick([64, 64, 1, 0, 255]),
    // Few, so that flows meet again; from 53 to 61,000 is for a client's resolver.
    ports: [chance.pick(isPassing ? [40_000] : [53, 40_000]), chance.pick([53, 61_000])],
  };
}

function payload({ chance, payloadMax }: Maker): Uint8Array<ArrayBuffer> {
  return chance.bytes(chance.pick([0, 1, 15, 16, 17, 64, 333, chance.below(payloadMax)]));
}

function good(maker: Maker): Uint8Array<ArrayBuffer> {
  const ends = flow(maker, true);
  return maker.chance.isOneIn(2) ? udp(payload(maker), ends) : tcp(payload(maker), ends);
}

function run(maker: Maker, length: number): readonly Uint8Array<ArrayBuffer>[] {
  const { chance, payloadMax } = maker;
  const ends = flow(maker, !chance.isOneIn(4));
  const bytes = chance.pick([1, 20, 100, 500, payloadMax]);
  const isTcp = !chance.isOneIn(3);
  const packets: Uint8Array<ArrayBuffer>[] = [];
  const first = chance.below(0xffff_ffff);
  for (let i = 0; i < length; i++) {
    const body = chance.bytes(i + 1 === length && chance.isOneIn(2) ? Math.ceil(bytes / 2) : bytes);
    const shared: TcpOptions = { ...ends, identification: (7 + i) & 0xffff };
    const sequence = (first + i * bytes) >>> 0;
    const packet = isTcp ? tcp(body, { ...shared, sequence }) : udp(body, shared);
    if (chance.isOneIn(12)) flip(chance, packet);
    packets.push(packet);
  }
  return packets;
}

function flip(chance: Chance, packet: Uint8Array): void {
  const at = chance.below(Math.min(packet.length, chance.pick([4, 44, 64, 1500])));
  packet[at] = (packet[at] ?? 0) ^ (1 << chance.below(8));
}

/** A transport with a length field that may lie, possibly behind IPv4 options or extension headers. */
function crooked(maker: Maker): Uint8Array<ArrayBuffer> {
  const { chance } = maker;
  const ends = {
    ...flow(maker, false),
    fragmentField: chance.pick([0x4000, 0x4000, 0, 0x2000, 1, 0x3fff, 0x8000]),
  };
  const protocol = chance.pick([1, 6, 6, 17, 17, 58, 50, 51, 59, 132, 255, chance.below(256)]);
  const transport = chance.bytes(chance.pick([0, 3, 7, 8, 9, 19, 20, 21, 60, 200]));
  if (protocol === 17 && transport.length >= 6) {
    const length = chance.pick([transport.length, transport.length + 1, transport.length - 1, 0, 7, 8]);
    transport.set([length >> 8, length & 255], 4);
  }
  if (protocol === 6 && transport.length >= 13) transport[12] = chance.pick([0x40, 0x50, 0x60, 0xf0]);
  if (ends.family === 4) return ipPacket(protocol, transport, { ...ends, options: optionList(chance) });
  const { first, bytes } = chained(chance, protocol, transport);
  return ipPacket(first, bytes, ends);
}

/** The beginning of a connection, with options in any place and of any length (TN-109). */
function syn(maker: Maker): Uint8Array<ArrayBuffer> {
  const { chance } = maker;
  const list: number[] = [];
  const length = 4 * chance.pick([0, 1, 2, 5, 10]);
  while (list.length < length) {
    const kind = chance.pick([1, 1, 2, 2, 3, 4, 8, chance.below(256)]);
    list.push(kind);
    if (kind !== 1)
      list.push(chance.pick([4, 4, 4, 2, 3, 10, 0, 1, 255]), chance.below(8), chance.below(256));
  }
  const tcpOptions = Uint8Array.from(list.slice(0, length));
  return tcp(chance.bytes(chance.pick([0, 0, 700])), {
    ...flow(maker, !chance.isOneIn(4)),
    flags: chance.pick([0x02, 0x12, 0xc2]),
    tcpOptions,
  });
}

/** IPv4 options: loose and strict source routes at honest places, and lists that are malformed. */
function optionList(chance: Chance): Uint8Array {
  const list: number[] = [];
  const length = 4 * chance.pick([0, 0, 0, 1, 2, 10]);
  while (list.length < length) {
    const kind = chance.pick([0, 1, 1, 7, 68, 130, 131, 137, 148]);
    list.push(kind);
    if (kind > 1) list.push(chance.pick([0, 1, 2, 3, 4, 8, 11, 255]), chance.below(256));
  }
  return Uint8Array.from(list.slice(0, length));
}

/** The transport behind a chain of extension headers. */
function chained(
  chance: Chance,
  protocol: number,
  transport: Uint8Array,
): { first: number; bytes: Uint8Array } {
  let next = protocol;
  let bytes = transport;
  const count = chance.pick([0, 0, 1, 2, 7, 8, 9]);
  for (let i = 0; i < count; i++) {
    const kind = i === count - 1 ? chance.pick([0, 43, 44, 60]) : chance.pick([43, 44, 60, 60, 60, 0]);
    const units = kind === 44 ? 0 : chance.pick([0, 0, 1, 3]);
    const header = chance.bytes(8 * (units + 1));
    header.set([next, chance.isOneIn(8) ? 255 : units, 0, chance.pick([0, 0, 0, 1])]);
    bytes = concatBytes(header, bytes);
    next = kind;
  }
  return { first: next, bytes };
}

/** ICMP of every type, errors among them with quotes that are cut or about somebody else's packet. */
function icmp(maker: Maker): Uint8Array<ArrayBuffer> {
  const { chance } = maker;
  const ends = flow(maker, false);
  const isV4 = ends.family === 4;
  const type = isV4 ? chance.pick([0, 3, 4, 5, 8, 11, 12, 13]) : chance.pick([1, 2, 3, 4, 128, 129, 135]);
  const quoted = chance.isOneIn(3) ? good(maker) : quoteOf(chance, ends);
  const quote = chance.isOneIn(2) ? quoted : quoted.subarray(0, chance.below(quoted.length + 1));
  const message = concatBytes(
    Uint8Array.from([type, chance.pick([0, 1, 2, 3, 13]), 0, 0, 0, 0, 0, 0]),
    quote,
  );
  return ipPacket(isV4 ? 1 : 58, message.subarray(0, 600), ends);
}

/** What the receiver of a packet between these ends may have sent. */
function quoteOf(chance: Chance, { family, source, destination }: FlowOptions): Uint8Array {
  const back = { family, source: destination, destination: source } as FlowOptions;
  return chance.isOneIn(2) ? udp(chance.bytes(20), back) : tcp(chance.bytes(20), back);
}

/** What only the program itself may make (TN-40), and what nearly is that. */
function controlEvent({ chance }: Maker): Uint8Array<ArrayBuffer> {
  const nothing = new Uint8Array(16);
  const almost = Uint8Array.from(nothing, (_, i) => (i === 15 ? 1 : 0));
  const source = chance.pick([nothing, nothing, nothing, almost]);
  const body = concatBytes(Uint8Array.from([chance.below(4)]), chance.bytes(chance.below(40)));
  const { first, bytes } = chance.isOneIn(3) ? chained(chance, 255, body) : { first: 255, bytes: body };
  return ipPacket(first, bytes, { family: 6, source, destination: nothing });
}

/** The next fragment of a datagram, in most cases the one behind that before. */
function fragment(maker: Maker): Uint8Array<ArrayBuffer> {
  const { chance, fragments } = maker;
  if (fragments.length === 0 || chance.isOneIn(8)) {
    const packet = chance.isOneIn(4)
      ? tcp(chance.bytes(200), flow(maker, true))
      : udp(chance.bytes(200), flow(maker, true));
    fragments.push(...fragmentsOf(packet, chance.pick([64, 104]), chance.below(4)));
  }
  const [next = good(maker)] = fragments.splice(chance.isOneIn(6) ? chance.below(fragments.length) : 0, 1);
  return next;
}

function hostile(maker: Maker): Uint8Array<ArrayBuffer> {
  const { chance } = maker;
  if (chance.isOneIn(6)) return fragment(maker);
  const packet = chance.pick([good, crooked, crooked, icmp, controlEvent, syn, good])(maker);
  const damage = chance.below(8);
  if (damage === 0) flip(chance, packet);
  if (damage === 1) return packet.slice(0, chance.below(packet.length + 1));
  if (damage === 2) return concatBytes(packet, chance.bytes(chance.between(1, 20)));
  if (damage === 3 && chance.isOneIn(4)) return chance.bytes(chance.below(200));
  return packet;
}
