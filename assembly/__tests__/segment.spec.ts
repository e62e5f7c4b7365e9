import { Ip4, Tcp } from "../header";
import { COALESCE_TCP, Coalesce, Drop, Packet, Split, VNET_HEADER_BYTES } from "../layout";
import { complement, fold, pseudoSum, sum } from "../packet/checksum";
import { be16, validate } from "../packet/ip";
import {
  coalesceAccept,
  coalesceBegin,
  coalesceClose,
  coalesceInit,
  coalesceTarget,
} from "../segment/coalesce";
import { splitBegin, splitNext } from "../segment/split";
import {
  GSO_TCP4,
  VNET_CSUM_OFFSET,
  VNET_CSUM_START,
  VNET_FLAGS,
  VNET_GSO_SIZE,
  VNET_GSO_TYPE,
  VNET_NEEDS_CSUM,
} from "../segment/vnet";
import { emptyPlane, FREE } from "./world";

const FRAME: usize = FREE + 16;
const FOUND: usize = FREE + 0x2000;
const SPLIT: usize = FREE + 0x2100;
const COALESCE: usize = FREE + 0x3000;
/** Two halves, above as-pect's own memory. */
const ARENA: usize = 0x800000;
const HALF_BYTES: u32 = 0x20000;
const HEADER: u32 = 40;
const GSO: u32 = 100;
const PAYLOAD: u32 = 350;
const PACKET: usize = FRAME + <usize>VNET_HEADER_BYTES;

/** A TSO frame: 350 bytes from 10.0.0.1 to 10.0.0.2 in segments of 100, checksums left to the plane. */
function tcpFrame(): void {
  emptyPlane();
  store<u8>(FRAME, VNET_NEEDS_CSUM, VNET_FLAGS);
  store<u8>(FRAME, <u8>GSO_TCP4, VNET_GSO_TYPE);
  store<u16>(FRAME, <u16>GSO, VNET_GSO_SIZE);
  store<u16>(FRAME, <u16>Ip4.BYTES, VNET_CSUM_START);
  store<u16>(FRAME, <u16>Tcp.CHECKSUM, VNET_CSUM_OFFSET);
  store<u8>(PACKET, 0x45);
  store<u16>(PACKET, bswap<u16>(<u16>(HEADER + PAYLOAD)), Ip4.TOTAL_BYTES);
  store<u16>(PACKET, bswap<u16>(0x1234), Ip4.IDENTIFICATION);
  store<u8>(PACKET, 64, 8);
  store<u8>(PACKET, 6, Ip4.PROTOCOL);
  store<u32>(PACKET, 0x0100000a, Ip4.SOURCE);
  store<u32>(PACKET, 0x0200000a, Ip4.DESTINATION);
  const transport = PACKET + <usize>Ip4.BYTES;
  store<u32>(transport, bswap<u32>(1000), Tcp.SEQUENCE);
  store<u8>(transport, 0x50, Tcp.DATA_OFFSET);
  store<u8>(transport, <u8>(Tcp.ACK | Tcp.PSH), Tcp.FLAGS);
  for (let i: u32 = 0; i < PAYLOAD; i++) store<u8>(PACKET + <usize>(HEADER + i), <u8>(i * 7));
}

function split(limit: u32): i32 {
  const bytes = VNET_HEADER_BYTES + HEADER + PAYLOAD;
  return splitBegin(FRAME, bytes, limit, true, FOUND, SPLIT);
}

/** Whether the checksums of the packet's IP and TCP headers are right. */
function areRight(packet: usize, total: u32): bool {
  const bytes = total - Ip4.BYTES;
  if (fold(sum(packet, Ip4.BYTES)) != 0xffff) return false;
  return fold(pseudoSum(packet, false, 6, bytes) + sum(packet + <usize>Ip4.BYTES, bytes)) == 0xffff;
}

describe("splitting a super-frame", () => {
  test("PF-32: every segment is a packet of its own, with lengths, numbers and checksums made anew", () => {
    tcpFrame();
    expect(split(1420)).toBe(4);
    for (let i: u32 = 0; i < 4; i++) {
      const packet = splitNext(SPLIT);
      const bytes = load<u32>(SPLIT, Split.SEGMENT_BYTES);
      expect(bytes).toBe(HEADER + (i == 3 ? 50 : GSO));
      expect(be16(packet + Ip4.TOTAL_BYTES)).toBe(bytes);
      expect(be16(packet + Ip4.IDENTIFICATION)).toBe(0x1234 + i);
      const transport = packet + <usize>Ip4.BYTES;
      expect(bswap<u32>(load<u32>(transport, Tcp.SEQUENCE))).toBe(1000 + i * GSO);
      expect(<u32>load<u8>(transport, Tcp.FLAGS)).toBe(i == 3 ? Tcp.ACK | Tcp.PSH : Tcp.ACK);
      expect(load<u8>(packet + <usize>HEADER)).toBe(<u8>(i * GSO * 7));
      expect(areRight(packet, bytes)).toBe(true);
    }
    expect(splitNext(SPLIT)).toBe(0);
  });

  test("TN-3 row 4: a frame whose segments are too long is refused as a whole, by one byte", () => {
    tcpFrame();
    expect(split(HEADER + GSO)).toBe(4);
    tcpFrame();
    expect(split(HEADER + GSO - 1)).toBe(-Drop.IP_TOO_BIG);
    expect(splitNext(SPLIT)).toBe(0);
  });

  test("PF-31: a header that contradicts the packet is refused", () => {
    tcpFrame();
    store<u16>(FRAME, 0, VNET_GSO_SIZE);
    expect(split(1420)).toBe(-Drop.TUN_HEADER);
    tcpFrame();
    store<u8>(FRAME, 3, VNET_GSO_TYPE);
    expect(split(1420)).toBe(-Drop.TUN_GSO_TYPE);
  });
});

