/** Packets for the plane's tests: well-formed ones by description, and hostile ones by chance. */

import { concatBytes } from "../../../src/base/index.ts";
import { checksumAdd, checksumFinish, pseudoHeaderSum } from "../../../src/packet/checksum.ts";
import fc from "../../lib/property.ts";

export interface FlowOptions {
  readonly family: 4 | 6;
  readonly source?: Uint8Array;
  readonly destination?: Uint8Array;
  readonly ports?: readonly [number, number];
  /** TOS or traffic class. */
  readonly tos?: number;
  readonly hops?: number;
  readonly flowLabel?: number;
  readonly identification?: number;
  /** Flags and fragment offset of IPv4; default DF. */
  readonly fragmentField?: number;
  /** IPv4 options, a multiple of 4 bytes. */
  readonly options?: Uint8Array;
}

export interface TcpOptions extends FlowOptions {
  readonly sequence?: number;
  readonly acknowledgment?: number;
  readonly flags?: number;
  readonly window?: number;
  /** TCP options, a multiple of 4 bytes. */
  readonly tcpOptions?: Uint8Array;
}

export function tcp(payload: Uint8Array, options: TcpOptions): Uint8Array<ArrayBuffer> {
  const extra = options.tcpOptions ?? new Uint8Array(0);
  const header = new Uint8Array(20 + extra.length);
  const view = new DataView(header.buffer);
  setPorts(view, options);
  view.setUint32(4, options.sequence ?? 0x01020304);
  view.setUint32(8, options.acknowledgment ?? 0x0a0b0c0d);
  view.setUint8(12, (header.length / 4) << 4);
  view.setUint8(13, options.flags ?? 0x10);
  view.setUint16(14, options.window ?? 501);
  header.set(extra, 20);
  return ipPacket(6, sealChecksum(concatBytes(header, payload), 6, 16, options), options);
}

export interface UdpOptions extends FlowOptions {
  readonly hasChecksum?: boolean;
}

export function udp(payload: Uint8Array, options: UdpOptions): Uint8Array<ArrayBuffer> {
  const transport = new Uint8Array(8 + payload.length);
  const view = new DataView(transport.buffer);
  setPorts(view, options);
  view.setUint16(4, transport.length);
  transport.set(payload, 8);
  if (options.hasChecksum === false) return ipPacket(17, transport, options);
  return ipPacket(17, sealChecksum(transport, 17, 6, options), options);
}

function setPorts(view: DataView, { ports }: FlowOptions): void {
  view.setUint16(0, ports?.[0] ?? 53780);
  view.setUint16(2, ports?.[1] ?? 80);
}

const addressesOf = (options: FlowOptions) => ({
  source: options.source ?? new Uint8Array(options.family === 4 ? 4 : 16).fill(10),
  destination: options.destination ?? new Uint8Array(options.family === 4 ? 4 : 16).fill(20),
});

function sealChecksum(
  transport: Uint8Array<ArrayBuffer>,
  protocol: number,
  field: number,
  options: FlowOptions,
): Uint8Array<ArrayBuffer> {
  const pseudo = pseudoHeaderSum({ ...addressesOf(options), protocol, lengthBytes: transport.length });
  const checksum = checksumFinish(checksumAdd(transport, pseudo));
  new DataView(transport.buffer).setUint16(field, checksum === 0 && protocol === 17 ? 0xffff : checksum);
  return transport;
}

/** An IP packet around a transport of any kind. */
export function ipPacket(
  protocol: number,
  transport: Uint8Array,
  options: FlowOptions,
): Uint8Array<ArrayBuffer> {
  const { source, destination } = addressesOf(options);
  if (options.family === 6) {
    const header = new Uint8Array(40);
    const view = new DataView(header.buffer);
    view.setUint32(0, (6 << 28) | ((options.tos ?? 0) << 20) | (options.flowLabel ?? 0));
    view.setUint16(4, transport.length);
    header.set([protocol, options.hops ?? 64], 6);
    header.set(source, 8);
    header.set(destination, 24);
    return concatBytes(header, transport);
  }
  const extra = options.options ?? new Uint8Array(0);
  const header = new Uint8Array(20 + extra.length);
  const view = new DataView(header.buffer);
  header.set([0x40 | (header.length / 4), options.tos ?? 0]);
  view.setUint16(2, header.length + transport.length);
  view.setUint16(4, options.identification ?? 0);
  view.setUint16(6, options.fragmentField ?? 0x4000);
  header.set([options.hops ?? 64, protocol], 8);
  header.set(source, 12);
  header.set(destination, 16);
  header.set(extra, 20);
  view.setUint16(10, checksumFinish(checksumAdd(header)));
  return concatBytes(header, transport);
}

