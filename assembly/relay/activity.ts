/** What goes through a binding, and through the relay as a whole (RL-56). Several workers may count at once. */
import { Binding, Forward, Worker } from "../layout";

/** A datagram of the client with `bytes` bytes of data. */
export function noteToPeer(worker: usize, row: usize, bytes: u32): void {
  atomic.add<u64>(row, 1, Binding.TO_PEER_PACKETS);
  atomic.add<u64>(row, <u64>bytes, Binding.TO_PEER_BYTES);
  store<u64>(row, load<u64>(worker, Worker.NOW), Binding.TO_PEER_USED);
  add(worker + Forward.TO_PEER_PACKETS, 1);
  add(worker + Forward.TO_PEER_BYTES, <u64>bytes);
}

/** A datagram for the client. */
export function noteToClient(worker: usize, row: usize, bytes: u32): void {
  atomic.add<u64>(row, 1, Binding.TO_CLIENT_PACKETS);
  atomic.add<u64>(row, <u64>bytes, Binding.TO_CLIENT_BYTES);
  store<u64>(row, load<u64>(worker, Worker.NOW), Binding.TO_CLIENT_USED);
  add(worker + Forward.TO_CLIENT_PACKETS, 1);
  add(worker + Forward.TO_CLIENT_BYTES, <u64>bytes);
}

function add(at: usize, n: u64): void {
  store<u64>(at, load<u64>(at) + n);
}
