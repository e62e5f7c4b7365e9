/** Where the fields of headers lie, in bytes from the header's first one, and the flags in them. */

/** RFC 791 §3.1. */
export namespace Ip4 {
  export const TOS: usize = 1;
  export const TOTAL_BYTES: usize = 2;
  export const IDENTIFICATION: usize = 4;
  /** Three flags and the fragment offset. */
  export const FRAGMENT: usize = 6;
  export const PROTOCOL: usize = 9;
  export const CHECKSUM: usize = 10;
  export const SOURCE: usize = 12;
  export const DESTINATION: usize = 16;
  /** Length without options. */
  export const BYTES: u32 = 20;
}

/** RFC 8200 §3. */
export namespace Ip6 {
  export const PAYLOAD_BYTES: usize = 4;
  export const NEXT_HEADER: usize = 6;
  export const SOURCE: usize = 8;
  export const DESTINATION: usize = 24;
  export const BYTES: u32 = 40;
}

/** RFC 8200 §4: extension headers, and the two fields that only some of them have. */
export namespace Extension {
  export const NEXT_HEADER: usize = 0;
  /** In units of 8 bytes, without the first. */
  export const LENGTH: usize = 1;
  export const FRAGMENT: usize = 2;
  export const SEGMENTS_LEFT: usize = 3;
}

/** RFC 9293 §3.1. */
export namespace Tcp {
  export const SOURCE_PORT: usize = 0;
  export const DESTINATION_PORT: usize = 2;
  export const SEQUENCE: usize = 4;
  export const ACKNOWLEDGMENT: usize = 8;
  /** Its upper four bits: the length of the header in units of four bytes. */
  export const DATA_OFFSET: usize = 12;
  export const FLAGS: usize = 13;
  export const CHECKSUM: usize = 16;
  /** Length without options. */
  export const BYTES: u32 = 20;

  export const FIN: u32 = 0x01;
  export const SYN: u32 = 0x02;
  export const RST: u32 = 0x04;
  export const PSH: u32 = 0x08;
  export const ACK: u32 = 0x10;
  export const CWR: u32 = 0x80;
}

/** RFC 768. */
export namespace Udp {
  export const SOURCE_PORT: usize = 0;
  export const DESTINATION_PORT: usize = 2;
  export const LENGTH: usize = 4;
  export const CHECKSUM: usize = 6;
  export const BYTES: u32 = 8;
}

/** RFC 792 and RFC 4443: the fields that both have. */
export namespace Icmp {
  export const TYPE: usize = 0;
  export const IDENTIFIER: usize = 4;
  export const BYTES: u32 = 8;
}

/** What initiation and response have in common (WG-4). */
export namespace Handshake {
  export const SENDER: usize = 4;
}

/** A response of WireGuard. */
export namespace Response {
  export const RECEIVER: usize = 8;
}

/** A cookie reply of WireGuard. */
export namespace CookieReply {
  export const RECEIVER: usize = 4;
  export const NONCE: usize = 8;
  export const COOKIE: usize = 32;
}

/** A transport message of WireGuard (WG-4). */
export namespace Data {
  export const RECEIVER: usize = 4;
  export const COUNTER: usize = 8;
}

/** RFC 8656 §12.4: the header of channel data. */
export namespace Channel {
  export const NUMBER: usize = 0;
  export const LENGTH: usize = 2;
}

/** `struct sockaddr_in` and `sockaddr_in6`. */
export namespace Sockaddr {
  export const FAMILY: usize = 0;
  export const PORT: usize = 2;
  export const ADDRESS4: usize = 4;
  export const ADDRESS6: usize = 8;
  export const SCOPE6: usize = 24;

  export const BYTES4: u32 = 16;
  export const BYTES6: u32 = 28;
}
