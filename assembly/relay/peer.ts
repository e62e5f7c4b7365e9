/**
 * From peers to clients (RL-43): a message of an allocation socket goes to the client that has bound its
 * sender, and to nobody else (RL-31). The twin: `test/twin/relay/relay.ts`.
 */
import { count, dropped } from "../counters";
import { Binding, CHANNEL_HEADER_BYTES, Counter, Drop, RELAY_PAYLOAD_MAX, Worker } from "../layout";
import { noteToClient } from "./activity";
import { bufferOf, bytesOfMessage, readArrival } from "./receive";
import { sendToClient } from "./send";
import { findByPeer } from "./table";
import { flush } from "./transmit";
import { flushWhole, isSizeCheck } from "./whole";

/** Works on message `i` of a receive at allocation port `port`. What it sends waits for `flush`. */
export function handleFromPeer(worker: usize, i: u32, port: u32): void {
  const bytes = bytesOfMessage(worker, i);
  const stride = readArrival(worker, i, 0);
  const fromPort = load<u32>(worker, Worker.FROM_PORT);
  const row = findByPeer(port, worker + Worker.FROM, load<u32>(worker, Worker.FROM_BYTES), fromPort);
  if (row == 0) {
    dropped(worker, Drop.RELAY_NO_BINDING, bytes == 0 ? 1 : <u64>((bytes + stride - 1) / stride));
    return;
  }
  const at = bufferOf(worker, i);
  let position: u32 = 0;
  do {
    const length = min<u32>(stride, bytes - position);
    if (length + <u32>CHANNEL_HEADER_BYTES > RELAY_PAYLOAD_MAX) dropped(worker, Drop.RELAY_TOO_LONG, 1);
    else {
      count(worker, Counter.PACKETS_PASSED, 1);
      noteToClient(worker, row, length);
      forward(worker, row, at + <usize>position, length);
    }
    position += stride;
  } while (position < bytes);
}

function forward(worker: usize, row: usize, at: usize, length: u32): void {
  if (!isSizeCheck(at, length)) return sendToClient(worker, row, at, length);
  flush(worker);
  sendToClient(worker, row, at, length);
  flushWhole(worker, load<u32>(row, Binding.CLIENT_BYTES) == 16);
}
