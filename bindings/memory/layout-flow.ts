/**
 * Flow records (TN-74): part of the layout of `layout.ts`.
 *
 * A record is three cache lines. The first is written by control before the record is linked and never changes
 * while a worker may see it. The others belong to one direction each, and so to one worker: on the client *out* is
 * the egress worker's, on the gateway the ingress worker's.
 */
import { placeFields, type RecordLayout } from "./layout-record.ts";

/** All records. The plane's record names it. */
export const flowTable = {
  seed: { type: "u64", writer: "control", doc: "random: nobody outside knows which flows share a chain" },
  outChains: { type: "u32", writer: "control", doc: "address of the chains of direction out" },
  inChains: { type: "u32", writer: "control", doc: "address of the chains of direction in" },
  chainMask: { type: "u32", writer: "control", doc: "number of chains of either direction - 1" },
  rows: { type: "u32", writer: "control", doc: "address of the first record" },
  generations: { type: "u32", writer: "control", doc: "address of a u32 per slot, which revocations raise" },
  generation: { type: "u32", writer: "control", doc: "raised by revocations of everything (TN-82)" },
} as const satisfies RecordLayout;

/** What belongs to one direction of a flow. */
export const flowSide = {
  next: { type: "u32", writer: "control", doc: "the next record in its chain; 0: none" },
  hold: {
    type: "u32",
    writer: "any",
    doc: "0: packets go on; else they go to control behind others (TN-87)",
  },
  last: { type: "u32", writer: "worker", doc: "seconds: the last packet; 0: none" },
  flags: { type: "u32", writer: "any", doc: "FLOW_FIN, FLOW_RST, once seen; control adds what it settled" },
  packets: { type: "u64", writer: "worker", doc: "packets" },
  payload: { type: "u64", writer: "worker", doc: "bytes behind transport headers" },
} as const satisfies RecordLayout;

const SIDE_BYTES = placeFields(flowSide).bytes;

/** One flow. Addresses have zeros behind IPv4; the three ports lie side by side, to be compared in pairs. */
export const flow = {
  protocol: { type: "u8", writer: "control", doc: "transport protocol number" },
  flags: { type: "u8", writer: "control", doc: "FLOW_LINKED, FLOW_V6, FLOW_HAS_SLOT" },
  verdicts: {
    type: "u8",
    writer: "control",
    doc: "VERDICT_... of direction out, and of in in the upper half",
  },
  reason: { type: "u8", writer: "control", doc: "DROP_... of verdict drop" },
  slot: { type: "u16", writer: "control", doc: "peer" },
  clientPort: { type: "u16", writer: "control", doc: "client's port or echo identifier" },
  remotePort: { type: "u16", writer: "control", doc: "remote port; 0 for ICMP" },
  outsidePort: { type: "u16", writer: "control", doc: "client's port or identifier beyond a translation" },
  generation: { type: "u32", writer: "control", doc: "sum of the two generations when it was linked" },
  client: { type: "bytes", bytes: 16, writer: "control", doc: "client's tunnel address" },
  remote: { type: "bytes", bytes: 16, writer: "control", doc: "address that the client uses" },
  outside: { type: "bytes", bytes: 16, writer: "control", doc: "address beyond a translation" },
  out: { type: "bytes", bytes: SIDE_BYTES, line: true, writer: "any", doc: "a record `flowSide`" },
  in: { type: "bytes", bytes: SIDE_BYTES, line: true, writer: "any", doc: "a record `flowSide`" },
} as const satisfies RecordLayout;

/** A datagram in fragments, and what became of its first one (TN-112). Each worker has its own. */
export const fragment = {
  source: { type: "bytes", bytes: 16, writer: "worker", doc: "zeros behind IPv4" },
  destination: { type: "bytes", bytes: 16, writer: "worker", doc: "zeros behind IPv4" },
  address: { type: "bytes", bytes: 16, writer: "worker", doc: "what a translation puts in place of either" },
  identification: { type: "u32", writer: "worker", doc: "as it lies in the packet" },
  at: { type: "u32", writer: "worker", doc: "seconds: when the first came, or was missed" },
  generation: { type: "u32", writer: "worker", doc: "of the flow's record" },
  ports: { type: "u32", writer: "worker", doc: "of the first: source, and destination in the upper half" },
  slot: { type: "u16", writer: "worker", doc: "the record's peer" },
  protocol: { type: "u8", writer: "worker", doc: "transport protocol number; 0: no entry" },
  verdict: {
    type: "u8",
    writer: "worker",
    doc: "VERDICT_PASS, _NAT, _DROP or FRAGMENT_MISSED, plus FRAGMENT_V6",
  },
} as const satisfies RecordLayout;

export const FLOW_CONSTANTS = {
  FLOW_LINKED: 1,
  FLOW_V6: 2,
  FLOW_HAS_SLOT: 4,

  /** `flow.verdicts`; 0: the record is not found in this direction. */
  VERDICT_PASS: 1,
  VERDICT_NAT: 2,
  VERDICT_PROHIBITED: 3,
  VERDICT_UNREACHABLE: 4,
  VERDICT_DROP: 5,
  VERDICT_PUNT: 6,

  FLOW_FIN: 1,
  FLOW_RST: 2,

  /** Life times in seconds (TN-68, TN-79, TN-90). */
  FLOW_TTL_TCP: 7200,
  FLOW_TTL: 120,
  FLOW_TTL_UNANSWERED: 60,
  FLOW_TTL_FIN: 5,
  FLOW_TTL_NEGATIVE: 10,

  /** Datagrams in fragments that a worker remembers, and how long in seconds (TN-112). */
  FRAGMENTS: 256,
  FRAGMENT_TTL: 30,
  FRAGMENT_V6: 0x80,
  /** `fragment.verdict`: a later one came and its first had not, so both go to control; for so many seconds. */
  FRAGMENT_MISSED: 7,
  FRAGMENT_MISSED_TTL: 1,

  ENDING_IDLE: 1,
  ENDING_CLOSED: 2,
  ENDING_RESET: 3,
  ENDING_STALE: 4,

  /** What control gets per second and peer of packets without a record, and of ICMP errors (TN-78). */
  FLOW_PUNTS_PER_PEER: 4000,
  ICMP_ERRORS_PER_PEER: 200,
} as const;
