/**
 * Tables of nftables as netlink messages: the few kinds of chains, sets and expressions that our own tables
 * need. Pure. Numbers in attributes are big-endian, unlike rtnetlink's.
 *
 * An expression loads something into the one register that we use, or looks at what was loaded; the first
 * that does not match ends its rule.
 */
import type { IpAddress } from "../../src/base/index.ts";
import { NLM_F_APPEND, NLM_F_CREATE } from "./netlink-constants.ts";
import { type Attribute, fromText, type NetlinkRequest, parseAttributes } from "./netlink-message.ts";
import * as N from "./nftables-constants.ts";

/** A part of a transaction. */
export interface NftChange {
  readonly request: NetlinkRequest;
  readonly flags: number;
}

/** Where a chain is called; a chain without it is jumped to. */
export type NftHook = "forward" | "output";

export interface NftSet {
  readonly name: string;
  /** 4: IPv4 addresses, 16: IPv6. */
  readonly addressBytes: 4 | 16;
}

/** Addresses from `start` on, up to the one before `end`; without an end up to the last of all. */
export interface NftInterval {
  readonly start: IpAddress;
  readonly end: IpAddress | undefined;
}

/** One step of a rule: its name and its attributes. */
export interface NftExpression {
  readonly name: string;
  readonly attributes: readonly Attribute[];
}

/** @param isOwned the table goes when the socket that made it closes, and is nobody else's to change */
export function newTable(table: string, isOwned: boolean): NftChange {
  const flags = { type: N.NFTA_TABLE_FLAGS, value: fromBe32(N.NFT_TABLE_F_OWNER) };
  return change(N.NFT_MSG_NEWTABLE, NLM_F_CREATE, table, isOwned ? [flags] : []);
}

export function deleteTable(table: string): NftChange {
  return change(N.NFT_MSG_DELTABLE, 0, table, []);
}

/** A chain of filter rules that accepts by default, at priority 0. */
export function newChain(table: string, name: string, hook?: NftHook): NftChange {
  return change(N.NFT_MSG_NEWCHAIN, NLM_F_CREATE, table, [
    { type: N.NFTA_CHAIN_NAME, value: fromText(name) },
    ...(hook === undefined ? [] : hookAttributes(hook)),
  ]);
}

function hookAttributes(hook: NftHook): readonly Attribute[] {
  const number = hook === "forward" ? N.NF_INET_FORWARD : N.NF_INET_LOCAL_OUT;
  const place = [
    { type: N.NFTA_HOOK_HOOKNUM, value: fromBe32(number) },
    { type: N.NFTA_HOOK_PRIORITY, value: fromBe32(0) },
  ];
  return [
    { type: N.NFTA_CHAIN_HOOK, value: place },
    { type: N.NFTA_CHAIN_POLICY, value: fromBe32(N.NF_ACCEPT) },
    { type: N.NFTA_CHAIN_TYPE, value: fromText("filter") },
  ];
}

/** Appends a rule. */
export function newRule(table: string, chain: string, expressions: readonly NftExpression[]): NftChange {
  const list = expressions.map(({ name, attributes }) => ({
    type: N.NFTA_LIST_ELEM,
    value: [
      { type: N.NFTA_EXPR_NAME, value: fromText(name) },
      { type: N.NFTA_EXPR_DATA, value: attributes },
    ],
  }));
  return change(N.NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, table, [
    { type: N.NFTA_RULE_CHAIN, value: fromText(chain) },
    { type: N.NFTA_RULE_EXPRESSIONS, value: list },
  ]);
}

export function newCounter(table: string, name: string): NftChange {
  return change(N.NFT_MSG_NEWOBJ, NLM_F_CREATE, table, [
    { type: N.NFTA_OBJ_NAME, value: fromText(name) },
    { type: N.NFTA_OBJ_TYPE, value: fromBe32(N.NFT_OBJECT_COUNTER) },
    { type: N.NFTA_OBJ_DATA, value: [] },
  ]);
}

