/** Numbers of TURN (RFC 8656) as relay and relay client use them (RL-1, RL §2). */

// Methods, RFC 8656 §17.
export const METHOD_ALLOCATE = 0x003;
export const METHOD_REFRESH = 0x004;
export const METHOD_SEND = 0x006;
export const METHOD_DATA = 0x007;
export const METHOD_CREATE_PERMISSION = 0x008;
export const METHOD_CHANNEL_BIND = 0x009;

// Attribute types, RFC 8489 §18.3 and RFC 8656 §18.
/** Not masked, for clients of RFC 3489: coturn adds it to its Binding responses. */
export const MAPPED_ADDRESS = 0x0001;
export const UNKNOWN_ATTRIBUTES = 0x000a;
export const CHANNEL_NUMBER = 0x000c;
export const LIFETIME = 0x000d;
export const XOR_PEER_ADDRESS = 0x0012;
export const REALM = 0x0014;
export const NONCE = 0x0015;
export const XOR_RELAYED_ADDRESS = 0x0016;
export const REQUESTED_ADDRESS_FAMILY = 0x0017;
export const EVEN_PORT = 0x0018;
export const REQUESTED_TRANSPORT = 0x0019;
export const DONT_FRAGMENT = 0x001a;
export const RESERVATION_TOKEN = 0x0022;
export const ADDITIONAL_ADDRESS_FAMILY = 0x8000;
export const ADDRESS_ERROR_CODE = 0x8001;
/** coturn's number for ADDITIONAL-ADDRESS-FAMILY. */
export const ADDITIONAL_ADDRESS_FAMILY_COTURN = 0x8032;

/** Types below must be understood by who reads them (RFC 8489 §14). */
export const COMPREHENSION_OPTIONAL = 0x8000;

/** The only transport that is relayed: protocol number of UDP. */
export const TRANSPORT_UDP = 17;

/** Bytes of a control message at most, by which it crosses every link unfragmented (RL-14). */
export const TURN_MESSAGE_BYTES_MAX = 1500;

/** RFC 8656 §12: `[channel u16][length u16]`. */
export const CHANNEL_HEADER_BYTES = 4;
export const CHANNEL_FIRST = 0x4000;
/** RFC 8656 §12: the last that our client uses. */
export const CHANNEL_LAST = 0x4fff;
/** RFC 5766 §11: the last that our relay accepts. */
export const CHANNEL_LAST_ACCEPTED = 0x7fff;
/** RFC 8656 §12.5: padding to a multiple of 4 is allowed over UDP, and turnutils_uclient can send it. */
export const CHANNEL_PADDING_MAX = 3;

// The relay client (RL §2). Times in milliseconds.

/** A request is sent at 0, 1, 2.5 and 4.75 s and given up at 8.125 s (RL-82). */
export const REQUEST_FIRST_MS = 1_000;
export const REQUEST_FACTOR = 1.5;
export const REQUEST_SENDS = 4;
/** How long the one try of an on-demand refresh may take (RL-89). */
export const ON_DEMAND_MS = 1_000;

/** NATs forget mappings of UDP after 30 s at the earliest (RL-88). */
export const KEEP_ALIVE_MS = 25_000;

/** Between two tries of an allocation that the relay refuses; it doubles (RL-81). */
export const RETRY_FIRST_MS = 30_000;
export const RETRY_LAST_MS = 300_000;

/** Shorter lifetimes are taken for this one, or refreshing would be all that we do (RL-86). */
export const LIFETIME_LEAST_S = 60;

/** How long a channel lives after its ChannelBind (RFC 8656 §12, RL-28, RL-102). */
export const CHANNEL_LIFE_MS = 600_000;
/** From when on a channel that is used is bound again (RL-102). */
export const CHANNEL_REFRESH_MS = 300_000;
/** How long number and peer of an expired channel belong to each other (RFC 8656 §12, RL-29, RL-100). */
export const CHANNEL_COOLING_MS = 300_000;

/** Peers whose channels wait for the allocation (RL-99). */
export const BUFFERED_PEERS_MAX = 100;

/** How long a peer is left alone that the relay refused (RL-97), and how many such are remembered. */
export const REFUSED_PEER_MS = 60_000;
export const REFUSED_PEERS_MAX = 256;

/** Rounds of authentication for one request, and of allocations that do not match (RL-92, RL-97). */
export const ROUNDS_MAX = 3;

/** How long an Allocate waits in each round after the allocation before it was deleted (RL-97). */
export const MISMATCH_WAITS_MS = [0, 1_000, 2_000] as const;

/** Bytes of USERNAME and of REALM and NONCE at most (RL-118, RFC 8489 §14). */
export const RELAY_USERNAME_BYTES_MAX = 508;
export const REALM_BYTES_MAX = 763;

/** Between two lines about the same nuisance (RL-91, RL-100). */
export const NUISANCE_MS = 60_000;

// TURN over a stream (RL-204).

/** ChannelData that has waited longer for the stream is dropped: nobody inside waits for it any more. */
export const STREAM_LATE_MS = 500;
/** Bytes that may wait for the stream. */
export const STREAM_QUEUE_BYTES_MAX = 1 << 20;
/** What a datagram counts at least: small ones cost memory, too. */
export const STREAM_DATAGRAM_COST_LEAST = 256;
/** Answers that may wait, which are never dropped: a client that asks without reading ends its connection. */
export const STREAM_ANSWERS_MAX = 512;
