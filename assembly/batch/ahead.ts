/**
 * Short messages sealed with their first blocks made in advance, four at a time (PF-81): a frame's segments, and
 * acknowledgments, which come one by one.
 *
 * The counters of the next messages are foreseen, not taken: whoever takes one uses its blocks, or nobody does. So
 * control and other workers may take some in between, and nothing is ever sealed twice with one counter. A twin
 * there is none: with the blocks or without, a message is the same.
 */
import { AHEAD_BYTES, AHEAD_BYTES_MAX, lanesFor, makeAhead } from "../crypto";
import { Egress, Worker } from "../layout";

/** So many short messages of a session in a row, or segments still to come, make the next likely ones. */
const RUN_MIN: u32 = 3;

/**
 * The blocks of the message of `text` bytes that has `counter`, or 0.
 * @param reserved counters that its frame has, this one included
 */
export function blocksAhead(worker: usize, key: usize, counter: u64, text: u32, reserved: u32): usize {
  const isNext = isSameKey(worker, key) && counter == load<u64>(worker, Egress.AHEAD_NEXT);
  const run = isNext ? load<u32>(worker, Egress.AHEAD_RUN) + 1 : 0;
  store<u64>(worker, counter + 1, Egress.AHEAD_NEXT);
  store<u32>(worker, run, Egress.AHEAD_RUN);
  const records = worker + Worker.KEYS_AHEAD;
  const lane = counter - load<u64>(worker, Egress.AHEAD_FIRST);
  if (lane < <u64>load<u32>(worker, Egress.AHEAD_MADE) && text <= load<u32>(worker, Egress.AHEAD_TEXT))
    return records + <usize>lane * AHEAD_BYTES;
  if (run < RUN_MIN && reserved < RUN_MIN) return 0;
  const lanes = lanesFor(<i32>text);
  // Where the last blocks will lie: they are written when all counters have been read.
  const counters = records + AHEAD_BYTES_MAX - 64;
  for (let i: i32 = 0; i < lanes; i++) store<u64>(counters + ((<usize>i) << 3), counter + <u64>i);
  const isFor = makeAhead(key, counters, 8, <i32>text, records, worker + Worker.AEAD);
  store<u64>(worker, counter, Egress.AHEAD_FIRST);
  store<u32>(worker, <u32>lanes, Egress.AHEAD_MADE);
  store<u32>(worker, <u32>isFor, Egress.AHEAD_TEXT);
  return records;
}

/** The blocks have been wiped: none is used any more. */
export function forgetBlocks(worker: usize): void {
  store<u64>(worker, 0, Egress.AHEAD_KEY);
  store<u32>(worker, 0, Egress.AHEAD_MADE);
}

/**
 * Whether the key is that of the message before; what was made for another is forgotten. Eight bytes tell keys apart, and
 * leave 192 bits of one that is to be forgotten elsewhere (WG-54); a row or an index may be used again.
 */
function isSameKey(worker: usize, key: usize): bool {
  const beginning = load<u64>(key);
  if (beginning == load<u64>(worker, Egress.AHEAD_KEY)) return true;
  store<u64>(worker, beginning, Egress.AHEAD_KEY);
  store<u32>(worker, 0, Egress.AHEAD_MADE);
  return false;
}