/** @param id a number of its own within the transaction */
export function newSet(table: string, { name, addressBytes }: NftSet, id: number): NftChange {
  const keyType = addressBytes === 4 ? N.NFT_TYPE_IPV4_ADDR : N.NFT_TYPE_IPV6_ADDR;
  return change(N.NFT_MSG_NEWSET, NLM_F_CREATE, table, [
    { type: N.NFTA_SET_NAME, value: fromText(name) },
    { type: N.NFTA_SET_FLAGS, value: fromBe32(N.NFT_SET_INTERVAL) },
    { type: N.NFTA_SET_KEY_TYPE, value: fromBe32(keyType) },
    { type: N.NFTA_SET_KEY_LEN, value: fromBe32(addressBytes) },
    { type: N.NFTA_SET_ID, value: fromBe32(id) },
  ]);
}

/** Adds intervals to a set. They overlap and touch neither each other nor those that are in it. */
export function addIntervals(table: string, set: NftSet, intervals: readonly NftInterval[]): NftChange {
  return changeElements(N.NFT_MSG_NEWSETELEM, NLM_F_CREATE, table, set, intervals);
}

export function deleteIntervals(table: string, set: NftSet, intervals: readonly NftInterval[]): NftChange {
  return changeElements(N.NFT_MSG_DELSETELEM, 0, table, set, intervals);
}

function changeElements(
  type: number,
  flags: number,
  table: string,
  { name }: NftSet,
  intervals: readonly NftInterval[],
): NftChange {
  const key = (address: IpAddress): Attribute => ({
    type: N.NFTA_SET_ELEM_KEY,
    value: [{ type: N.NFTA_DATA_VALUE, value: address }],
  });
  const isEnd = { type: N.NFTA_SET_ELEM_FLAGS, value: fromBe32(N.NFT_SET_ELEM_INTERVAL_END) };
  const elements = intervals
    .flatMap(({ start, end }) => [[key(start)], ...(end === undefined ? [] : [[isEnd, key(end)]])])
    .map((value) => ({ type: N.NFTA_LIST_ELEM, value }));
  return change(type, flags, table, [
    { type: N.NFTA_SET_ELEM_LIST_SET, value: fromText(name) },
    { type: N.NFTA_SET_ELEM_LIST_ELEMENTS, value: elements },
  ]);
}

const META_KEYS = {
  mark: N.NFT_META_MARK,
  oifname: N.NFT_META_OIFNAME,
  nfproto: N.NFT_META_NFPROTO,
  l4proto: N.NFT_META_L4PROTO,
} as const;

/** Loads what is known of the packet: `mark` in the host's order, `oifname` as 16 bytes, protocols as one. */
export function loadMeta(key: keyof typeof META_KEYS): NftExpression {
  return load("meta", N.NFTA_META_DREG, [{ type: N.NFTA_META_KEY, value: fromBe32(META_KEYS[key]) }]);
}

/** Loads bytes of the packet's network or transport header. */
export function loadPayload(
  header: "network" | "transport",
  offset: number,
  lengthBytes: number,
): NftExpression {
  const base = header === "network" ? N.NFT_PAYLOAD_NETWORK_HEADER : N.NFT_PAYLOAD_TRANSPORT_HEADER;
  return load("payload", N.NFTA_PAYLOAD_DREG, [
    { type: N.NFTA_PAYLOAD_BASE, value: fromBe32(base) },
    { type: N.NFTA_PAYLOAD_OFFSET, value: fromBe32(offset) },
    { type: N.NFTA_PAYLOAD_LEN, value: fromBe32(lengthBytes) },
  ]);
}

/** Loads the type of the destination as the routing tables see it (`RTN_UNICAST` and so on), host's order. */
export function loadDestinationType(): NftExpression {
  return load("fib", N.NFTA_FIB_DREG, [
    { type: N.NFTA_FIB_RESULT, value: fromBe32(N.NFT_FIB_RESULT_ADDRTYPE) },
    { type: N.NFTA_FIB_FLAGS, value: fromBe32(N.NFTA_FIB_F_DADDR) },
  ]);
}