/** The packet as fragments with `bytes` bytes of transport each, a multiple of 8; it has no options or extensions. */
export function fragmentsOf(
  packet: Uint8Array,
  bytes: number,
  identification = 0x1234,
): readonly Uint8Array<ArrayBuffer>[] {
  const family = (packet[0] ?? 0) >> 4 === 6 ? 6 : 4;
  const transport = packet.subarray(family === 6 ? 40 : 20);
  const [from, middle, to] = family === 6 ? [8, 24, 40] : [12, 16, 20];
  const ends = { family, source: packet.slice(from, middle), destination: packet.slice(middle, to) } as const;
  const protocol = packet[family === 6 ? 6 : 9] ?? 0;
  return Array.from({ length: Math.ceil(transport.length / bytes) }, (_, i) => {
    const part = transport.slice(i * bytes, (i + 1) * bytes);
    const isLast = (i + 1) * bytes >= transport.length;
    if (family === 4) {
      const fragmentField = (isLast ? 0 : 0x2000) | ((i * bytes) / 8);
      return ipPacket(protocol, part, { ...ends, identification, fragmentField });
    }
    const header = new DataView(new ArrayBuffer(8));
    header.setUint8(0, protocol);
    header.setUint16(2, i * bytes + (isLast ? 0 : 1));
    header.setUint32(4, identification);
    return ipPacket(44, concatBytes(new Uint8Array(header.buffer), part), ends);
  });
}

/** Bytes that count up from `start`: a payload in which a misplaced byte shows. */
export function counting(length: number, start = 0): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = start + i * 7 + (i >> 8);
  return bytes;
}

const flow = fc.record({
  family: fc.constantFrom(4 as const, 6 as const),
  tos: fc.nat(255),
  identification: fc.nat(65535),
  fragmentField: fc.constantFrom(0x4000, 0x4000, 0x4000, 0, 0x2000, 0x0001, 0x8000),
  options: fc.oneof(
    { weight: 3, arbitrary: fc.constant(new Uint8Array(0)) },
    { weight: 1, arbitrary: fc.uint8Array({ minLength: 40, maxLength: 40 }).map(optionList) },
  ),
});

/** Options among which lengths are small and source routes frequent. */
function optionList(noise: Uint8Array): Uint8Array {
  const kinds = [0, 1, 131, 137, 7, 68, 130];
  const bytes = noise.map((byte) => (byte < 128 ? (kinds[byte % kinds.length] ?? 1) : byte % 12));
  return bytes.subarray(0, ((noise[0] ?? 0) % 11) * 4);
}

/** Chains of extension headers, well-formed or nearly, in front of a transport. */
const extensions = fc.array(
  fc.record({
    kind: fc.constantFrom(0, 43, 44, 60, 60),
    units: fc.constantFrom(0, 0, 0, 1, 2, 31),
    last: fc.constantFrom(0, 0, 1),
    isHostile: fc.constantFrom(false, false, false, false, true),
  }),
  { maxLength: 10, size: "max" },
);

/** Packets of all kinds: right, cut, padded and with flipped bits. */
export const hostilePacket: fc.Arbitrary<Uint8Array> = fc
  .record({
    flow,
    chain: fc.oneof({ weight: 2, arbitrary: fc.constant([]) }, { weight: 1, arbitrary: extensions }),
    protocol: fc.constantFrom(1, 6, 6, 17, 17, 58, 50, 51, 59, 132, 255),
    transport: fc.uint8Array({ maxLength: 80, size: "max" }),
    isPlausible: fc.boolean(),
    flips: fc.oneof(
      { weight: 1, arbitrary: fc.constant([]) },
      { weight: 1, arbitrary: fc.array(fc.tuple(fc.nat(200), fc.nat(7)), { maxLength: 3 }) },
    ),
    cut: fc.constantFrom(0, 0, 0, 0, 0, 0, 0, 0, 1, 20),
    padding: fc.nat(17),
  })
  .map(({ flow, chain, protocol, transport, isPlausible, flips, cut, padding }) => {
    const inner = isPlausible ? plausible(transport, protocol) : transport;
    const [first, body] = flow.family === 6 ? chained(chain, protocol, inner) : [protocol, inner];
    const whole = ipPacket(first, body, flow);
    const bytes = concatBytes(
      whole.subarray(0, Math.max(0, whole.length - cut)),
      new Uint8Array(cut === 0 ? padding : 0),
    );
    for (const [at, bit] of flips) if (at < bytes.length) bytes[at] = (bytes[at] ?? 0) ^ (1 << bit);
    return bytes;
  });

/** Makes length fields right or wrong by one. */
function plausible(transport: Uint8Array, protocol: number): Uint8Array {
  const bytes = Uint8Array.from(transport);
  const spread = ((bytes[0] ?? 0) % 3) - 1;
  if (protocol === 17 && bytes.length >= 6) {
    bytes[4] = 0;
    bytes[5] = bytes.length + spread;
  }
  if (protocol === 6 && bytes.length >= 13) bytes[12] = ((bytes.length >> 2) + spread) << 4;
  if (protocol === 1 || protocol === 58) {
    if (bytes.length >= 2) bytes.set([[0, 8, 128, 129][(bytes[1] ?? 0) & 3] ?? 0, spread & 1]);
  }
  return bytes;
}

function chained(
  chain: readonly {
    readonly kind: number;
    readonly units: number;
    readonly last: number;
    readonly isHostile: boolean;
  }[],
  protocol: number,
  transport: Uint8Array,
): [number, Uint8Array] {
  let next = protocol;
  let body = transport;
  for (const { kind, units, last, isHostile } of [...chain].reverse()) {
    const header = new Uint8Array(kind === 44 ? 8 : 8 * (units + 1));
    header.set([next, isHostile ? 200 : units, 0, last]);
    body = concatBytes(header, body);
    next = kind;
  }
  return [next, body];
}
