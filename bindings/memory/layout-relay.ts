/**
 * Records of the relay's data path (RL-48 to RL-56): part of the layout of `layout.ts`.
 *
 * Two workers, one per direction. What they read of a binding is written before it is linked into its two
 * chains, and stays until both have passed a quiescent point after it was unlinked (RL-49).
 */
import type { RecordLayout } from "./layout-record.ts";

/** The relay as a whole. The plane's record names it. */
export const relay = {
  seed: { type: "u64", writer: "control", doc: "random: nobody outside knows which bindings share a chain" },
  channels: { type: "u32", writer: "control", doc: "address of the chains by client and channel" },
  peers: { type: "u32", writer: "control", doc: "address of the chains by allocation port and peer" },
  chainMask: { type: "u32", writer: "control", doc: "number of chains of either kind - 1" },
  epoll: { type: "i32", writer: "control", doc: "descriptor over all allocation sockets" },
  epollEventBytes: { type: "u32", writer: "control", doc: "size of struct epoll_event here: 12 or 16" },
  epollDataAt: { type: "u32", writer: "control", doc: "offset of its data: 4 or 8" },
} as const satisfies RecordLayout;

/** A channel binding. Control's part is constant while it is linked; the counters are anybody's. */
export const binding = {
  nextOfChannels: {
    type: "u32",
    writer: "control",
    doc: "the next binding in its chain by channel; 0: none",
  },
  nextOfPeers: { type: "u32", writer: "control", doc: "the next binding in its chain by peer; 0: none" },
  channel: { type: "u32", writer: "control", doc: "number" },
  port: { type: "u32", writer: "control", doc: "allocation port" },
  client: {
    type: "bytes",
    bytes: 16,
    line: true,
    writer: "control",
    doc: "client's address, zeros behind IPv4",
  },
  clientBytes: { type: "u32", writer: "control", doc: "its length: 4 or 16" },
  clientPort: { type: "u32", writer: "control", doc: "client's port" },
  peerBytes: { type: "u32", writer: "control", doc: "length of the peer's address: 4 or 16" },
  peerPort: { type: "u32", writer: "control", doc: "peer's port" },
  peer: { type: "bytes", bytes: 16, writer: "control", doc: "peer's address, zeros behind IPv4" },
  fd: { type: "i32", writer: "control", doc: "allocation socket of the peer's family" },
  isHairpin: { type: "u32", writer: "control", doc: "1: the peer is an allocation port of ours (RL-45)" },
  listenFd: { type: "i32", writer: "control", doc: "listening socket of the client's family" },
  localBytes: { type: "u32", writer: "control", doc: "0: the kernel chooses the source; else 4 or 16" },
  local: {
    type: "bytes",
    bytes: 16,
    line: true,
    writer: "control",
    doc: "address of ours that the client asks",
  },
  clientName: {
    type: "bytes",
    bytes: 32,
    writer: "control",
    doc: "client as struct sockaddr_in or sockaddr_in6",
  },
  peerName: {
    type: "bytes",
    bytes: 32,
    writer: "control",
    doc: "peer as struct sockaddr_in or sockaddr_in6",
  },
  toPeerPackets: { type: "u64", line: true, writer: "any", doc: "datagrams of the client" },
  toPeerBytes: { type: "u64", writer: "any", doc: "their data" },
  toPeerUsed: { type: "u64", writer: "any", doc: "ms: when the last of them came; 0: never" },
  toClientPackets: { type: "u64", line: true, writer: "any", doc: "datagrams of the peer" },
  toClientBytes: { type: "u64", writer: "any", doc: "their data" },
  toClientUsed: { type: "u64", writer: "any", doc: "ms: when the last of them came; 0: never" },
} as const satisfies RecordLayout;

