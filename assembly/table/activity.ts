/**
 * What a peer's timers are computed from (WG-41, WG-49): stamps in milliseconds, 0 for never, and counts.
 * Written once per batch and peer. Control stamps its own messages by the same rules.
 * The twin: `test/twin/plane/peer.ts`.
 */
import { Peer } from "../layout";

/** The egress worker sends `packets` data packets, `bytes` bytes of UDP payload in all. */
export function noteSent(peer: usize, now: u64, packets: u32, bytes: u32): void {
  atomic.store<u64>(peer, now, Peer.SENT_ANY);
  store<u64>(peer, now, Peer.SENT_DATA);
  // Stamps of "first since": only zero is replaced.
  if (atomic.load<u64>(peer, Peer.UNANSWERED) == 0) atomic.cmpxchg<u64>(peer, 0, now, Peer.UNANSWERED);
  if (atomic.load<u64>(peer, Peer.UNREPLIED) != 0) atomic.store<u64>(peer, 0, Peer.UNREPLIED);
  atomic.add<u64>(peer, <u64>packets, Peer.TX_PACKETS);
  atomic.add<u64>(peer, <u64>bytes, Peer.TX_BYTES);
}

/** The ingress worker accepted messages of `bytes` bytes in all, `packets` of them data packets. */
export function noteReceived(peer: usize, now: u64, packets: u32, bytes: u32): void {
  atomic.store<u64>(peer, now, Peer.RECV_ANY);
  if (packets != 0) {
    store<u64>(peer, now, Peer.RECV_DATA);
    if (atomic.load<u64>(peer, Peer.UNREPLIED) == 0) atomic.cmpxchg<u64>(peer, 0, now, Peer.UNREPLIED);
  }
  if (atomic.load<u64>(peer, Peer.UNANSWERED) != 0) atomic.store<u64>(peer, 0, Peer.UNANSWERED);
  atomic.add<u64>(peer, <u64>packets, Peer.RX_PACKETS);
  atomic.add<u64>(peer, <u64>bytes, Peer.RX_BYTES);
}
