/** How much one token may make the portal remember (PT-77). */

/** An absent member is no limit. */
export interface PeerLimits {
  /** Devices per token of a person. */
  readonly userDevices?: number;
  /** Devices per token of a service account. */
  readonly serviceDevices?: number;
  readonly gateways?: number;
}
