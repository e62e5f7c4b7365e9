/** Numbers of STUN (RFC 8489) and of its use by ICE (RFC 8445). */

export const HEADER_BYTES = 20;
export const ATTRIBUTE_HEADER_BYTES = 4;
export const TRANSACTION_ID_BYTES = 12;

/** RFC 8489 §5: also the first four bytes of the pad for XOR addresses. */
export const MAGIC_COOKIE = 0x2112a442;

/** The two top bits of a STUN message are zero (RFC 8489 §5). */
export const TYPE_MAX = 0x3fff;

export const METHOD_BINDING = 0x001;

// Attribute types, RFC 8489 §18.3 and RFC 8445 §16.1.
export const USERNAME = 0x0006;
export const MESSAGE_INTEGRITY = 0x0008;
export const ERROR_CODE = 0x0009;
export const XOR_MAPPED_ADDRESS = 0x0020;
export const PRIORITY = 0x0024;
export const USE_CANDIDATE = 0x0025;
export const SOFTWARE = 0x8022;
/** Comprehension-optional, from the range of expert review (SN-151). */
export const PADDING = 0xc026;
export const FINGERPRINT = 0x8028;
export const ICE_CONTROLLED = 0x8029;
export const ICE_CONTROLLING = 0x802a;

export const INTEGRITY_BYTES = 20;
export const FINGERPRINT_BYTES = 4;
export const USERNAME_BYTES_MAX = 512;

/** RFC 8489 §14.7: keeps the CRC apart from that of another protocol in the same datagram. */
export const FINGERPRINT_XOR = 0x5354554e;

export const FAMILY_IPV4 = 0x01;
export const FAMILY_IPV6 = 0x02;

/** RFC 8445 §7.3.1.1. */
export const ROLE_CONFLICT = 487;

/** Attributes read of one message; more make it malformed, so that a datagram costs little. */
export const ATTRIBUTES_MAX = 64;
