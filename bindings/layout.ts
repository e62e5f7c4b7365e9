/**
 * The one description of everything that control and the packet plane share in memory (D-3).
 *
 * `scripts/generate.mjs` makes `assembly/layout.ts` from it: an offset per field (`SESSION_REMOTE`), the
 * size of each record (`SESSION_BYTES`), a number per drop reason (`DROP_WG_REPLAY`), the place of each
 * counter in a worker's record (`COUNTER_PACKETS_IN`), and the constants below. Nobody writes an offset
 * by hand. The module exports the fingerprint of the description, which is compared at load.
 *
 *     0x00000  never used: address 0 means "none"
 *     0x10000  constant tables of the module (asc --memoryBase)
 *     0x40000  the plane record
 *     0x50000  control's scratch, for the arguments of its own system calls
 *     0x80000  everything else, given out by bindings/heap.ts: workers and their buffers, rings,
 *              peers, sessions, paths, policy tables
 */
import { coalesce, PACKET_CONSTANTS, packet, split } from "./layout-packet.ts";
import { fingerprint, placeFields, type RecordLayout } from "./layout-record.ts";
import { COUNTERS, REASON_NAMES } from "./reasons.ts";

/** What is true of the whole plane. Written by control; the pointers and switches may change at any time. */
const plane = {
  base: { type: "u64", writer: "control", doc: "absolute address of the memory's first byte (PF-20)" },
  mode: { type: "u32", writer: "control", doc: "MODE_PLAIN, MODE_CLIENT or MODE_GATEWAY" },
  mtu: { type: "u32", writer: "control", doc: "bytes; no plaintext is padded beyond it" },
  maxPacket: { type: "u32", writer: "control", doc: "largest IP packet in bytes (TN-3 row 4)" },
  maxDatagram: { type: "u32", writer: "control", doc: "largest datagram in bytes (PG-48)" },
  isPadded: {
    type: "u32",
    writer: "control",
    doc: "1: plaintext is padded to 16 bytes (WireGuard section 2)",
  },
  isRoaming: { type: "u32", writer: "control", doc: "1: a peer's path follows its packets (WG-62)" },
  peers: { type: "u32", writer: "control", doc: "address of the peer rows" },
  peerCapacity: { type: "u32", writer: "control", doc: "number of peer rows" },
  sessions: { type: "u32", writer: "control", doc: "address of the session rows" },
  sessionCapacity: { type: "u32", writer: "control", doc: "number of session rows" },
  index: { type: "u32", writer: "control", doc: "address of the hash from peer id to slot" },
  indexMask: { type: "u32", writer: "control", doc: "entries of that hash - 1" },
  policy: { type: "u32", writer: "control", doc: "address of the policy record; swapped atomically (WG-58)" },
  relays: { type: "u32", writer: "control", doc: "address of the relay list; swapped atomically" },
  egress: { type: "u32", writer: "control", doc: "address of the egress worker's record" },
  ingress: { type: "u32", writer: "control", doc: "address of the ingress worker's record" },
  wake: { type: "u32", line: true, writer: "any", doc: "control sleeps on this word; workers add 1, notify" },
} as const satisfies RecordLayout;

