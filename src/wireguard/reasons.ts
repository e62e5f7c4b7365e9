/** Why handshake messages and staged packets are dropped: one counter each (WG-72). */
export const WG_DROP_REASONS = [
  /** Not a WireGuard message: type, reserved bytes or length (WG-22). */
  "wg_malformed",
  /** mac1 is not made with our public key (WG-22). */
  "wg_bad_mac1",
  /** Too many handshakes, and no source to send a cookie to (WG-32). */
  "wg_under_load",
  /** Under load, valid cookie, but too many from that source (WG-32). */
  "wg_source_rate",
  /** The static key or the stamp of an initiation does not open (WG-22). */
  "wg_bad_init",
  /** A Diffie-Hellman result of zeros (WG-6). */
  "wg_zero_dh",
  /** An initiation by a key that no peer has (WG-22). */
  "wg_unknown_peer",
  /** The stamp of an initiation is not greater than the last (WG-8, WG-22). */
  "wg_replayed_timestamp",
  /** An initiation less than 20 ms after the last one of the peer (WG-22). */
  "wg_flood",
  /** A response, or cookie, to no initiation of ours (WG-14, WG-22). */
  "wg_unexpected_response",
  /** A response to an initiation of ours that does not open (WG-24). */
  "wg_bad_response",
  "wg_unexpected_cookie",
  "wg_bad_cookie",
  /** The oldest staged packet made room for a new one (WG-18). */
  "wg_stage_overflow",
  /** Staged packets of an attempt without answer (WG-37). */
  "wg_no_response",
  /** The device has no private key (plain mode, WG-66). */
  "wg_no_key",
] as const;

export type WgDropReason = (typeof WG_DROP_REASONS)[number];
export type WgDropCounts = Record<WgDropReason, number>;

export function createDropCounts(): WgDropCounts {
  return Object.fromEntries(WG_DROP_REASONS.map((reason) => [reason, 0])) as WgDropCounts;
}
