/**
 * The readable twin of `assembly/segment/coalesce.ts`: packets are kept as they came, and a frame is
 * made from them when it is finished.
 */
import { concatBytes, equalBytes } from "../../../src/base/index.ts";
import { checksumAdd, checksumFinish } from "../../../src/packet/checksum.ts";
import { type PacketDescriptor, PROTOCOL, parsePacket } from "../../../src/packet/ip.ts";
import { encodeVnet, pseudoSumOf, setU16 } from "./split.ts";

export interface Features {
  readonly tcp: boolean;
  readonly udp: boolean;
}

/** What is written to the TUN device: virtio header and packet, and how many packets it stands for. */
export interface Frame {
  readonly bytes: Uint8Array;
  readonly segments: number;
}

export interface Coalescer {
  /** A packet that validation accepted, without padding. */
  accept(packet: Uint8Array): void;
  close(): void;
  /** Finished frames in their order. */
  readonly frames: Frame[];
}

const SEGMENTS_MAX = 64;
const BYTES_MAX = 65_535;

interface Segment extends PacketDescriptor {
  readonly packet: Uint8Array;
  readonly headerBytes: number;
  readonly payload: Uint8Array;
}

export function createCoalescer(features: Features): Coalescer {
  const frames: Frame[] = [];
  let run: Segment[] = [];
  const close = (): void => {
    if (run.length > 0) frames.push({ bytes: encodeRun(run), segments: run.length });
    run = [];
  };
  return {
    frames,
    close,
    accept(packet) {
      const segment = readSegment(packet);
      const isMergeable = segment !== undefined && isAllowed(segment, features) && areChecksumsRight(segment);
      const first = run[0];
      if (isMergeable && first !== undefined && continuesRun(run, segment)) {
        run.push(segment);
        const isShort = segment.payload.length < first.payload.length;
        if (isShort || hasPush(segment) || run.length === SEGMENTS_MAX) close();
        return;
      }
      close();
      if (isMergeable && !hasPush(segment)) run = [segment];
      else frames.push({ bytes: concatBytes(plainVnet(0), packet), segments: 1 });
    },
  };
}

/** A TCP or UDP packet with payload that may stand in a super-frame; `undefined` for all others. */
function readSegment(packet: Uint8Array): Segment | undefined {
  const result = parsePacket(packet, { limitBytes: BYTES_MAX, mode: "plain" });
  if (!result.ok) throw new Error("only validated packets are accepted");
  const found = result.value;
  const transport = packet.subarray(found.transportOffset);
  if (found.isFragment || found.transportOffset !== (found.family === 4 ? 20 : 40)) return undefined;
  let transportHeaderBytes: number;
  if (found.protocol === PROTOCOL.tcp) {
    if (((transport[13] ?? 0) & ~0x08) !== 0x10) return undefined;
    transportHeaderBytes = ((transport[12] ?? 0) >> 4) * 4;
  } else if (found.protocol === PROTOCOL.udp) {
    if (u16(transport, 4) !== transport.length || u16(transport, 6) === 0) return undefined;
    transportHeaderBytes = 8;
  } else {
    return undefined;
  }
  const headerBytes = found.transportOffset + transportHeaderBytes;
  const payload = packet.subarray(headerBytes);
  return payload.length === 0 ? undefined : { ...found, packet, headerBytes, payload };
}

function isAllowed({ protocol }: Segment, features: Features): boolean {
  return protocol === PROTOCOL.tcp ? features.tcp : features.udp;
}

function areChecksumsRight({ packet, family, protocol, transportOffset }: Segment): boolean {
  if (family === 4 && checksumAdd(packet.subarray(0, 20)) !== 0xffff) return false;
  const transport = packet.subarray(transportOffset);
  return checksumAdd(transport, pseudoSumOf(packet, transport.length, protocol)) === 0xffff;
}

function hasPush({ protocol, packet, transportOffset }: Segment): boolean {
  return protocol === PROTOCOL.tcp && ((packet[transportOffset + 13] ?? 0) & 0x08) !== 0;
}

