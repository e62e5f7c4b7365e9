/** What is known of packets where they are cut up and put together (RFC 791 §3.1, RFC 8200 §3, §4.5). */

/** Without options and extension headers. */
export const HEADER_BYTES = { 4: 20, 6: 40 } as const;
/** The stack takes and makes no packet that is longer, whole. */
export const PACKET_BYTES_MAX = 65_535;
