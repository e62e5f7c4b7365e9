/** Numbers of TURN (RFC 8656) as relay and relay client use them (RL-1, RL §2). */

// Methods, RFC 8656 §17.
export const METHOD_ALLOCATE = 0x003;
export const METHOD_REFRESH = 0x004;
export const METHOD_SEND = 0x006;
export const METHOD_DATA = 0x007;
export const METHOD_CREATE_PERMISSION = 0x008;
export const METHOD_CHANNEL_BIND = 0x009;

// Attribute types, RFC 8489 §18.3 and RFC 8656 §18.
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
