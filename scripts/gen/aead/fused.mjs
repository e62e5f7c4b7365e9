/**
 * Poly1305 under the double rounds of ChaCha20, and what the routines have in common of a batch.
 */
import { absorb } from "./poly1305.mjs";

/** A block. Of block 0 only the first half is used: the one-time key, r and s (RFC 8439 §2.6). */
const BLOCK_BYTES = 64;

/** Puts the lines of `b` evenly between those of `a`; both keep their order. */
export function spread(a, b) {
  const lines = [];
  let next = 0;
  a.forEach((line, i) => {
    while (next < b.length && next * a.length <= i * b.length) lines.push(b[next++]);
    lines.push(line);
  });
  return [...lines, ...b.slice(next)];
}

/** The ten double rounds, the first of them with the MAC of up to `left` blocks at `pp`. */
export function doubleRounds(routine, cipher, hasMac) {
  const { enter, doubleRound, leave } = cipher.rounds;
  const plain = ["for (; k < 10; k++) {", doubleRound, "}"];
  if (!hasMac) return [...enter, "k = 0;", ...plain, ...leave];
  const n = routine.macBlocks;
  const mac = Array.from({ length: n }, (_, i) => absorb("pp", 16 * i)).flat();
  return [
    ...enter,
    `fused = min<i32>(10, left / ${n}); left -= fused * ${n};`,
    `for (k = 0; k < fused; k++, pp += ${16 * n}) {`,
    routine.isMacSpread ? spread(doubleRound, mac) : [...mac, ...doubleRound],
    "}",
    ...plain,
    ...leave,
  ];
}

/** The statement that goes on to the next batch. */
export function nextBatch(cipher) {
  const n = cipher.batchBytes;
  return `rem -= ${n}; s += ${n}; d += ${n}; counter += ${cipher.blocks};`;
}

/** How much of a message batch 0 holds beside the one-time key. */
export function firstBytes(cipher) {
  return cipher.batchBytes - BLOCK_BYTES;
}