/** A peer, found by its slot. One cache line each for control, the egress and the ingress worker. */
const peer = {
  peerId: { type: "u32", writer: "control", doc: "upper 24 bits of its session indices; 0: row is free" },
  path: { type: "u32", writer: "control", doc: "address of its path row; 0: none" },
  current: { type: "u32", writer: "any", doc: "row of the session that sends + 1; 0: none (WG-16)" },
  hold: { type: "u32", writer: "any", doc: "0: packets pass; else they are punted behind others (WG-46)" },
  watch: { type: "u32", writer: "any", doc: "1: the next data packet reports `activity` (WG-50)" },
  idle: { type: "u32", writer: "any", doc: "1: the next data packet reports `wake` (SN-129)" },
  roaming: { type: "u32", writer: "any", doc: "1: a report `roamed` is under way (WG-62)" },
  taken: { type: "u32", writer: "control", doc: "punts `no-session` that control has handled, ever" },
  ring: { type: "u32", count: 8, writer: "control", doc: "session rows + 1 by session number mod 8 (WG-13)" },
  sentAny: { type: "u64", line: true, writer: "any", doc: "ms, 0: never (WG-41, WG-49)" },
  sentData: { type: "u64", writer: "egress", doc: "ms" },
  unanswered: { type: "u64", writer: "any", doc: "ms: first data sent since anything was received" },
  txPackets: { type: "u64", writer: "any", doc: "data packets" },
  txBytes: { type: "u64", writer: "any", doc: "UDP payload bytes, handshakes included" },
  punted: { type: "u32", writer: "egress", doc: "punts `no-session` of this slot, ever" },
  recvAny: { type: "u64", line: true, writer: "any", doc: "ms" },
  recvData: { type: "u64", writer: "ingress", doc: "ms" },
  unreplied: { type: "u64", writer: "any", doc: "ms: first data received since anything was sent" },
  rxPackets: { type: "u64", writer: "any", doc: "data packets" },
  rxBytes: { type: "u64", writer: "any", doc: "UDP payload bytes, handshakes included" },
} as const satisfies RecordLayout;

/** A session (WG-44). Filled completely, then published by its peer's ring. */
const session = {
  local: { type: "u32", writer: "control", doc: "receiver index of packets to us" },
  remote: { type: "u32", writer: "control", doc: "receiver index of packets to the peer" },
  generation: { type: "u32", writer: "control", doc: "rises per peer" },
  slot: { type: "u32", writer: "control", doc: "its peer" },
  isInitiator: { type: "u32", writer: "control", doc: "1: we sent the initiation" },
  reported: { type: "u32", writer: "any", doc: "REPORTED_REKEY and REPORTED_REJECT, each once (WG-45)" },
  sendUntil: { type: "u64", writer: "control", doc: "ms; not for sending from then on (WG-17)" },
  recvUntil: { type: "u64", writer: "control", doc: "ms; not for receiving from then on" },
  rekeyLimit: { type: "u64", writer: "control", doc: "send counter that reports `counter` (WG-45)" },
  rejectLimit: { type: "u64", writer: "control", doc: "send and receive counter that is not used any more" },
  sendKey: { type: "bytes", bytes: 32, line: true, writer: "control", doc: "zeroed before the row is free" },
  receiveKey: { type: "bytes", bytes: 32, writer: "control", doc: "zeroed before the row is free" },
  sendCounter: { type: "u64", line: true, writer: "any", doc: "next nonce; atomic add only (WG-45)" },
  last: { type: "u64", line: true, writer: "ingress", doc: "highest accepted counter (WG-48)" },
  received: { type: "u64", writer: "ingress", doc: "accepted packets; 0: `last` means nothing yet" },
  window: {
    type: "u64",
    count: 128,
    writer: "ingress",
    doc: "accepted counters, bits 6 to 12 choose the word",
  },
} as const satisfies RecordLayout;

/** How datagrams to a peer travel (SN-127). Filled completely, then published in the peer's row. */
const path = {
  serial: { type: "u32", writer: "control", doc: "of this publication, never 0, never used twice" },
  kind: { type: "u32", writer: "control", doc: "PATH_NONE, PATH_DIRECT or PATH_RELAYED" },
  isBroken: { type: "u32", writer: "control", doc: "1: nothing is sent" },
  headRoom: { type: "u32", writer: "control", doc: "bytes in front of each message, 0 or 4 (D-7)" },
  channel: { type: "u32", writer: "control", doc: "TURN channel number of a relayed path" },
  destinationBytes: { type: "u32", writer: "control", doc: "length of the socket address: 16 or 28" },
  destination: { type: "bytes", bytes: 32, writer: "control", doc: "struct sockaddr_in or sockaddr_in6" },
  sourceBytes: { type: "u32", writer: "control", doc: "0: the kernel chooses the source; else 4 or 16" },
  source: { type: "bytes", bytes: 16, writer: "control", doc: "fixed source address" },
} as const satisfies RecordLayout;

