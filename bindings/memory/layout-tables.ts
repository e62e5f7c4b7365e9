/**
 * Records of the tables that control writes and the workers read (D-11): part of the layout of `layout.ts`.
 */
import type { RecordLayout } from "./layout-record.ts";

/** What is true of the whole plane. Written by control; the pointers and switches may change at any time. */
export const plane = {
  base: { type: "u64", writer: "control", doc: "absolute address of the memory's first byte (PF-20)" },
  mtu: { type: "u32", writer: "control", doc: "bytes; no plaintext is padded beyond it" },
  maxPacket: { type: "u32", writer: "control", doc: "largest IP packet from the TUN device (TN-3 row 4)" },
  maxReceived: { type: "u32", writer: "control", doc: "largest IP packet from a peer (TN-3 row 4)" },
  maxDatagram: { type: "u32", writer: "control", doc: "largest datagram in bytes (PG-48)" },
  isPadded: {
    type: "u32",
    writer: "control",
    doc: "1: plaintext is padded to 16 bytes (WireGuard section 2)",
  },
  roamedGap: {
    type: "u32",
    writer: "control",
    doc: "ms between two reports `roamed` of a peer, besides that control has seen the first (WG-62, SN-145)",
  },
  isStrict: { type: "u32", writer: "control", doc: "1: no fragments and source routes (TN-3, TN-4)" },
  isPathNeeded: {
    type: "u32",
    writer: "control",
    doc: "1: packets for a peer without a path are refused instead of held (WG-59)",
  },
  isEnobufsFinal: { type: "u32", writer: "control", doc: "1: ENOBUFS is not retried (PG-118)" },
  isHurried: {
    type: "u32",
    writer: "control",
    doc: "1: control waits for a quiescent point: no worker waits for room in a socket (WG-44)",
  },
  checks: { type: "u32", writer: "control", doc: "CHECK_... bits: what policy asks besides its tables" },
  missTarget: { type: "u32", writer: "control", doc: "TARGET_... of a destination that has no route" },
  sourceReason: { type: "u32", writer: "control", doc: "DROP_... of a source outside the peer's permit" },
  refusalReason: { type: "u32", writer: "control", doc: "DROP_... of refused packets not given to control" },
  refusalsPerSecond: { type: "u32", writer: "control", doc: "refusals that a worker gives to control" },
  peers: { type: "u32", writer: "control", doc: "address of the peer rows" },
  peerCapacity: { type: "u32", writer: "control", doc: "number of peer rows" },
  sessions: { type: "u32", writer: "control", doc: "address of the session rows" },
  sessionCapacity: { type: "u32", writer: "control", doc: "number of session rows" },
  index: { type: "u32", writer: "control", doc: "address of the hash from peer id to slot" },
  indexMask: { type: "u32", writer: "control", doc: "entries of that hash - 1" },
  policy: { type: "u32", writer: "control", doc: "address of the policy record; swapped atomically (WG-58)" },
  permits: { type: "u32", writer: "control", doc: "by slot: address of a permit of the peer's own, or 0" },
  hosts: { type: "u32", writer: "control", doc: "address of the host table; swapped atomically; 0: none" },
  relays: { type: "u32", writer: "control", doc: "address of the relay list; swapped atomically" },
  guard: {
    type: "u32",
    writer: "control",
    doc: "address of the guard record; swapped atomically; 0: no key",
  },
  budgets: { type: "u32", writer: "control", doc: "address of the budgets of sources" },
  knownSources: { type: "u32", writer: "control", doc: "address of the sources that are known" },
  egress: { type: "u32", writer: "control", doc: "address of the first egress worker's record" },
  ingress: { type: "u32", writer: "control", doc: "address of the first ingress worker's record" },
  flows: { type: "u32", writer: "control", doc: "address of the flow table; 0: there is none" },
  pairs: {
    type: "u32",
    writer: "control",
    doc: "pairs of workers; more than 1: words of peers, sessions and flows have several writers (PG-176)",
  },
  relay: { type: "u32", writer: "control", doc: "address of the relay's record; 0: this is no relay" },
  wake: { type: "u32", line: true, writer: "any", doc: "control sleeps on this word; workers add 1, notify" },
} as const satisfies RecordLayout;

