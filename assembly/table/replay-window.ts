/**
 * Replay protection of one session (WG-48, RFC 6479): `last` is the highest accepted counter, and a ring
 * of 128 words of 64 bits holds which of the 8,128 before it were accepted. Counter bits 6 to 12 choose
 * the word. With several ingress workers a lock of one word keeps two from accepting the same counter; asking
 * goes without it, since whoever is told yes asks again under the lock (PG-176). The twin is a set:
 * `test/twin/plane/replay-window.ts`.
 */
import { PLANE_ADDRESS, Plane, REPLAY_WINDOW, Session } from "../layout";

const WORDS: u64 = 128;

/** Whether `counter` is new and not too old: asked before a message is opened, and again after. */
export function isFresh(session: usize, counter: u64): bool {
  if (load<u64>(session, Session.RECEIVED) == 0) return true;
  const last = load<u64>(session, Session.LAST);
  if (counter > last) return true;
  if (last - counter > <u64>REPLAY_WINDOW) return false;
  return (load<u64>(wordOf(session, counter)) & bitOf(counter)) == 0;
}

/** Accepts the counter of a message that was authentic. Returns false when it is not fresh. */
export function accept(session: usize, counter: u64): bool {
  if (load<u32>(PLANE_ADDRESS, Plane.PAIRS) <= 1) return acceptAlone(session, counter);
  // Held for some stores. Two workers meet here only while a peer roams, or where somebody repeats its datagrams.
  while (atomic.cmpxchg<u32>(session, 0, 1, Session.LOCK) != 0) {}
  const isAccepted = acceptAlone(session, counter);
  atomic.store<u32>(session, 0, Session.LOCK);
  return isAccepted;
}

function acceptAlone(session: usize, counter: u64): bool {
  if (!isFresh(session, counter)) return false;
  const received = load<u64>(session, Session.RECEIVED);
  const last = load<u64>(session, Session.LAST);
  if (received == 0) {
    store<u64>(session, counter, Session.LAST);
  } else if (counter > last) {
    const words = min<u64>((counter >> 6) - (last >> 6), WORDS);
    for (let i: u64 = 1; i <= words; i++) store<u64>(wordOf(session, last + (i << 6)), 0);
    store<u64>(session, counter, Session.LAST);
  }
  const word = wordOf(session, counter);
  store<u64>(word, load<u64>(word) | bitOf(counter));
  store<u64>(session, received + 1, Session.RECEIVED);
  return true;
}

// @ts-ignore: a decorator
@inline
function wordOf(session: usize, counter: u64): usize {
  return session + Session.WINDOW + ((<usize>((counter >> 6) & (WORDS - 1))) << 3);
}

// @ts-ignore: a decorator
@inline
function bitOf(counter: u64): u64 {
  return (<u64>1) << (counter & 63);
}
