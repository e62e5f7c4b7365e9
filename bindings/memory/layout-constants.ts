import { FLOW_CONSTANTS } from "./layout-flow.ts";
import { PACKET_CONSTANTS } from "./layout-packet.ts";
import { RELAY_CONSTANTS } from "./layout-relay.ts";
import { HISTOGRAM_CONSTANTS } from "./layout-worker.ts";

/** Numbers that both sides know by name. */
export const CONSTANTS = {
  ...PACKET_CONSTANTS,
  ...RELAY_CONSTANTS,
  ...FLOW_CONSTANTS,
  ...HISTOGRAM_CONSTANTS,

  PLANE_ADDRESS: 0x40000,
  SCRATCH_ADDRESS: 0x50000,
  SCRATCH_BYTES: 0x20000,
  HEAP_ADDRESS: 0x80000,

  /** What the policy asks of packets besides its tables: bits of `plane.checks`, set by `bindings/plane/rules.ts`. */
  CHECK_ROUTED_SOURCE: 1,
  CHECK_PERMITS: 2,
  CHECK_SOURCES_OUT: 4,
  CHECK_LEAVING: 8,
  CHECK_ARRIVING: 16,
  CHECK_CONTROL_EVENTS: 32,
  CHECK_ICMP: 64,
  CHECK_CHECKSUMS: 128,
  CHECK_RESOLVER: 256,

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
  INJECT_RING_ENTRIES: 2048,
  INJECT_RING_AREA: 0x200000,
  /** Frames between the workers and a stack without a device (PG-122), each way. */
  FRAME_RING_ENTRIES: 1024,
  FRAME_RING_AREA: 0x200000,
  /** Behind a frame: the plane pads in place (PF-54). */
  FRAME_TAIL_BYTES: 16,

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
  /** Of a row in the relay list: address length, port, two unused, address. The list begins with its length, in 16 bytes. */
  RELAY_ROW_BYTES: 32,

  /**
   * Where a packet leads: TARGET_DROP plus a reason, TARGET_PEER plus a slot, or one of the verdicts.
   * In a route table 0 says that nothing is known; as a judgement on ingress, that the packet passes.
   */
  TARGET_NONE: 0,
  TARGET_PUNT: 1,
  TARGET_REFUSE: 2,
  TARGET_CONTROL: 3,
  /** The record of the packet's flow decides (TN-110). */
  TARGET_FLOW: 4,
  /** An ICMP error that control translates (TN-78). */
  TARGET_ICMP_ERROR: 5,
  /** What the client's resolver may have asked for (TN-38). */
  TARGET_RESOLVER: 6,
  TARGET_DROP: 0x1000,
  /** The golden ratio in 32 bits, odd. */
  HOST_HASH_MULTIPLIER: 0x9e3779b1,
  /** In the host table: an address that leads nowhere any more. */
  TARGET_GONE: 0xffff,
  TARGET_PEER: 0x10000,
  /** The three of them with the peer concerned: plus a slot. The second passes to the peer if it has no record. */
  TARGET_FLOW_OF: 0x20000,
  TARGET_FLOW_OR_PEER: 0x30000,
  TARGET_ICMP_ERROR_OF: 0x40000,
  /** Values of a permit's range sets. */
  PERMIT_MEMBER: 1,
  PERMIT_BY_FLOW: 2,

  /** At most so many datagrams, and so many bytes, in one send (PF-38, PF-39). */
  SEND_SEGMENTS: 64,
  SEND_BYTES: 65_450,

  /**
   * What control is asked to judge in each such time (PG-160): shares by kind of message, so that none takes
   * another's place. Together the handshakes are what control can answer.
   */
  PUNT_WINDOW_MS: 100,
  SHARES: 9,
  /** Initiations of sources that have proved to be a peer; of anybody; of whoever returns a cookie. */
  SHARE_KNOWN: 0,
  KNOWN_SHARE: 100,
  SHARE_FREE: 1,
  FREE_SHARE: 10,
  SHARE_COOKIE: 2,
  COOKIE_SHARE: 100,
  /** Answers to our own messages. */
  SHARE_RESPONSE: 3,
  RESPONSE_SHARE: 100,
  /**
   * Cookie replies, which the ingress worker makes by itself: 6,000 a second. A system call for each of 50,000
   * a second would leave a third of the traffic (PG-160).
   */
  SHARE_REPLY: 4,
  REPLY_SHARE: 600,
  /** So many while data takes at most LITTLE_WORK of a window, and the worker keeps up. */
  REPLY_MOST: 6000,
  LITTLE_WORK: 500,
  /** Looks at a mac2, which cost as much as half of an answer without the system call: as many as a filter lets pass. */
  SHARE_MAC2: 8,
  /**
   * While data waits, replies take a part in REPLY_PARTS of the time that it takes, and REPLY_SHARE_MIN at least;
   * each window without that gives back as many. In microseconds: a reply; a batch of data, and a KiB of it.
   */
  REPLY_SHARE_MIN: 60,
  REPLY_PARTS: 4,
  REPLY_WORK: 20,
  BATCH_WORK: 10,
  /**
   * When so many initiations a second come without a cookie, or with one that is wrong, the kernel drops what is
   * beyond FLOOD_PASSED, half as many again as there are replies for, until fewer than FLOOD_ENDS come; looked at
   * once a period. All three fall with the replies (REPLY_SHARE_MIN). What passes is counted in parts of FLOOD_ONE,
   * and is FLOOD_PASSING_MIN at least. With more peers than FLOOD_PEERS_MAX of a family there is no filter: each is
   * two to five of its instructions.
   */
  FLOOD_PERIOD_MS: 500,
  FLOOD_BEGINS: 20_000,
  FLOOD_ENDS: 12_000,
  FLOOD_PASSED: 9000,
  FLOOD_ONE: 65_536,
  FLOOD_PASSING_MIN: 1024,
  FLOOD_PEERS_MAX: 256,
  /** STUN from known sources and from strangers; below STUN_CALM nobody looks at single sources. */
  SHARE_KNOWN_STUN: 5,
  SHARE_STUN: 6,
  STUN_SHARE: 400,
  STUN_CALM: 100,
  SHARE_UNKNOWN: 7,
  UNKNOWN_SHARE: 50,
  /** So long a cookie is asked for when the free share was used up (WG-31). */
  LOAD_MS: 1000,
  /** What one source may have of a share: 20 a second, 5 at once (WG-32). */
  BUDGETS: 4096,
  BUDGET_INTERVAL_MS: 50,
  BUDGET_BURST: 5,
  /** Places for known sources; known for twelve units of 16 s, as long as a session lives (WG-17). */
  KNOWN_SOURCES: 16_384,
  KNOWN_UNIT_BITS: 14,
  KNOWN_UNITS: 12,
  KNOWN_UNSTAMPED: 0xffffffff,
  /** WG-33: life of the secret behind cookies. */
  COOKIE_PERIOD_MS: 120_000,
  /** Cookie replies to one receive: all of it has one source, whose budget is less. */
  REPLIES_MAX: 8,
  /** Cookie replies go out so many at a time; each with its I/O vector, address and control messages. */
  REPLIES_AT_ONCE: 16,
  WAITING_BYTES: 160,
  KEY_BYTES: 32,

  MESSAGE_INITIATION: 1,
  MESSAGE_RESPONSE: 2,
  MESSAGE_COOKIE: 3,
  MESSAGE_DATA: 4,
  INITIATION_BYTES: 148,
  RESPONSE_BYTES: 92,
  COOKIE_REPLY_BYTES: 64,
  /** Header of a transport message, and its tag behind the text. */
  DATA_HEADER_BYTES: 16,
  TAG_BYTES: 16,

  /** Refused packets, and control events, that control gets per second and peer (TN-14, TN-40). */
  REFUSALS_PER_PEER: 100,
  CONTROL_EVENTS_PER_SECOND: 100,

  NO_SLOT: 0xffffffff,
  /** `entry.detail` of a handshake message that the guard has let pass. */
  JUDGED: 1,
  EVENT_HANDSHAKE: 1,
  EVENT_STUN: 2,
  EVENT_OTHER: 3,
  EVENT_ACTIVITY: 4,
  EVENT_WAKE: 5,
  EVENT_CONFIRMED: 6,
  EVENT_COUNTER: 7,
  EVENT_ROAMED: 8,
  EVENT_TOO_LONG: 9,
  PUNT_NO_SESSION: 16,
  PUNT_FIRST: 17,
  PUNT_REFUSED: 18,
  PUNT_CONTROL_EVENT: 19,
  /** Not an entry: what is left of a refused frame is dropped. */
  PUNT_DROP: 20,
  PUNT_TOO_BIG: 21,
  PUNT_FLOW: 22,
  PUNT_ICMP_ERROR: 23,
  PUNT_RESOLVER: 24,
  /** `entry.detail` of PUNT_FLOW and PUNT_ICMP_ERROR: resource to client; else client to resource. */
  FLOW_OUT: 0,
  FLOW_IN: 1,

  /** The client's resolver asks from such ports: above those that Linux gives to programs (DN-68). */
  RESOLVER_PORT_FIRST: 61_000,
  DNS_PORT: 53,
  GATEWAY_DNS_PORT: 53_535,

  /** No link of IPv6 takes less (RFC 8200 §5). */
  IP6_MTU_MIN: 1280,

  /** Bits of a pair's number in what tells one punt from all others (PG-176). */
  PAIR_BITS: 4,
  MOST_PAIRS: 16,

  STAGE_IDLE: 0,
  STAGE_INJECT: 1,
  STAGE_SEGMENTS: 2,

  ENDED_STOPPED: 1,
  ENDED_TUN_REMOVED: 2,
  ENDED_SOCKET: 3,
} as const;