/** What handshake messages to us are checked with (WG-22, WG-33). Replaced as a whole with our key. */
export const guard = {
  mac1Key: { type: "bytes", bytes: 32, writer: "control", doc: "HASH(label of mac1 and our public key)" },
  cookieKey: {
    type: "bytes",
    bytes: 32,
    writer: "control",
    doc: "HASH(label of cookies and our public key)",
  },
  secret: {
    type: "bytes",
    bytes: 32,
    writer: "control",
    doc: "random: the secrets of all periods come from it",
  },
  nonce: { type: "bytes", bytes: 16, writer: "control", doc: "random: the beginning of the replies' nonces" },
} as const satisfies RecordLayout;

/** What one source may still have of one share (`assembly/guard/budget.ts`). */
export const budget = {
  key: { type: "u64", writer: "ingress", doc: "mixed from source and share" },
  freeAt: { type: "u64", writer: "ingress", doc: "ms: when the source will have used up nothing" },
} as const satisfies RecordLayout;

/** A peer, found by its slot. One cache line each for control, the egress and the ingress worker. */
export const peer = {
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
  punted: { type: "u32", writer: "any", doc: "punts `no-session` of this slot, ever" },
  tooLong: {
    type: "u32",
    writer: "any",
    doc: "1: a send too long for the kernel reports `too-long` (PG-46)",
  },
  outWindow: { type: "u64", writer: "egress", doc: "ms: second in which the next two are counted (TN-78)" },
  outFlows: { type: "u32", writer: "egress", doc: "packets to it without a record that control got" },
  outErrors: { type: "u32", writer: "egress", doc: "ICMP errors to it that control got" },
  recvAny: { type: "u64", line: true, writer: "any", doc: "ms" },
  recvData: { type: "u64", writer: "ingress", doc: "ms" },
  unreplied: { type: "u64", writer: "any", doc: "ms: first data received since anything was sent" },
  rxPackets: { type: "u64", writer: "any", doc: "data packets" },
  rxBytes: { type: "u64", writer: "any", doc: "UDP payload bytes, handshakes included" },
  puntWindow: {
    type: "u64",
    writer: "ingress",
    doc: "ms: second in which its packets for control are counted",
  },
  refusals: { type: "u32", writer: "ingress", doc: "its refused packets that control got" },
  controlEvents: { type: "u32", writer: "ingress", doc: "its control events that control got" },
  roamedAt: { type: "u64", writer: "ingress", doc: "ms: its last report `roamed`" },
  flows: { type: "u32", writer: "ingress", doc: "its packets without a record that control got" },
  errors: { type: "u32", writer: "ingress", doc: "its ICMP errors that control got" },
} as const satisfies RecordLayout;

/** A session (WG-44). Filled completely, then published by its peer's ring. */
export const session = {
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
  lock: { type: "u32", writer: "ingress", doc: "1: a worker of several changes the window (PG-176)" },
  window: {
    type: "u64",
    count: 128,
    writer: "ingress",
    doc: "accepted counters, bits 6 to 12 choose the word",
  },
} as const satisfies RecordLayout;

