/**
 * Records of the workers, and of the rings between them and control: part of the layout of `layout.ts`.
 */
import { coalesce, packet, split } from "./layout-packet.ts";
import { placeFields, type RecordLayout } from "./layout-record.ts";
import { COUNTERS, REASON_NAMES } from "./reasons.ts";

/** Bounds 1, 2, 4 … 64, and one for what is above. */
const BATCH_BUCKETS = 8;
/** Bounds 16 µs times 4 to the power of 0 to 9 (4.2 s), and one for what is above. */
const WAIT_BUCKETS = 11;

/** The workers' histograms: bounds are powers of two, from `SHIFT` up in steps of `STEP`. */
export const HISTOGRAM_CONSTANTS = {
  BATCH_SHIFT: 0,
  BATCH_STEP: 1,
  BATCH_BUCKETS,
  WAIT_SHIFT: 4,
  WAIT_STEP: 2,
  WAIT_BUCKETS,
} as const;

/** A single-producer, single-consumer ring of entries, each with a stretch of the ring's byte area. */
export const ring = {
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
export const entry = {
  kind: { type: "u32", writer: "any", doc: "EVENT_... or PUNT_..., or 0 in the inject ring" },
  slot: { type: "u32", writer: "any", doc: "peer, or NO_SLOT" },
  peerId: { type: "u32", writer: "any", doc: "of the peer: another may have the slot when it is read" },
  generation: { type: "u32", writer: "any", doc: "of the session concerned" },
  detail: {
    type: "u32",
    writer: "any",
    doc: "of `counter`: LIMIT_...; `handshake`: JUDGED; a refusal: VERDICT_...",
  },
  flow: { type: "u32", writer: "any", doc: "record that holds the packet's flow; 0: none (TN-87)" },
  at: { type: "u32", writer: "any", doc: "address of the bytes" },
  length: { type: "u32", writer: "any", doc: "number of bytes" },
  areaEnd: { type: "u32", writer: "any", doc: "areaTail once this entry is taken" },
  fromBytes: { type: "u32", writer: "any", doc: "length of the source address: 0, 4 or 16" },
  fromPort: { type: "u32", writer: "any", doc: "source port" },
  fromScope: { type: "u32", writer: "any", doc: "interface index of a link-local source; 0: none" },
  localBytes: { type: "u32", writer: "any", doc: "length of the local address: 0, 4 or 16" },
  channel: { type: "u32", writer: "any", doc: "0: not relayed; else the source is the relay" },
  from: { type: "bytes", bytes: 16, writer: "any", doc: "source address" },
  local: { type: "bytes", bytes: 16, writer: "any", doc: "address on which it arrived" },
} as const satisfies RecordLayout;

/** What both kinds of worker have: descriptors, progress, counters, arguments of system calls, AEAD state. */
export const worker = {
  stop: { type: "u32", writer: "control", doc: "1: the loop ends; written before the eventfd (PF-23)" },
  tun: { type: "i32", writer: "control", doc: "descriptor; -1: none" },
  frameRing: {
    type: "u32",
    writer: "control",
    doc: "address of the ring of frames in place of the TUN device; 0: there is a device",
  },
  isRoomWanted: {
    type: "u32",
    writer: "any",
    doc: "1: control found the ring of frames full and waits for room; egress only",
  },
  udp4: { type: "i32", writer: "control", doc: "descriptor; -1: none" },
  udp6: { type: "i32", writer: "control", doc: "descriptor; -1: none" },
  wakeFd: { type: "i32", writer: "control", doc: "eventfd of this worker; -1: none" },
  controlRing: { type: "u32", writer: "control", doc: "address of its ring for events and datagrams" },
  dataRing: { type: "u32", writer: "control", doc: "address of its ring for packets" },
  injectRing: { type: "u32", writer: "control", doc: "address of its ring of injected packets; egress only" },
  input: {
    type: "u32",
    writer: "any",
    doc: "address of the buffer that is read into; with a ring of frames, where its frame lies",
  },
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
  batches: {
    type: "u64",
    count: BATCH_BUCKETS + 1,
    line: true,
    writer: "worker",
    doc: "sends, or receives, by their datagrams: up to 1, 2, 4 … 64, above; then all of those (PG-114)",
  },
  waits: {
    type: "u64",
    count: WAIT_BUCKETS + 1,
    writer: "worker",
    doc: "times parked: up to 16, 64, 256 … µs, above; then the sum in µs (PG-114)",
  },
  parkedAt: { type: "u64", writer: "worker", doc: "µs: since when it is parked; 0: not known" },
  message: { type: "bytes", bytes: 56, line: true, writer: "worker", doc: "struct msghdr (PF-37)" },
  vector: { type: "bytes", bytes: 16, writer: "worker", doc: "struct iovec" },
  name: { type: "bytes", bytes: 32, writer: "worker", doc: "struct sockaddr_in or sockaddr_in6" },
  control: { type: "bytes", bytes: 256, writer: "worker", doc: "control messages" },
  pollSet: { type: "bytes", bytes: 32, writer: "worker", doc: "four struct pollfd" },
  time: { type: "bytes", bytes: 16, writer: "worker", doc: "struct timespec" },
  fromBytes: { type: "u32", line: true, writer: "worker", doc: "length of the source of a receive: 4 or 16" },
  fromPort: { type: "u32", writer: "worker", doc: "source port" },
  fromScope: { type: "u32", writer: "worker", doc: "interface index of a link-local source; 0: none" },
  localBytes: { type: "u32", writer: "worker", doc: "length of the local address; 0: not known" },
  from: { type: "bytes", bytes: 16, writer: "worker", doc: "source address, zeros behind IPv4" },
  local: { type: "bytes", bytes: 16, writer: "worker", doc: "address on which it arrived, likewise" },
  outerEcn: { type: "u32", writer: "worker", doc: "ECN bits of the outer header" },
  overflow: { type: "u32", writer: "worker", doc: "SO_RXQ_OVFL of the IPv4 socket so far" },
  overflow6: { type: "u32", writer: "worker", doc: "SO_RXQ_OVFL of the IPv6 socket so far" },
  errors: { type: "u32", writer: "worker", doc: "receives failed in a row (PG-47)" },
  errorsSince: { type: "u64", writer: "worker", doc: "ms: the first of them" },
  isV6Turn: { type: "u32", writer: "worker", doc: "1: the IPv6 socket is read next" },
  misses: { type: "u32", writer: "worker", doc: "families found empty in a row" },
  paceSince: { type: "u64", writer: "worker", doc: "ms: beginning of the period in which reads are counted" },
  paceReads: { type: "u64", writer: "worker", doc: "its reads so far, then" },
  isBusy: { type: "u32", writer: "worker", doc: "1: work came fast in the period before" },
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
  number: { type: "u32", writer: "control", doc: "of its pair, from 0 (PG-176)" },
  flow: { type: "u32", writer: "worker", doc: "record of the packet at hand; 0: none" },
  flowSide: { type: "u32", writer: "worker", doc: "its direction, if packets of that are held; else 0" },
  fragments: { type: "u32", writer: "control", doc: "address of FRAGMENTS records; 0: none" },
  fragmentCount: { type: "u32", writer: "worker", doc: "fragments remembered so far" },
  fragment: { type: "u32", writer: "worker", doc: "record of the later fragment at hand; 0: none" },
  isFiltered: {
    type: "u32",
    writer: "worker",
    doc: "1: what the kernel has lost, a filter dropped (PG-160)",
  },
  missedAt: {
    type: "u32",
    writer: "worker",
    doc: "seconds: when a first fragment was missed last; 0: never",
  },
  refusal: { type: "u32", writer: "worker", doc: "VERDICT_... of a packet to be refused; 0: tables refuse" },
  keysAhead: {
    type: "bytes",
    bytes: 1024,
    line: true,
    writer: "worker",
    doc: "one-time keys or first blocks made in advance, secret (PF-65, PF-81)",
  },
  aead: {
    type: "bytes",
    bytes: 2048,
    line: true,
    writer: "worker",
    doc: "state of the AEAD, secret (PF-63)",
  },
} as const satisfies RecordLayout;

/** What is known of packets on their way to a send: one for the frame, one for injected packets. */
export const transit = {
  slot: { type: "u32", writer: "egress", doc: "peer; NO_SLOT: none" },
  session: { type: "u32", writer: "egress", doc: "address of the session row" },
  path: { type: "u32", writer: "egress", doc: "address of the path row" },
  ecn: { type: "u32", writer: "egress", doc: "ECN bits (TN-10)" },
  reserved: { type: "u32", writer: "egress", doc: "send counters taken and not used yet" },
  counter: { type: "u64", writer: "egress", doc: "the next of them" },
} as const satisfies RecordLayout;

/** The egress worker's own fields, behind those of `worker`. */
export const egress = {
  stage: { type: "u32", writer: "egress", doc: "STAGE_...: where `egress` goes on" },
  punt: { type: "u32", writer: "egress", doc: "PUNT_... when the rest of the frame goes to control, else 0" },
  reason: { type: "u32", writer: "egress", doc: "DROP_... of what is left after a refusal" },
  frame: {
    type: "bytes",
    bytes: placeFields(transit).bytes,
    line: true,
    writer: "egress",
    doc: "the frame under way: a record `transit`",
  },
  injected: {
    type: "bytes",
    bytes: placeFields(transit).bytes,
    line: true,
    writer: "egress",
    doc: "the injected packet under way: a record `transit`",
  },
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
  sendLimit: { type: "u32", writer: "egress", doc: "longest datagram that its path carries whole; 0: any" },
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
export const ingress = {
  batchBytes: { type: "u32", writer: "ingress", doc: "bytes received" },
  stride: { type: "u32", writer: "ingress", doc: "length of each datagram but the last (UDP_GRO)" },
  position: { type: "u32", writer: "ingress", doc: "offset of the next datagram" },
  sessionIndex: {
    type: "u32",
    writer: "ingress",
    doc: "receiver index looked up last in this batch; 0: none",
  },
  session: { type: "u32", writer: "ingress", doc: "and its row; 0: unknown" },
  ahead: { type: "u32", writer: "ingress", doc: "messages for which something is made in advance; 0: none" },
  aheadText: {
    type: "u32",
    writer: "ingress",
    doc: "bytes of text for which it has keystream; 0: keys alone",
  },
  aheadFirst: { type: "u32", writer: "ingress", doc: "address of the message that the first is for" },
  aheadIndex: { type: "u32", writer: "ingress", doc: "their receiver index" },
  peer: {
    type: "u32",
    writer: "ingress",
    doc: "address of the peer whose activity is being summed; 0: none",
  },
  peerPackets: { type: "u32", writer: "ingress", doc: "its data packets" },
  peerBytes: { type: "u32", writer: "ingress", doc: "its UDP payload bytes" },
  channel: { type: "u32", writer: "ingress", doc: "channel found last in the relay list; 0: none" },
  share: { type: "u32", writer: "ingress", doc: "receives of that family in a row" },
  puntWindow: {
    type: "u64",
    writer: "ingress",
    doc: "ms: start of the time in which shares are counted (PG-51)",
  },
  shares: { type: "u32", count: 9, writer: "ingress", doc: "what of each share is given away" },
  loadUntil: { type: "u64", writer: "ingress", doc: "ms: so long initiations need a cookie (WG-31)" },
  replyCounter: { type: "u64", writer: "ingress", doc: "cookie replies so far: the end of their nonces" },
  macScratch: { type: "bytes", bytes: 160, writer: "ingress", doc: "of BLAKE2s and XChaCha20-Poly1305" },
  cookieSecret: { type: "bytes", bytes: 16, writer: "ingress", doc: "secret of the period" },
  cookieSource: { type: "bytes", bytes: 32, writer: "ingress", doc: "what a cookie is made of" },
  cookie: { type: "bytes", bytes: 16, writer: "ingress", doc: "the source's cookie" },
  floodSince: { type: "u64", writer: "ingress", doc: "ms: since when initiations are counted (PG-160)" },
  floodCount: { type: "u32", writer: "ingress", doc: "initiations without a cookie since then" },
  floodPassing: {
    type: "u32",
    writer: "ingress",
    doc: "how many of them in FLOOD_ONE the kernel lets pass; 0: all",
  },
  staleCount: {
    type: "u32",
    writer: "ingress",
    doc: "initiations with a mac2 that is not known to be right",
  },
  stalePassing: { type: "u32", writer: "ingress", doc: "how many with a mac2 in FLOOD_ONE pass; 0: all" },
  replyCut: { type: "u32", writer: "ingress", doc: "by how much REPLY_SHARE is less at present" },
  replyExtra: { type: "u32", writer: "ingress", doc: "by how much REPLY_SHARE is more at present" },
  dataWork: { type: "u32", writer: "ingress", doc: "µs: what the window's data has taken, by rule of thumb" },
  wasIdle: { type: "u32", writer: "ingress", doc: "1: nothing was waiting at some time in the window" },
  replyCount: { type: "u32", writer: "ingress", doc: "cookie replies to the batch that wait for being sent" },
  replies: { type: "bytes", bytes: 512, writer: "ingress", doc: "REPLIES_MAX of COOKIE_REPLY_BYTES" },
  frameSeen: {
    type: "u32",
    writer: "ingress",
    doc: "end of the frame under construction when the clock was read",
  },
  coalesce: {
    type: "bytes",
    bytes: placeFields(coalesce).bytes,
    line: true,
    writer: "ingress",
    doc: "state of segment/coalesce",
  },
  waitingCount: { type: "u32", writer: "ingress", doc: "cookie replies that go with the next sendmmsg" },
  waitingHeaders: { type: "bytes", bytes: 1024, writer: "ingress", doc: "REPLIES_AT_ONCE struct mmsghdr" },
  waiting: { type: "bytes", bytes: 2560, writer: "ingress", doc: "REPLIES_AT_ONCE of WAITING_BYTES" },
} as const satisfies RecordLayout;