/** A set of prefixes as sorted ranges: range i reaches to the start of range i + 1 and has one value. */
const rangeSet = {
  count4: { type: "u32", writer: "control", doc: "IPv4 ranges; the first starts at 0.0.0.0" },
  starts4: { type: "u32", writer: "control", doc: "address of u32 starts" },
  values4: { type: "u32", writer: "control", doc: "address of u32 values" },
  count6: { type: "u32", writer: "control", doc: "IPv6 ranges; the first starts at ::" },
  starts6: { type: "u32", writer: "control", doc: "address of starts: upper u64, lower u64" },
  values6: { type: "u32", writer: "control", doc: "address of u32 values" },
} as const satisfies RecordLayout;

/** The policy: built aside, published by one pointer (WG-58). */
const policy = {
  routes: { type: "bytes", bytes: 24, writer: "control", doc: "a range set: destination to target" },
  hasOwn: { type: "u32", writer: "control", doc: "1: our own addresses are checked (TN-20, TN-38)" },
  own: { type: "bytes", bytes: 24, writer: "control", doc: "a range set: our tunnel addresses" },
  permits: { type: "u32", writer: "control", doc: "address of permit rows by slot" },
  permitCount: { type: "u32", writer: "control", doc: "number of permit rows" },
} as const satisfies RecordLayout;

/** What one peer's packets may be. */
const permit = {
  isPresent: { type: "u32", writer: "control", doc: "0: the peer has no state" },
  refusesDestination: { type: "u32", writer: "control", doc: "1: a wrong destination is punted `refused`" },
  hasDestinations: { type: "u32", writer: "control", doc: "1: destinations are checked" },
  hasEgressSources: { type: "u32", writer: "control", doc: "1: sources of packets to the peer are checked" },
  sources: { type: "bytes", bytes: 24, writer: "control", doc: "a range set" },
  destinations: { type: "bytes", bytes: 24, writer: "control", doc: "a range set" },
  egressSources: { type: "bytes", bytes: 24, writer: "control", doc: "a range set" },
} as const satisfies RecordLayout;

/** A single-producer, single-consumer ring of entries, each with a stretch of the ring's byte area. */
const ring = {
  mask: { type: "u32", writer: "control", doc: "entries - 1" },
  entries: { type: "u32", writer: "control", doc: "address of the entries" },
  area: { type: "u32", writer: "control", doc: "address of the byte area" },
  areaBytes: { type: "u32", writer: "control", doc: "length of the byte area, a power of two" },
  head: { type: "u32", line: true, writer: "any", doc: "entries put so far, by the producer" },
  areaHead: { type: "u32", writer: "any", doc: "bytes given out so far, by the producer" },
  tail: { type: "u32", line: true, writer: "any", doc: "entries taken so far, by the consumer" },
  areaTail: { type: "u32", writer: "any", doc: "bytes given back so far, by the consumer" },
} as const satisfies RecordLayout;

/** One entry of a ring. Its writer is the ring's producer. */
const entry = {
  kind: { type: "u32", writer: "any", doc: "EVENT_... or PUNT_..., or 0 in the settle ring" },
  slot: { type: "u32", writer: "any", doc: "peer, or NO_SLOT" },
  peerId: { type: "u32", writer: "any", doc: "of the peer: another may have the slot when it is read" },
  generation: { type: "u32", writer: "any", doc: "of the session concerned" },
  detail: { type: "u32", writer: "any", doc: "of `counter`: LIMIT_REKEY or LIMIT_REJECT" },
  at: { type: "u32", writer: "any", doc: "address of the bytes" },
  length: { type: "u32", writer: "any", doc: "number of bytes" },
  areaEnd: { type: "u32", writer: "any", doc: "areaTail once this entry is taken" },
  fromBytes: { type: "u32", writer: "any", doc: "length of the source address: 0, 4 or 16" },
  fromPort: { type: "u32", writer: "any", doc: "source port" },
  localBytes: { type: "u32", writer: "any", doc: "length of the local address: 0, 4 or 16" },
  channel: { type: "u32", writer: "any", doc: "0: not relayed; else the source is the relay" },
  from: { type: "bytes", bytes: 16, writer: "any", doc: "source address" },
  local: { type: "bytes", bytes: 16, writer: "any", doc: "address on which it arrived" },
} as const satisfies RecordLayout;