/** A relay worker's own fields, behind those of `worker`; addresses of its arrays are set once. */
export const forward = {
  inHeaders: { type: "u32", writer: "control", doc: "address of struct mmsghdr by received message" },
  inVectors: { type: "u32", writer: "control", doc: "address of its struct iovec" },
  inNames: { type: "u32", writer: "control", doc: "address of its source" },
  inControls: { type: "u32", writer: "control", doc: "address of its control messages" },
  outHeaders: { type: "u32", writer: "control", doc: "address of struct mmsghdr by send" },
  outVectors: { type: "u32", writer: "control", doc: "address of its struct iovecs" },
  outControls: { type: "u32", writer: "control", doc: "address of its control messages" },
  outHeads: { type: "u32", writer: "control", doc: "address of its two channel-data headers" },
  outSends: { type: "u32", writer: "control", doc: "address of its record `relaySend`" },
  splitHeaders: { type: "u32", writer: "control", doc: "address of struct mmsghdr for one send in pieces" },
  splitSends: { type: "u32", writer: "control", doc: "address of their records" },
  epollEvents: { type: "u32", writer: "control", doc: "address of struct epoll_event; peer side only" },

  binding: { type: "u32", line: true, writer: "worker", doc: "binding found last for this message; 0: none" },
  channel: { type: "u32", writer: "worker", doc: "and the channel for which it was looked up; 0: none" },
  ready: { type: "u32", writer: "worker", doc: "messages that the next receive may bring" },

  outCount: { type: "u32", line: true, writer: "worker", doc: "sends that wait for the next flush" },
  outFd: { type: "i32", writer: "worker", doc: "their socket" },
  run: { type: "u32", writer: "worker", doc: "address of the `relaySend` that may still grow; 0: none" },
  runBinding: { type: "u32", writer: "worker", doc: "binding whose datagrams it holds" },
  runEcn: { type: "u32", writer: "worker", doc: "their ECN bits" },
  gsoOffUntil: { type: "u64", writer: "worker", doc: "ms: until then datagrams go one by one (RL-52)" },
  toPeerPackets: { type: "u64", writer: "worker", doc: "datagrams relayed to peers" },
  toPeerBytes: { type: "u64", writer: "worker", doc: "their data" },
  toClientPackets: { type: "u64", writer: "worker", doc: "datagrams relayed to clients" },
  toClientBytes: { type: "u64", writer: "worker", doc: "their data" },
} as const satisfies RecordLayout;

/** One send under way: what its struct mmsghdr does not say. */
export const relaySend = {
  datagrams: { type: "u32", writer: "worker", doc: "so many; they are equally long but for the last" },
  segment: { type: "u32", writer: "worker", doc: "length of the first, on the wire" },
  total: { type: "u32", writer: "worker", doc: "length of all" },
  vectors: { type: "u32", writer: "worker", doc: "struct iovecs so far" },
  perDatagram: { type: "u32", writer: "worker", doc: "of which so many per datagram: 1 or 2" },
  isClosed: { type: "u32", writer: "worker", doc: "1: its last datagram is shorter; none may follow" },
  controlBytes: { type: "u32", writer: "worker", doc: "control messages without UDP_SEGMENT" },
} as const satisfies RecordLayout;

export const RELAY_CONSTANTS = {
  /** Chains of either kind, a power of two: as many as bindings. */
  RELAY_CHAINS: 65_536,
  /** Messages of one receive, and sends of one flush (RL-51, RL-52). */
  RELAY_MESSAGES: 64,
  /** A receive is asked for so many bytes, so that what was received is still in the cache when it is sent. */
  RELAY_BATCH_BYTES: 0x40000,
  /** Room of one message: a whole train. */
  RELAY_BUFFER_BYTES: 0x10040,
  RELAY_NAME_BYTES: 32,
  RELAY_CONTROL_BYTES: 128,
  /** Per send: headers of whole datagrams and of the last, shorter one. */
  RELAY_HEADS_BYTES: 8,
  /** Per send: a header and its data for each datagram. */
  RELAY_VECTORS_BYTES: 2048,
  RELAY_EVENTS: 64,
  /** RFC 5766 §11. */
  RELAY_CHANNEL_FIRST: 0x4000,
  RELAY_CHANNEL_LAST: 0x7fff,
  RELAY_PADDING_MAX: 3,
  /** Longer STUN goes to nobody (RL-14). */
  RELAY_STUN_BYTES_MAX: 1500,
  /** A UDP payload over IPv4; with the header in front 4 bytes less of data (RL-43). */
  RELAY_PAYLOAD_MAX: 65_507,
  /** STUN from here on is a check of a size, and goes on whole (RL-50): no other is so long, no path so narrow. */
  RELAY_WHOLE_BYTES: 512,
} as const;
