/** Descriptors that the workers read and write; control keeps ownership and closes them after `stop`. */
export interface PlaneDescriptors {
  /** Absent: frames go by the plane's rings (`hasFrames`). */
  readonly tun?: number;
  readonly udp4?: number;
  readonly udp6?: number;
  /** Ports that the sockets are bound to, for the `local` of events. */
  readonly port4?: number;
  readonly port6?: number;
  /** Whether the sockets take UDP_SEGMENT; the plane finds out by itself when they stop to (PG-46). */
  readonly hasSegmentation: boolean;
  /** What the TUN device takes as super-frames (TUNSETOFFLOAD succeeded). */
  readonly hasTcpOffload: boolean;
  readonly hasUdpOffload: boolean;
}
