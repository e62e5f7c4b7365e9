import { complement, fold, pseudoSum, sum, updated, word } from "../packet/checksum";
import { innerEcn, mergeEcn } from "../packet/ecn";
import { WALK_FRAGMENT, WALK_MALFORMED, walkExtensions, walkOffset, walkProtocol } from "../packet/extension";

const PACKET = memory.data(128, 16);

/** The IPv4 header of RFC 1071's kind: 20 bytes with checksum 0xb861. */
function prepareHeader(): void {
  const bytes: StaticArray<u8> = [
    0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0x00, 0x01, 0xc0,
    0xa8, 0x00, 0xc7,
  ];
  memory.copy(PACKET, changetype<usize>(bytes), 20);
}

describe("checksum", () => {
  test("RFC 1071: a header with its checksum sums to 0xffff, and without it gives the checksum", () => {
    prepareHeader();
    expect(fold(sum(PACKET, 20))).toBe(0xffff);
    store<u16>(PACKET, 0, 10);
    expect(complement(sum(PACKET, 20))).toBe(0x61b8, "as loaded little-endian");
  });

  test("the pseudo-header adds addresses, protocol and length", () => {
    prepareHeader();
    const expected = sum(PACKET + 12, 8) + word(17) + word(0x5f);
    expect(fold(pseudoSum(PACKET, false, 17, 0x5f))).toBe(fold(expected));
  });

  test("TN-9: an update gives what computing anew gives", () => {
    prepareHeader();
    const before = sum(PACKET + 8, 2);
    store<u8>(PACKET, 0x3f, 8);
    const checksum = updated(<u32>load<u16>(PACKET, 10), before, sum(PACKET + 8, 2));
    store<u16>(PACKET, 0, 10);
    expect(checksum).toBe(complement(sum(PACKET, 20)));
  });
});

describe("ECN", () => {
  test("TN-11: outer CE marks an ECT packet and keeps its checksum right; Not-ECT stays", () => {
    for (let ecn: u8 = 0; ecn < 4; ecn++) {
      prepareHeader();
      store<u8>(PACKET, ecn, 1);
      store<u16>(PACKET, 0, 10);
      store<u16>(PACKET, <u16>complement(sum(PACKET, 20)), 10);
      mergeEcn(PACKET, 3);
      expect(innerEcn(PACKET)).toBe(ecn == 0 ? 0 : 3);
      expect(fold(sum(PACKET, 20))).toBe(0xffff);
    }
  });
});

describe("IPv6 extension headers", () => {
  test("TN-3 row 7: destination options lead to UDP, and are refused when cut", () => {
    memory.fill(PACKET, 0, 128);
    store<u8>(PACKET, 60, 6);
    store<u8>(PACKET, 17, 40);
    const walk = walkExtensions(PACKET, 48);
    expect(walkOffset(walk)).toBe(48);
    expect(walkProtocol(walk)).toBe(17);
    expect(walkExtensions(PACKET, 47)).toBe(WALK_MALFORMED);
  });

  test("TN-3 row 9: an atomic fragment is walked through, another one ends the walk", () => {
    memory.fill(PACKET, 0, 128);
    store<u8>(PACKET, 44, 6);
    store<u8>(PACKET, 17, 40);
    expect(walkExtensions(PACKET, 48) & WALK_FRAGMENT).toBe(0);
    store<u8>(PACKET, 1, 43);
    expect(walkExtensions(PACKET, 48) & WALK_FRAGMENT).toBe(WALK_FRAGMENT);
  });
});
