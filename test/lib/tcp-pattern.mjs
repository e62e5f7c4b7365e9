/** Octets that both ends of a transfer know: at each position of the stream others, with a period that divides nothing. */
const PERIOD_BYTES = 1_048_573;

export const PATTERN = makePattern();

function makePattern() {
  const bytes = new Uint8Array(2 * PERIOD_BYTES);
  let state = 0x2545f491;
  for (let i = 0; i < PERIOD_BYTES; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[i] = state;
  }
  bytes.copyWithin(PERIOD_BYTES, 0, PERIOD_BYTES);
  return bytes;
}

/** The octets from `position` on, at most `length` and at most a period of them; not to be changed. */
export function patternAt(position, length) {
  const at = position % PERIOD_BYTES;
  return PATTERN.subarray(at, at + Math.min(length, PERIOD_BYTES));
}

/** Whether `bytes` are those of `position`. */
export function isPattern(position, bytes) {
  for (let at = 0; at < bytes.length; at += PERIOD_BYTES) {
    const part = bytes.subarray(at, at + PERIOD_BYTES);
    if (Buffer.compare(part, patternAt(position + at, part.length)) !== 0) return false;
  }
  return true;
}