/** How datagrams to a peer travel (SN-127). Filled completely, then published in the peer's row. */
export const path = {
  serial: { type: "u32", writer: "control", doc: "of this publication, never 0, never used twice" },
  kind: { type: "u32", writer: "control", doc: "PATH_NONE, PATH_DIRECT or PATH_RELAYED" },
  isBroken: { type: "u32", writer: "control", doc: "1: nothing is sent" },
  headRoom: { type: "u32", writer: "control", doc: "bytes in front of each message, 0 or 4 (D-7)" },
  channel: { type: "u32", writer: "control", doc: "TURN channel number of a relayed path" },
  mtu: {
    type: "u32",
    writer: "control",
    doc: "largest IP packet that it carries whole; 0: no limit (TN-108)",
  },
  isCutInside: {
    type: "u32",
    writer: "control",
    doc: "1: control cuts up what is longer and cannot be refused (TN-121)",
  },
  destinationBytes: { type: "u32", writer: "control", doc: "length of the socket address: 16 or 28" },
  destination: { type: "bytes", bytes: 32, writer: "control", doc: "struct sockaddr_in or sockaddr_in6" },
  sourceBytes: { type: "u32", writer: "control", doc: "0: the kernel chooses the source; else 4 or 16" },
  source: { type: "bytes", bytes: 16, writer: "control", doc: "fixed source address" },
} as const satisfies RecordLayout;

/** A set of prefixes as sorted ranges: range i reaches to the start of range i + 1 and has one value. */
export const rangeSet = {
  count4: { type: "u32", writer: "control", doc: "IPv4 ranges; the first starts at 0.0.0.0" },
  starts4: { type: "u32", writer: "control", doc: "address of u32 starts" },
  values4: { type: "u32", writer: "control", doc: "address of u32 values" },
  count6: { type: "u32", writer: "control", doc: "IPv6 ranges; the first starts at ::" },
  starts6: { type: "u32", writer: "control", doc: "address of starts: upper u64, lower u64" },
  values6: { type: "u32", writer: "control", doc: "address of u32 values" },
} as const satisfies RecordLayout;

/** Single addresses that lead to peers, as a hash with open addressing; its entries follow it (TN-110). */
export const hostTable = {
  mask: { type: "u32", writer: "control", doc: "number of entries - 1" },
} as const satisfies RecordLayout;

/** Filled, then published by its target; the key of an entry never changes. */
export const hostEntry = {
  target: { type: "u32", writer: "control", doc: "TARGET_...; 0: free, TARGET_GONE: a probe goes on" },
  family: { type: "u32", writer: "control", doc: "4 or 6" },
  upper: { type: "u64", writer: "control", doc: "upper half of the address; IPv4: 0" },
  lower: { type: "u64", writer: "control", doc: "lower half, or the IPv4 address" },
} as const satisfies RecordLayout;

/** The policy: built aside, published by one pointer (WG-58). */
export const policy = {
  routes: { type: "bytes", bytes: 24, writer: "control", doc: "a range set: destination to target" },
  hasOwn: { type: "u32", writer: "control", doc: "1: our own addresses are checked (TN-20, TN-38)" },
  own: { type: "bytes", bytes: 24, writer: "control", doc: "a range set: our tunnel addresses" },
  permits: { type: "u32", writer: "control", doc: "address of permit rows by slot" },
  permitCount: { type: "u32", writer: "control", doc: "number of permit rows" },
} as const satisfies RecordLayout;

/** What one peer's packets may be. */
export const permit = {
  isPresent: { type: "u32", writer: "control", doc: "0: the peer has no state" },
  refusesDestination: { type: "u32", writer: "control", doc: "1: a wrong destination is punted `refused`" },
  hasDestinations: { type: "u32", writer: "control", doc: "1: destinations are checked" },
  hasEgressSources: { type: "u32", writer: "control", doc: "1: sources of packets to the peer are checked" },
  isTranslated: {
    type: "u32",
    writer: "control",
    doc: "1: packets to the peer are looked up first (TN-110)",
  },
  sources: { type: "bytes", bytes: 24, writer: "control", doc: "a range set" },
  destinations: { type: "bytes", bytes: 24, writer: "control", doc: "a range set of PERMIT_..." },
  egressSources: { type: "bytes", bytes: 24, writer: "control", doc: "a range set of PERMIT_..." },
} as const satisfies RecordLayout;
