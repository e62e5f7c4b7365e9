/** Numbers of DNS (RFC 1035, RFC 6891, RFC 8914) and of dns.md §2. */

export { UDP_HEADER_BYTES } from "../packet/index.ts";

export const DNS_PORT = 53;
/** In-tunnel name servers of a gateway, UDP and TCP (TN-61 row 6). */
export const GATEWAY_DNS_PORT = 53_535;
/** In front of a message over TCP: its length (RFC 1035 §4.2.2). */
export const TCP_LENGTH_BYTES = 2;
/** Of a message over TCP, whose length has 16 bits (RFC 1035 §4.2.2). */
export const MESSAGE_BYTES_MAX = 65_535;
/** DNS message that fits with UDP and IPv6 headers into 1280 bytes. */
export const UDP_MAX = 1_232;
/** Without EDNS a UDP message has no more (RFC 1035 §4.2.1). */
export const UDP_MIN = 512;
/** TTL of local answers: programs ask again rather than keep what may change. */
export const LOCAL_TTL_S = 1;

export const TYPE = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  MX: 15,
  TXT: 16,
  SIG: 24,
  AAAA: 28,
  SRV: 33,
  NAPTR: 35,
  DNAME: 39,
  OPT: 41,
  SSHFP: 44,
  TLSA: 52,
  SVCB: 64,
  HTTPS: 65,
  TSIG: 250,
  IXFR: 251,
  AXFR: 252,
  MAILB: 253,
  MAILA: 254,
  ANY: 255,
  URI: 256,
} as const;

export const CLASS_IN = 1;

export const RCODE = {
  noError: 0,
  formErr: 1,
  servFail: 2,
  nxDomain: 3,
  notImp: 4,
  refused: 5,
  badVers: 16,
} as const;

/** Info codes of an Extended DNS Error (RFC 8914 §4, DN-11). */
export const EXTENDED_ERROR = { notReady: 14, deadline: 22, network: 23 } as const;
export type ExtendedError = keyof typeof EXTENDED_ERROR;
