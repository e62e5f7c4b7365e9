/**
 * Records of `assembly/packet` and `assembly/segment`: part of the layout of `layout.ts`, which
 * generates the offsets for the plane. All of them are private to one worker.
 */
import type { RecordLayout } from "./layout-record.ts";

/** What validation found out about a packet (TN-1, TN-6). Offsets count from its first byte. */
export const packet = {
  family: { type: "u32", writer: "worker", doc: "4 or 6" },
  protocol: { type: "u32", writer: "worker", doc: "transport protocol number, where the walk ended" },
  transportOffset: { type: "u32", writer: "worker", doc: "bytes of IP header and extension headers" },
  transportBytes: { type: "u32", writer: "worker", doc: "transport header and payload" },
  totalBytes: { type: "u32", writer: "worker", doc: "the packet without padding" },
  sourcePort: { type: "u32", writer: "worker", doc: "port or echo identifier; 0 if portless" },
  destinationPort: { type: "u32", writer: "worker", doc: "port or echo identifier; 0 if portless" },
  flags: { type: "u32", writer: "worker", doc: "PACKET_FLAG_…" },
} as const satisfies RecordLayout;

/** The super-frame that is being split; `splitBegin` sets it up, `splitNext` moves it on. */
export const split = {
  packet: { type: "u32", writer: "egress", doc: "address of the frame's IP packet" },
  totalBytes: { type: "u32", writer: "egress", doc: "its length" },
  count: { type: "u32", writer: "egress", doc: "segments" },
  index: { type: "u32", writer: "egress", doc: "segments given out" },
  segmentBytes: { type: "u32", writer: "egress", doc: "length of the segment given out last" },
  headerBytes: { type: "u32", writer: "egress", doc: "IP and transport headers; 0: a single packet" },
  gsoBytes: { type: "u32", writer: "egress", doc: "payload of every segment but the last" },
  transportOffset: { type: "u32", writer: "egress", doc: "bytes of the IP headers" },
  family: { type: "u32", writer: "egress", doc: "4 or 6" },
  protocol: { type: "u32", writer: "egress", doc: "6 TCP, 17 UDP" },
  sequence: { type: "u32", writer: "egress", doc: "TCP sequence number of the first segment" },
  tcpFlags: { type: "u32", writer: "egress", doc: "TCP flags of the super-frame" },
  identification: { type: "u32", writer: "egress", doc: "IPv4 identification of the first segment" },
  ipSum: { type: "u64", writer: "egress", doc: "sum of the IPv4 header, varying fields zero" },
  transportSum: {
    type: "u64",
    writer: "egress",
    doc: "sum of transport header and pseudo-header, varying fields and length zero",
  },
  header: { type: "bytes", bytes: 512, writer: "egress", doc: "the headers, varying fields zero" },
} as const satisfies RecordLayout;

/** Longest headers of a super-frame in bytes: the size of `split.header`. */
export const SPLIT_HEADER_CAPACITY = split.header.bytes;

/** Frames that a batch may finish before they must be written. */
export const COALESCE_LIST_MAX = 256;

/** The super-frame under construction towards the TUN device, and the frames that are finished. */
export const coalesce = {
  arena: { type: "u32", writer: "ingress", doc: "address of the two halves" },
  halfBytes: { type: "u32", writer: "ingress", doc: "length of one" },
  features: { type: "u32", writer: "ingress", doc: "COALESCE_TCP, COALESCE_UDP" },
  home: { type: "u32", writer: "ingress", doc: "address of the half that takes fresh frames" },
  free: { type: "u32", writer: "ingress", doc: "first byte of it behind finished frames" },
  target: { type: "u32", writer: "ingress", doc: "where the datagram at hand was to be opened; 0: none" },
  isSpeculative: { type: "u32", writer: "ingress", doc: "1: the target continues the frame" },
  frame: { type: "u32", writer: "ingress", doc: "address of the frame under construction; 0: none" },
  end: { type: "u32", writer: "ingress", doc: "address of the first byte behind it" },
  segments: { type: "u32", writer: "ingress", doc: "packets in it" },
  headerBytes: { type: "u32", writer: "ingress", doc: "IP and transport headers of each" },
  ipHeaderBytes: { type: "u32", writer: "ingress", doc: "IP header: 20 or 40" },
  payloadBytes: { type: "u32", writer: "ingress", doc: "payload of every packet but the last" },
  sequence: { type: "u32", writer: "ingress", doc: "TCP sequence number that continues it" },
  identification: { type: "u32", writer: "ingress", doc: "IPv4 identification that continues it" },
  saved: { type: "bytes", bytes: 128, writer: "ingress", doc: "what lay at a speculative target" },
  count: { type: "u32", writer: "ingress", doc: "finished frames" },
  listAddress: { type: "u32", count: 256, writer: "ingress", doc: "of each: its virtio header" },
  listBytes: { type: "u32", count: 256, writer: "ingress", doc: "of each: length with virtio header" },
  listSegments: { type: "u32", count: 256, writer: "ingress", doc: "of each: packets in it" },
} as const satisfies RecordLayout;

/** Numbers that packet and segment share with those who drive them. */
export const PACKET_CONSTANTS = {
  /** `packet.flags`: a fragment that is not the whole packet; the packet has ports or an echo identifier. */
  PACKET_FLAG_FRAGMENT: 1,
  PACKET_FLAG_PORTS: 2,
  /** In the roles client and gateway: a fragment that is not the first. */
  PACKET_FLAG_LATER: 4,
  VNET_HEADER_BYTES: 10,
  SPLIT_HEADER_CAPACITY,
  COALESCE_LIST_MAX,
  /** `coalesce.features`: what the TUN device takes as super-frames. */
  COALESCE_TCP: 1,
  COALESCE_UDP: 2,
} as const;
