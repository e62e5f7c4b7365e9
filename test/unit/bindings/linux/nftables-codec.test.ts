import { describe, expect, it } from "vitest";
import {
  addIntervals,
  compare,
  countBy,
  deleteIntervals,
  isIn,
  loadMeta,
  loadPayload,
  type NftChange,
  newChain,
  newCounter,
  newRule,
  newTable,
  parseGeneration,
  toMessageBytes,
  transaction,
  verdict,
} from "../../../../bindings/linux/index.ts";
import { ip, toHex } from "../../../../src/base/index.ts";
import { hex } from "./hex.ts";

const REQUEST = 0x1;
const SET = { name: "n4", addressBytes: 4 } as const;
const NETWORK = { start: ip("172.20.0.0"), end: ip("172.21.0.0") };

/** What nft 1.0.6 sends for the same wish. */
const CHANGES: readonly { readonly command: string; readonly change: NftChange; readonly bytes: string }[] = [
  {
    command: "add table inet t { flags owner; }",
    change: newTable("t", true),
    bytes: `
      24000000 000a 0104 01000000 00000000 ; 36 bytes, NFT_MSG_NEWTABLE, create
      01 00 0000                           ; NFPROTO_INET
      0600 0100 74000000                   ; NFTA_TABLE_NAME "t", padded
      0800 0200 00000002                   ; NFTA_TABLE_FLAGS: owner`,
  },
  {
    command: "add counter inet t stopped",
    change: newCounter("t", "stopped"),
    bytes: `
      34000000 120a 0104 01000000 00000000 ; 52 bytes, NFT_MSG_NEWOBJ
      01 00 0000
      0600 0100 74000000
      0c00 0200 73746f7070656400           ; NFTA_OBJ_NAME "stopped"
      0800 0300 00000001                   ; NFTA_OBJ_TYPE counter
      0400 0480                            ; NFTA_OBJ_DATA, nested: from 0`,
  },
  {
    command: "add chain inet t output { type filter hook output priority 0; policy accept; }",
    change: newChain("t", "output", "output"),
    bytes: `
      50000000 030a 0104 01000000 00000000 ; 80 bytes, NFT_MSG_NEWCHAIN
      01 00 0000
      0600 0100 74000000
      0b00 0300 6f757470757400 00          ; NFTA_CHAIN_NAME "output"
      1400 0480                            ; NFTA_CHAIN_HOOK, nested
        0800 0100 00000003                 ; NFTA_HOOK_HOOKNUM output
        0800 0200 00000000                 ; NFTA_HOOK_PRIORITY 0
      0800 0500 00000001                   ; NFTA_CHAIN_POLICY accept
      0b00 0700 66696c74657200 00          ; NFTA_CHAIN_TYPE "filter"`,
  },
  {
    command: "add element inet t n4 { 172.20.0.0/16 }",
    change: addIntervals("t", SET, [NETWORK]),
    bytes: `
      50000000 0c0a 0104 01000000 00000000 ; 80 bytes, NFT_MSG_NEWSETELEM
      01 00 0000
      0600 0100 74000000
      0700 0200 6e340000                   ; NFTA_SET_ELEM_LIST_SET "n4"
      2c00 0380                            ; NFTA_SET_ELEM_LIST_ELEMENTS, nested
        1000 0180                          ; the first address
          0c00 0180 0800 0100 ac140000
        1800 0180                          ; the one behind the last
          0800 0300 00000001               ; NFT_SET_ELEM_INTERVAL_END
          0c00 0180 0800 0100 ac150000`,
  },
  {
    command: "add rule inet t leaving ip daddr @n4 counter name stopped drop",
    change: newRule("t", "leaving", [
      loadMeta("nfproto"),
      compare("=", new Uint8Array([2])),
      loadPayload("network", 16, 4),
      isIn(SET),
      countBy("stopped"),
      verdict("drop"),
    ]),
    bytes: `
      2c010000 060a 010c 01000000 00000000 ; 300 bytes, NFT_MSG_NEWRULE, create, append
      01 00 0000
      0600 0100 74000000
      0c00 0200 6c656176696e6700           ; NFTA_RULE_CHAIN "leaving"
      0401 0480                            ; NFTA_RULE_EXPRESSIONS, nested
        2400 0180 0900 0100 6d65746100 000000      ; "meta": the family into register 1
          1400 0280 0800 0200 0000000f 0800 0100 00000001
        2c00 0180 0800 0100 636d7000               ; "cmp": it is IPv4
          2000 0280 0800 0100 00000001 0800 0200 00000000
            0c00 0380 0500 0100 02000000
        3400 0180 0c00 0100 7061796c6f616400       ; "payload": the destination
          2400 0280 0800 0200 00000001 0800 0300 00000010 0800 0400 00000004
            0800 0100 00000001
        2400 0180 0b00 0100 6c6f6f6b757000 00      ; "lookup"
          1400 0280 0700 0100 6e340000 0800 0200 00000001
        2800 0180 0b00 0100 6f626a72656600 00      ; "objref": the counter
          1800 0280 0800 0100 00000001 0c00 0200 73746f7070656400 ; with its zero, unlike nft
        3000 0180 0e00 0100 696d6d65646961746500 0000 ; "immediate"
          1c00 0280 0800 0100 00000000 1000 0280 0c00 0280 0800 0100 00000000`,
  },
  {
    command: "add rule inet t output jump leaving",
    change: newRule("t", "output", [verdict({ jump: "leaving" })]),
    bytes: `
      68000000 060a 010c 01000000 00000000
      01 00 0000
      0600 0100 74000000
      0b00 0200 6f757470757400 00
      4000 0480
        3c00 0180 0e00 0100 696d6d65646961746500 0000
          2800 0280 0800 0100 00000000
            1c00 0280 1800 0280
              0800 0100 fffffffd                   ; NFT_JUMP
              0c00 0200 6c656176696e6700`,
  },
];

describe("nftables as netlink messages", () => {
  it.each(CHANGES)("PG-154: $command", ({ change, bytes }) => {
    expect(toHex(toMessageBytes(change.request, REQUEST | change.flags, 1))).toBe(toHex(hex(bytes)));
  });

  it("PG-154: an interval up to the last address of all has no end", () => {
    const whole = addIntervals("t", SET, [NETWORK]);
    const upTo = addIntervals("t", SET, [{ ...NETWORK, end: undefined }]);
    const lengthOf = ({ request }: NftChange) => toMessageBytes(request, 0, 0).length;
    expect(lengthOf(whole) - lengthOf(upTo)).toBe(24);
    const { type } = deleteIntervals("t", SET, [NETWORK]).request;
    expect(type).toBe(0x0a0e);
  });

  it("PG-154: a transaction stands between brackets that name the subsystem", () => {
    const [begin, , end] = transaction([newTable("t", true)]).map(({ request }) =>
      toHex(toMessageBytes(request, REQUEST, 1)),
    );
    expect(begin).toBe(toHex(hex("14000000 1000 0100 01000000 00000000 00 00 000a")));
    expect(end).toBe(toHex(hex("14000000 1100 0100 01000000 00000000 00 00 000a")));
  });

  it("PG-153: a generation is read, or told to be unreadable", () => {
    expect(parseGeneration(hex("00 00 0000 0800 0100 00010203"))).toBe(0x10203);
    for (const bytes of ["", "00 00", "00 00 0000", "00 00 0000 0600 0100 0001", "00 00 0000 0800 0100"]) {
      expect(parseGeneration(hex(bytes)), bytes).toBeUndefined();
    }
  });
});