/** What both kinds of worker have: descriptors, progress, counters, arguments of system calls, AEAD state. */
const worker = {
  stop: { type: "u32", writer: "control", doc: "1: the loop ends; written before the eventfd (PF-23)" },
  tun: { type: "i32", writer: "control", doc: "descriptor; -1: none" },
  udp4: { type: "i32", writer: "control", doc: "descriptor; -1: none" },
  udp6: { type: "i32", writer: "control", doc: "descriptor; -1: none" },
  wakeFd: { type: "i32", writer: "control", doc: "eventfd of this worker; -1: none" },
  controlRing: { type: "u32", writer: "control", doc: "address of its ring for events and datagrams" },
  dataRing: { type: "u32", writer: "control", doc: "address of its ring for packets" },
  settleRing: { type: "u32", writer: "control", doc: "address of the ring of injected packets; egress only" },
  input: { type: "u32", writer: "control", doc: "address of the buffer that is read into" },
  output: { type: "u32", writer: "control", doc: "address of the send buffer, or of the arena of frames" },
  isGsoOff: { type: "u32", writer: "any", doc: "1: no UDP_SEGMENT (PG-60; or the kernel refused it, PG-46)" },
  epoch: { type: "u32", line: true, writer: "worker", doc: "raised at the start of every batch (WG-44)" },
  parked: { type: "u32", writer: "worker", doc: "1: waits in poll and reads no table" },
  running: { type: "u32", writer: "any", doc: "1: a thread runs the loop" },
  ended: { type: "u32", writer: "worker", doc: "ENDED_... once the loop has returned" },
  now: { type: "u64", writer: "worker", doc: "ms; read once per batch (D-14)" },
  refuseWindow: {
    type: "u64",
    writer: "worker",
    doc: "ms: start of the second in which refusals are counted",
  },
  refuseCount: { type: "u32", writer: "worker", doc: "refusals punted in that second" },
  lastErrno: { type: "u32", writer: "worker", doc: "of the last system call that failed unexpectedly" },
  counters: {
    type: "u64",
    count: Object.keys(COUNTERS).length,
    line: true,
    writer: "worker",
    doc: "COUNTERS",
  },
  drops: { type: "u64", count: REASON_NAMES.length, writer: "worker", doc: "packets by reason number" },
  sendErrnos: { type: "u32", count: 136, line: true, writer: "worker", doc: "failed sends by errno (PG-46)" },
  receiveErrnos: { type: "u32", count: 136, writer: "worker", doc: "failed receives by errno (PG-47)" },
  tunErrnos: {
    type: "u32",
    count: 136,
    writer: "worker",
    doc: "failed TUN reads and writes by errno (PG-38)",
  },
  message: { type: "bytes", bytes: 56, line: true, writer: "worker", doc: "struct msghdr (PF-37)" },
  vector: { type: "bytes", bytes: 16, writer: "worker", doc: "struct iovec" },
  name: { type: "bytes", bytes: 32, writer: "worker", doc: "struct sockaddr_in or sockaddr_in6" },
  control: { type: "bytes", bytes: 256, writer: "worker", doc: "control messages" },
  pollSet: { type: "bytes", bytes: 32, writer: "worker", doc: "four struct pollfd" },
  time: { type: "bytes", bytes: 16, writer: "worker", doc: "struct timespec" },
  nonceLead: { type: "u64", line: true, writer: "worker", doc: "readable bytes before the nonce (PF-46)" },
  noncePadding: { type: "u32", writer: "worker", doc: "not used: puts the counter on its alignment" },
  nonce: { type: "u32", writer: "worker", doc: "12 bytes begin here: zero, then the counter" },
  nonceCounter: { type: "u64", writer: "worker", doc: "little-endian counter of the nonce" },
  packet: {
    type: "bytes",
    bytes: placeFields(packet).bytes,
    line: true,
    writer: "worker",
    doc: "descriptor of the packet at hand",
  },
  keysAhead: {
    type: "bytes",
    bytes: 512,
    line: true,
    writer: "worker",
    doc: "one-time keys of a run (PF-65)",
  },
  aead: {
    type: "bytes",
    bytes: 2048,
    line: true,
    writer: "worker",
    doc: "state of the AEAD, secret (PF-63)",
  },
} as const satisfies RecordLayout;

