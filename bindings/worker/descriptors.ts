/** What one pair of workers reads and writes; control keeps ownership and closes them after `stop`. */
export interface PairDescriptors {
  /** A queue of the device; absent: frames go by the plane's rings (`hasFrames`). */
  readonly tun?: number;
  readonly udp4?: number;
  readonly udp6?: number;
}

/** Of the first pair, and what is the same for all. */
export interface PlaneDescriptors extends PairDescriptors {
  /** Of the others, if the plane has several pairs (PG-176). */
  readonly others?: readonly PairDescriptors[];
  /** Ports that the sockets are bound to, for the `local` of events. */
  readonly port4?: number;
  readonly port6?: number;
  /** Whether the sockets take UDP_SEGMENT; the plane finds out by itself when they stop to (PG-46). */
  readonly hasSegmentation: boolean;
  /** What the TUN device takes as super-frames (TUNSETOFFLOAD succeeded). */
  readonly hasTcpOffload: boolean;
  readonly hasUdpOffload: boolean;
}