/** PF-57: what must agree is what is left when everything that may differ has been blanked. */
function continuesRun(run: readonly Segment[], segment: Segment): boolean {
  const first = run[0];
  const last = run.at(-1);
  if (first === undefined || last === undefined) return false;
  if (segment.family !== first.family || segment.protocol !== first.protocol) return false;
  if (segment.payload.length > first.payload.length) return false;
  const payloadBytes = run.reduce((sum, { payload }) => sum + payload.length, segment.payload.length);
  if (first.headerBytes + payloadBytes > BYTES_MAX) return false;
  if (!equalBytes(blanked(first), blanked(segment))) return false;
  if (segment.family === 4 && !isNextIdentification(last.packet, segment.packet)) return false;
  return (
    segment.protocol !== PROTOCOL.tcp || sequence(segment) === (sequence(last) + last.payload.length) >>> 0
  );
}

/** The headers without lengths, identification, checksums, sequence number, PSH and window. */
function blanked({ packet, headerBytes, family, protocol, transportOffset }: Segment): Uint8Array {
  const header = packet.slice(0, headerBytes);
  if (family === 4) {
    header.fill(0, 2, 6);
    header.fill(0, 10, 12);
  } else {
    header.fill(0, 4, 6);
  }
  const transport = header.subarray(transportOffset);
  if (protocol === PROTOCOL.udp) {
    transport.fill(0, 4, 8);
  } else {
    transport.fill(0, 4, 8);
    transport[13] = (transport[13] ?? 0) & ~0x08;
    transport.fill(0, 14, 20);
  }
  return header;
}

function isNextIdentification(last: Uint8Array, next: Uint8Array): boolean {
  const isDontFragment = ((next[6] ?? 0) & 0x40) !== 0;
  return isDontFragment || u16(next, 4) === ((u16(last, 4) + 1) & 0xffff);
}

function sequence({ packet, transportOffset }: Segment): number {
  return ((u16(packet, transportOffset + 4) << 16) | u16(packet, transportOffset + 6)) >>> 0;
}

const plainVnet = (flags: number): Uint8Array => Uint8Array.of(flags, 0, 0, 0, 0, 0, 0, 0, 0, 0);
const DATA_VALID = 2;

/** Segments as the kernel wants a super-frame written (PF-33). */
function encodeRun(run: readonly Segment[]): Uint8Array {
  const first = run[0];
  if (first === undefined) throw new Error("an empty run");
  if (run.length === 1) return concatBytes(plainVnet(DATA_VALID), first.packet);
  const { family, protocol, transportOffset, headerBytes } = first;
  const isUdp = protocol === PROTOCOL.udp;
  const packet = concatBytes(first.packet.subarray(0, headerBytes), ...run.map(({ payload }) => payload));
  const transport = packet.subarray(transportOffset);
  if (!isUdp && run.some(hasPush)) transport[13] = (transport[13] ?? 0) | 0x08;
  if (family === 6) {
    setU16(packet, 4, packet.length - 40);
  } else {
    setU16(packet, 2, packet.length);
    setU16(packet, 10, 0);
    setU16(packet, 10, checksumFinish(checksumAdd(packet.subarray(0, 20))));
  }
  if (isUdp) setU16(transport, 4, transport.length);
  setU16(transport, isUdp ? 6 : 16, pseudoSumOf(packet, transport.length, protocol));
  const vnet = encodeVnet({
    needsChecksum: true,
    gsoType: isUdp ? 5 : family === 6 ? 4 : 1,
    headerBytes,
    gsoBytes: first.payload.length,
    checksumStart: transportOffset,
    checksumOffset: isUdp ? 6 : 16,
  });
  return concatBytes(vnet, packet);
}

function u16(bytes: Uint8Array, offset: number): number {
  return ((bytes[offset] ?? 0) << 8) | (bytes[offset + 1] ?? 0);
}
