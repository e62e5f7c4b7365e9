/**
 * What a peer's timers are computed from (WG-41, WG-49): stamps in milliseconds, 0 for never, and counts.
 * Written once per batch and peer. Control stamps its own messages by the same rules.
 */
import {
  PEER_RECV_ANY,
  PEER_RECV_DATA,
  PEER_RX_BYTES,
  PEER_RX_PACKETS,
  PEER_SENT_ANY,
  PEER_SENT_DATA,
  PEER_TX_BYTES,
  PEER_TX_PACKETS,
  PEER_UNANSWERED,
  PEER_UNREPLIED,
} from "../layout";

/** The egress worker sends `packets` data packets, `bytes` bytes of UDP payload in all. */
export function noteSent(peer: usize, now: u64, packets: u32, bytes: u32): void {
  atomic.store<u64>(peer, now, PEER_SENT_ANY);
  store<u64>(peer, now, PEER_SENT_DATA);
  // Stamps of "first since": only zero is replaced.
  if (atomic.load<u64>(peer, PEER_UNANSWERED) == 0) atomic.cmpxchg<u64>(peer, 0, now, PEER_UNANSWERED);
  if (atomic.load<u64>(peer, PEER_UNREPLIED) != 0) atomic.store<u64>(peer, 0, PEER_UNREPLIED);
  atomic.add<u64>(peer, <u64>packets, PEER_TX_PACKETS);
  atomic.add<u64>(peer, <u64>bytes, PEER_TX_BYTES);
}

/** The ingress worker accepted messages of `bytes` bytes in all, `packets` of them data packets. */
export function noteReceived(peer: usize, now: u64, packets: u32, bytes: u32): void {
  atomic.store<u64>(peer, now, PEER_RECV_ANY);
  if (packets != 0) {
    store<u64>(peer, now, PEER_RECV_DATA);
    if (atomic.load<u64>(peer, PEER_UNREPLIED) == 0) atomic.cmpxchg<u64>(peer, 0, now, PEER_UNREPLIED);
  }
  if (atomic.load<u64>(peer, PEER_UNANSWERED) != 0) atomic.store<u64>(peer, 0, PEER_UNANSWERED);
  atomic.add<u64>(peer, <u64>packets, PEER_RX_PACKETS);
  atomic.add<u64>(peer, <u64>bytes, PEER_RX_BYTES);
}