/** Opens the segment at `packet` to where coalescing wants it, and describes it. */
function receive(packet: usize, bytes: u32): void {
  const target = coalesceTarget(COALESCE, bytes);
  memory.copy(target, packet, <usize>bytes);
  expect(validate(target, bytes, 1420, true, FOUND)).toBe(<i32>bytes);
  coalesceAccept(COALESCE, FOUND);
}

describe("coalescing what was split", () => {
  test("PF-56: the segments become the super-frame again, its last byte included", () => {
    tcpFrame();
    coalesceInit(COALESCE, ARENA, HALF_BYTES * 2, COALESCE_TCP);
    split(1420);
    for (let i: u32 = 0; i < 4; i++) {
      const packet = splitNext(SPLIT);
      receive(packet, load<u32>(SPLIT, Split.SEGMENT_BYTES));
    }
    expect(coalesceClose(COALESCE)).toBe(1);
    expect(load<u32>(COALESCE, Coalesce.LIST_SEGMENTS)).toBe(4);
    expect(load<u32>(COALESCE, Coalesce.LIST_BYTES)).toBe(VNET_HEADER_BYTES + HEADER + PAYLOAD);
    const frame = load<usize>(COALESCE, Coalesce.LIST_ADDRESS);
    expect(<u32>load<u16>(frame, VNET_GSO_SIZE)).toBe(GSO);
    const packet = frame + <usize>VNET_HEADER_BYTES;
    expect(be16(packet + Ip4.TOTAL_BYTES)).toBe(HEADER + PAYLOAD);
    expect(be16(packet + Ip4.IDENTIFICATION)).toBe(0x1234);
    for (let i: u32 = 0; i < PAYLOAD; i++) {
      expect(load<u8>(packet + <usize>(HEADER + i))).toBe(<u8>(i * 7));
    }
  });

  test("PF-57: a segment that does not follow begins a frame of its own, in order", () => {
    tcpFrame();
    coalesceInit(COALESCE, ARENA, HALF_BYTES * 2, COALESCE_TCP);
    split(1420);
    const first = splitNext(SPLIT);
    receive(first, HEADER + GSO);
    splitNext(SPLIT);
    const third = splitNext(SPLIT);
    receive(third, HEADER + GSO);
    expect(coalesceClose(COALESCE)).toBe(2);
    expect(load<u32>(COALESCE, Coalesce.LIST_SEGMENTS)).toBe(1);
    const frame = load<usize>(COALESCE, Coalesce.LIST_ADDRESS + 4);
    const transport = frame + <usize>(VNET_HEADER_BYTES + Ip4.BYTES);
    expect(bswap<u32>(load<u32>(transport, Tcp.SEQUENCE))).toBe(1000 + 2 * GSO);
  });

  test("PF-62: a corrupted segment is passed on as it is, and blessed by nothing", () => {
    tcpFrame();
    coalesceInit(COALESCE, ARENA, HALF_BYTES * 2, COALESCE_TCP);
    split(1420);
    const first = splitNext(SPLIT);
    receive(first, HEADER + GSO);
    const second = splitNext(SPLIT);
    store<u8>(second, ~load<u8>(second, 139), 139);
    receive(second, HEADER + GSO);
    expect(coalesceClose(COALESCE)).toBe(2);
    const frame = load<usize>(COALESCE, Coalesce.LIST_ADDRESS + 4);
    expect(areRight(frame + <usize>VNET_HEADER_BYTES, HEADER + GSO)).toBe(false);
  });

  test("PF-56: a batch that begins again keeps the frame under construction", () => {
    tcpFrame();
    coalesceInit(COALESCE, ARENA, HALF_BYTES * 2, COALESCE_TCP);
    split(1420);
    for (let i: u32 = 0; i < 4; i++) {
      const packet = splitNext(SPLIT);
      receive(packet, load<u32>(SPLIT, Split.SEGMENT_BYTES));
      if (i < 3) expect(load<u32>(COALESCE, Coalesce.COUNT)).toBe(0);
      if (i == 1) coalesceBegin(COALESCE);
    }
    expect(load<u32>(COALESCE, Coalesce.LIST_SEGMENTS)).toBe(4);
    expect(load<u32>(FOUND, Packet.TOTAL_BYTES)).toBe(HEADER + 50);
    expect(complement(0)).toBe(0xffff);
  });
});
