/** What differs from use to use: the columns of PG-127 and of DN-90 to DN-94. */

export interface TcpProfile {
  readonly sendBufferBytes: number;
  readonly receiveBufferBytes: number;
  /** What the buffers may grow to; absent: they do not. */
  readonly sendBufferMostBytes?: number;
  readonly receiveBufferMostBytes?: number;
  /** Absent: no window scaling (RFC 7323 §2). */
  readonly windowShift?: number;
  /** RFC 7323 §3, with PAWS. */
  readonly hasTimestamps: boolean;
  /** RFC 2018; with it RACK-TLP (RFC 8985). */
  readonly hasSack: boolean;
  readonly rtoMinMs: number;
  readonly rtoMaxMs: number;
  /** How often SYN or SYN+ACK is sent before the connection is given up. */
  readonly synSendsMax: number;
  /** How often the oldest octet is sent. */
  readonly dataSendsMax: number;
  /** A closed window is probed at this pace; absent: as the RTO grows (RFC 9293 §3.8.6.1). */
  readonly windowProbeMs?: number;
  /** Unanswered probes of a closed window. */
  readonly windowProbesMax: number;
  /** 0: every segment is acknowledged at once. */
  readonly delayedAckMs: number;
  /** Pieces ahead of a gap that are kept. */
  readonly outOfOrderMax: number;
  /** How long a connection may stay half open; absent: as long as SYN+ACK is repeated. */
  readonly synReceivedMs?: number;
  /** How long a peer may keep its side open once ours has ended; absent: for ever, as half-closing wants it. */
  readonly finWait2Ms?: number;
  readonly timeWaitMs: number;
  readonly timeWaitsMax: number;
  readonly connectionsMax: number;
  /** Half-open connections of one local address and port. */
  readonly halfOpenMax: number;
}

/** What applications get (PG-127). */
export const FULL_PROFILE: TcpProfile = {
  sendBufferBytes: 1 << 20,
  receiveBufferBytes: 1 << 20,
  sendBufferMostBytes: 8 << 20,
  // The widest window that the scale can tell.
  receiveBufferMostBytes: 65_535 << 7,
  windowShift: 7,
  hasTimestamps: true,
  hasSack: true,
  rtoMinMs: 200,
  rtoMaxMs: 60_000,
  synSendsMax: 5,
  dataSendsMax: 16,
  windowProbesMax: 15,
  delayedAckMs: 40,
  outOfOrderMax: 4_096,
  timeWaitMs: 60_000,
  timeWaitsMax: 4_096,
  connectionsMax: 65_536,
  halfOpenMax: 128,
};

/** What the resolver gets (DN-90 to DN-94): short exchanges, few peers, nothing to negotiate. */
export const DNS_PROFILE: TcpProfile = {
  // Answers are bounded by the queries that may wait for them (DN-90).
  sendBufferBytes: 4 << 20,
  receiveBufferBytes: 65_535,
  hasTimestamps: false,
  hasSack: false,
  rtoMinMs: 250,
  rtoMaxMs: 4_000,
  synSendsMax: 4,
  dataSendsMax: 6,
  windowProbeMs: 1_000,
  windowProbesMax: 5,
  delayedAckMs: 0,
  outOfOrderMax: 16,
  synReceivedMs: 5_000,
  finWait2Ms: 10_000,
  timeWaitMs: 1_000,
  timeWaitsMax: 4_096,
  connectionsMax: 65_536,
  halfOpenMax: 65_536,
};