const COMPARISONS = {
  "=": N.NFT_CMP_EQ,
  "≠": N.NFT_CMP_NEQ,
  "≤": N.NFT_CMP_LTE,
  "≥": N.NFT_CMP_GTE,
} as const;

/** Compares what was loaded with as many bytes. */
export function compare(operator: keyof typeof COMPARISONS, value: Uint8Array): NftExpression {
  return {
    name: "cmp",
    attributes: [
      { type: N.NFTA_CMP_SREG, value: fromBe32(N.NFT_REG_1) },
      { type: N.NFTA_CMP_OP, value: fromBe32(COMPARISONS[operator]) },
      { type: N.NFTA_CMP_DATA, value: [{ type: N.NFTA_DATA_VALUE, value }] },
    ],
  };
}

/** Whether the loaded address is in a set of the table. */
export function isIn({ name }: NftSet): NftExpression {
  return {
    name: "lookup",
    attributes: [
      { type: N.NFTA_LOOKUP_SET, value: fromText(name) },
      { type: N.NFTA_LOOKUP_SREG, value: fromBe32(N.NFT_REG_1) },
    ],
  };
}

/** Counts the packet by a counter of the table. */
export function countBy(counter: string): NftExpression {
  return {
    name: "objref",
    attributes: [
      { type: N.NFTA_OBJREF_IMM_TYPE, value: fromBe32(N.NFT_OBJECT_COUNTER) },
      { type: N.NFTA_OBJREF_IMM_NAME, value: fromText(counter) },
    ],
  };
}

export type NftVerdict = "drop" | "return" | { readonly jump: string };

/** What becomes of the packet. */
export function verdict(what: NftVerdict): NftExpression {
  const isJump = typeof what === "object";
  const code = isJump ? N.NFT_JUMP : what === "drop" ? N.NF_DROP : N.NFT_RETURN;
  const value = [
    { type: N.NFTA_VERDICT_CODE, value: fromBe32(code) },
    ...(isJump ? [{ type: N.NFTA_VERDICT_CHAIN, value: fromText(what.jump) }] : []),
  ];
  return {
    name: "immediate",
    attributes: [
      { type: N.NFTA_IMMEDIATE_DREG, value: fromBe32(N.NFT_REG_VERDICT) },
      { type: N.NFTA_IMMEDIATE_DATA, value: [{ type: N.NFTA_DATA_VERDICT, value }] },
    ],
  };
}

function load(name: string, register: number, attributes: readonly Attribute[]): NftExpression {
  return { name, attributes: [...attributes, { type: register, value: fromBe32(N.NFT_REG_1) }] };
}

/** A transaction: all changes or none. The acknowledgement of the last one stands for the whole. */
export function transaction(changes: readonly NftChange[]): readonly NftChange[] {
  const bracket = (type: number): NftChange => ({
    request: { type, header: new Uint8Array([0, 0, 0, N.NFNL_SUBSYS_NFTABLES]), attributes: [] },
    flags: 0,
  });
  return [bracket(N.NFNL_MSG_BATCH_BEGIN), ...changes, bracket(N.NFNL_MSG_BATCH_END)];
}

export function generationRequest(): NetlinkRequest {
  return { type: N.NFT_MSG_GETGEN, header: new Uint8Array(N.NFGENMSG_BYTES), attributes: [] };
}

/** Reads the answer to `generationRequest`; `undefined` when it cannot be read. */
export function parseGeneration(body: Uint8Array): number | undefined {
  const attributes = parseAttributes(body.subarray(Math.min(body.length, N.NFGENMSG_BYTES)));
  const id = attributes.ok ? attributes.value.get(N.NFTA_GEN_ID) : undefined;
  return id?.length === 4 ? new DataView(id.buffer, id.byteOffset, 4).getUint32(0) : undefined;
}

function change(type: number, flags: number, table: string, attributes: readonly Attribute[]): NftChange {
  const name = { type: N.NFTA_TABLE, value: fromText(table) };
  const header = new Uint8Array([N.NFPROTO_INET, 0, 0, 0]);
  return { request: { type, header, attributes: [name, ...attributes] }, flags };
}

function fromBe32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setInt32(0, value | 0);
  return bytes;
}