/** The egress worker's own fields, behind those of `worker`. */
const egress = {
  stage: { type: "u32", writer: "egress", doc: "STAGE_...: where `egress` goes on" },
  slot: { type: "u32", writer: "egress", doc: "peer of the frame; NO_SLOT: none" },
  punt: { type: "u32", writer: "egress", doc: "PUNT_... when the rest of the frame goes to control, else 0" },
  reason: { type: "u32", writer: "egress", doc: "DROP_... of what is left after a refusal" },
  session: { type: "u32", writer: "egress", doc: "address of the frame's session row; 0: not chosen yet" },
  path: { type: "u32", writer: "egress", doc: "address of the frame's path row" },
  ecn: { type: "u32", writer: "egress", doc: "ECN bits of the frame (TN-10)" },
  reserved: { type: "u32", writer: "egress", doc: "send counters taken and not used yet" },
  counter: { type: "u64", writer: "egress", doc: "the next of them" },
  segmentAt: { type: "u32", writer: "egress", doc: "address of a packet cut and not sealed yet; 0: none" },
  segmentBytes: { type: "u32", writer: "egress", doc: "its length" },
  split: {
    type: "bytes",
    bytes: placeFields(split).bytes,
    line: true,
    writer: "egress",
    doc: "state of segment/split",
  },
  sendBytes: {
    type: "u32",
    line: true,
    writer: "egress",
    doc: "bytes of the send under construction; 0: none",
  },
  sendSegment: { type: "u32", writer: "egress", doc: "length of its datagrams" },
  sendCount: { type: "u32", writer: "egress", doc: "number of its datagrams" },
  sendIsClosed: { type: "u32", writer: "egress", doc: "1: its last datagram is shorter; none may follow" },
  sendEcn: { type: "u32", writer: "egress", doc: "ECN bits of the outer header" },
  sendSlot: { type: "u32", writer: "egress", doc: "peer it goes to" },
  sendSeen: { type: "u32", writer: "egress", doc: "its bytes when the clock was read last" },
  sendSerial: { type: "u32", writer: "egress", doc: "path publication it goes by" },
  sendNameBytes: { type: "u32", writer: "egress", doc: "length of the destination" },
  sendName: { type: "bytes", bytes: 32, writer: "egress", doc: "destination: a copy of the path's" },
  sendSourceBytes: { type: "u32", writer: "egress", doc: "0, 4 or 16" },
  sendSource: { type: "bytes", bytes: 16, writer: "egress", doc: "source: a copy of the path's" },
  refusedSources: {
    type: "u32",
    count: 64,
    line: true,
    writer: "egress",
    doc: "path serials whose source failed",
  },
} as const satisfies RecordLayout;

/** The ingress worker's own fields, behind those of `worker`. */
const ingress = {
  batchBytes: { type: "u32", writer: "ingress", doc: "bytes received" },
  stride: { type: "u32", writer: "ingress", doc: "length of each datagram but the last (UDP_GRO)" },
  position: { type: "u32", writer: "ingress", doc: "offset of the next datagram" },
  outerEcn: { type: "u32", writer: "ingress", doc: "ECN bits of the outer header" },
  fromBytes: { type: "u32", writer: "ingress", doc: "length of the source address: 4 or 16" },
  fromPort: { type: "u32", writer: "ingress", doc: "source port" },
  localBytes: { type: "u32", writer: "ingress", doc: "length of the local address; 0: not known" },
  from: { type: "bytes", bytes: 16, writer: "ingress", doc: "source address" },
  local: { type: "bytes", bytes: 16, writer: "ingress", doc: "address on which it arrived" },
  sessionIndex: {
    type: "u32",
    writer: "ingress",
    doc: "receiver index looked up last in this batch; 0: none",
  },
  session: { type: "u32", writer: "ingress", doc: "and its row; 0: unknown" },
  ahead: { type: "u32", writer: "ingress", doc: "one-time keys made in advance; 0: none" },
  aheadFirst: { type: "u32", writer: "ingress", doc: "address of the message that the first is for" },
  aheadIndex: { type: "u32", writer: "ingress", doc: "receiver index they are for" },
  peer: {
    type: "u32",
    writer: "ingress",
    doc: "address of the peer whose activity is being summed; 0: none",
  },
  peerPackets: { type: "u32", writer: "ingress", doc: "its data packets" },
  peerBytes: { type: "u32", writer: "ingress", doc: "its UDP payload bytes" },
  channel: { type: "u32", writer: "ingress", doc: "channel found last in the relay list; 0: none" },
  isV6Turn: { type: "u32", writer: "ingress", doc: "1: the IPv6 socket is read next" },
  share: { type: "u32", writer: "ingress", doc: "receives of that family in a row" },
  misses: { type: "u32", writer: "ingress", doc: "families found empty in a row" },
  errors: { type: "u32", writer: "ingress", doc: "receives failed in a row (PG-47)" },
  errorsSince: { type: "u64", writer: "ingress", doc: "ms: the first of them" },
  frameSeen: {
    type: "u32",
    writer: "ingress",
    doc: "end of the frame under construction when the clock was read",
  },
  overflow: { type: "u32", writer: "ingress", doc: "SO_RXQ_OVFL of the IPv4 socket so far" },
  overflow6: { type: "u32", writer: "ingress", doc: "SO_RXQ_OVFL of the IPv6 socket so far" },
  coalesce: {
    type: "bytes",
    bytes: placeFields(coalesce).bytes,
    line: true,
    writer: "ingress",
    doc: "state of segment/coalesce",
  },
} as const satisfies RecordLayout;

/** Descriptions by name; `after` puts a record behind another one. */
export const RECORDS = {
  plane: { fields: plane },
  peer: { fields: peer },
  session: { fields: session },
  path: { fields: path },
  rangeSet: { fields: rangeSet },
  policy: { fields: policy },
  permit: { fields: permit },
  ring: { fields: ring },
  entry: { fields: entry },
  packet: { fields: packet },
  split: { fields: split },
  coalesce: { fields: coalesce },
  worker: { fields: worker },
  egress: { fields: egress, after: "worker" },
  ingress: { fields: ingress, after: "worker" },
} as const;

/** Numbers that both sides know by name. */
export const CONSTANTS = {
  ...PACKET_CONSTANTS,

  PLANE_ADDRESS: 0x40000,
  SCRATCH_ADDRESS: 0x50000,
  SCRATCH_BYTES: 0x20000,
  HEAP_ADDRESS: 0x80000,

  MODE_PLAIN: 0,
  MODE_CLIENT: 1,
  MODE_GATEWAY: 2,

  /** A frame of 65,535 bytes with its header, and room around it for the copy-free tricks (PF-42). */
  BUFFER_BYTES: 0x22000,
  /** Each half of the arena in which ingress builds frames. */
  ARENA_HALF_BYTES: 0x40000,
  /** Offset of the bytes in a buffer: headers may be stamped and messages opened before them. */
  BUFFER_LEAD: 0x400,
  FRAME_MAX_BYTES: 65_545,

  CONTROL_RING_ENTRIES: 1024,
  CONTROL_RING_AREA: 0x80000,
  DATA_RING_ENTRIES: 2048,
  DATA_RING_AREA: 0x200000,
  SETTLE_RING_ENTRIES: 2048,
  SETTLE_RING_AREA: 0x200000,

  SESSIONS_PER_PEER: 8,
  /** Packets of one peer that may wait in the rings for a session (WG-18, WG-46). */
  STAGED_MAX: 128,
  REPORTED_REKEY: 1,
  REPORTED_REJECT: 2,
  LIMIT_REKEY: 1,
  LIMIT_REJECT: 2,
  /** Counters below `last` by more than this are too old (WG-48). */
  REPLAY_WINDOW: 8128,

  PATH_NONE: 0,
  PATH_DIRECT: 1,
  PATH_RELAYED: 2,
  CHANNEL_HEADER_BYTES: 4,
  RELAY_PORT: 3478,
  /** Of a row in the relay list: address length, port, channel, unused, address. The list begins with its length, in 16 bytes. */
  RELAY_ROW_BYTES: 32,

  /**
   * Where a packet leads: TARGET_DROP plus a reason, TARGET_PEER plus a slot, or one of the verdicts.
   * In a route table 0 says that nothing is known; as a judgement on ingress, that the packet passes.
   */
  TARGET_NONE: 0,
  TARGET_PUNT: 1,
  TARGET_REFUSE: 2,
  TARGET_CONTROL: 3,
  TARGET_DROP: 0x1000,
  TARGET_PEER: 0x10000,

  /** At most so many datagrams, and so many bytes, in one send (PF-38, PF-39). */
  SEND_SEGMENTS: 64,
  SEND_BYTES: 65_450,
  /** Packets that control is asked to refuse per second and worker: plain (WG-58), else (TN-78). */
  REFUSALS_PLAIN: 10,
  REFUSALS_TUNNEL: 200,

  MESSAGE_INITIATION: 1,
  MESSAGE_RESPONSE: 2,
  MESSAGE_COOKIE: 3,
  MESSAGE_DATA: 4,
  INITIATION_BYTES: 148,
  RESPONSE_BYTES: 92,
  COOKIE_BYTES: 64,
  /** Header of a transport message, and its tag behind the text. */
  DATA_HEADER_BYTES: 16,
  TAG_BYTES: 16,

  NO_SLOT: 0xffffffff,
  EVENT_HANDSHAKE: 1,
  EVENT_STUN: 2,
  EVENT_OTHER: 3,
  EVENT_ACTIVITY: 4,
  EVENT_WAKE: 5,
  EVENT_CONFIRMED: 6,
  EVENT_COUNTER: 7,
  EVENT_ROAMED: 8,
  PUNT_NO_SESSION: 16,
  PUNT_FIRST: 17,
  PUNT_REFUSED: 18,
  PUNT_CONTROL_EVENT: 19,
  /** Not an entry: what is left of a refused frame is dropped. */
  PUNT_DROP: 20,

  STAGE_IDLE: 0,
  STAGE_SETTLE: 1,
  STAGE_SEGMENTS: 2,

  ENDED_STOPPED: 1,
  ENDED_TUN_REMOVED: 2,
  ENDED_SOCKET: 3,
} as const;

export type RecordName = keyof typeof RECORDS;
type FieldName<R extends RecordName> = keyof (typeof RECORDS)[R]["fields"];

const worker0 = placeFields(RECORDS.worker.fields);

/** Offsets of all fields: `OFFSETS.session.remote`. */
export const OFFSETS = {
  plane: placeFields(plane).offsets,
  peer: placeFields(peer).offsets,
  session: placeFields(session).offsets,
  path: placeFields(path).offsets,
  rangeSet: placeFields(rangeSet).offsets,
  policy: placeFields(policy).offsets,
  permit: placeFields(permit).offsets,
  ring: placeFields(ring).offsets,
  entry: placeFields(entry).offsets,
  packet: placeFields(packet).offsets,
  split: placeFields(split).offsets,
  coalesce: placeFields(coalesce).offsets,
  worker: worker0.offsets,
  egress: placeFields(egress, worker0.bytes).offsets,
  ingress: placeFields(ingress, worker0.bytes).offsets,
} as const satisfies { readonly [R in RecordName]: Readonly<Record<FieldName<R>, number>> };

/** Sizes of all records; those behind another one include it. */
export const BYTES: Readonly<Record<RecordName, number>> = {
  plane: placeFields(plane).bytes,
  peer: placeFields(peer).bytes,
  session: placeFields(session).bytes,
  path: placeFields(path).bytes,
  rangeSet: placeFields(rangeSet).bytes,
  policy: placeFields(policy).bytes,
  permit: placeFields(permit).bytes,
  ring: placeFields(ring).bytes,
  entry: placeFields(entry).bytes,
  packet: placeFields(packet).bytes,
  split: placeFields(split).bytes,
  coalesce: placeFields(coalesce).bytes,
  worker: worker0.bytes,
  egress: placeFields(egress, worker0.bytes).bytes,
  ingress: placeFields(ingress, worker0.bytes).bytes,
};

/** What the module must have been made from (D-3). */
export const LAYOUT_HASH = fingerprint(
  JSON.stringify([RECORDS, CONSTANTS, REASON_NAMES, Object.keys(COUNTERS)]),
);
