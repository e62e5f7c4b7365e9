/**
 * ChaCha20 (RFC 8439 §2.3) in vertical arrangement: vector i holds state word i of four blocks with
 * successive counters. With two sets, x has blocks 0 to 3 and y blocks 4 to 7.
 *
 * The two sets are written operation by operation side by side, since V8's revectoriser merges x and y
 * into one 256-bit value only if their trees are isomorphic and end in stores to adjacent places, the
 * higher address first (PF-68). So the keystream of two sets goes to scratch memory, block b beside
 * block b + 4, 16 bytes by 16 bytes:
 *
 *   [b0 0..15][b4 0..15][b0 16..31][b4 16..31] … [b1 0..15][b5 0..15] …
 *
 * Rejected: grouping the quarter rounds of a half by 1 or 2 (no difference with TurboFan, slower with
 * Turboshaft); unrolling the double rounds; a horizontal pair (V8 14.6 does not merge it).
 */
import { rotateLeft } from "./rotation.mjs";

const WORDS = Array.from({ length: 16 }, (_, i) => i);
const SIGMA = ["0x61707865", "0x3320646e", "0x79622d32", "0x6b206574"];
const COUNTERS = { x: "i32x4(0, 1, 2, 3)", y: "i32x4(4, 5, 6, 7)" };
const COLUMNS = [
  [0, 4, 8, 12],
  [1, 5, 9, 13],
  [2, 6, 10, 14],
  [3, 7, 11, 15],
];
const DIAGONALS = [
  [0, 5, 10, 15],
  [1, 6, 11, 12],
  [2, 7, 8, 13],
  [3, 4, 9, 14],
];

/** The vector that has state word `i` in every lane; the counter's is that of block 0. */
function splatOfWord(i) {
  if (i < 4) return `i32x4.splat(${SIGMA[i]})`;
  if (i < 12) return `v128.load_splat<u32>(key, ${4 * (i - 4)})`;
  if (i === 12) return "i32x4.splat(counter)";
  return `v128.load_splat<u32>(np, ${4 * (i - 13)})`;
}

function halfRound(kernel, sets, quarters) {
  const lines = [];
  const each = (statement) => {
    for (const quarter of quarters) lines.push(sets.map((s) => statement(s, quarter)).join(" "));
  };
  const step = (to, from, turned, bits) => {
    each((s, w) => `${s}${w[to]} = i32x4.add(${s}${w[to]}, ${s}${w[from]});`);
    each((s, w) => `${s}${w[turned]} = v128.xor(${s}${w[turned]}, ${s}${w[to]});`);
    each((s, w) => rotateLeft(kernel.rotate, `${s}${w[turned]}`, bits));
  };
  step(0, 1, 3, 16);
  step(2, 3, 1, 12);
  step(0, 1, 3, 8);
  step(2, 3, 1, 7);
  return lines;
}

/** Adds the initial state to the worked one: the end of the block function. */
function addInitialState(sets, words) {
  return words.map((i) => {
    const add = (s) => {
      const initial = i === 12 ? `i32x4.add(q, ${COUNTERS[s]})` : "q";
      return `${s}${i} = i32x4.add(${s}${i}, ${initial});`;
    };
    return `q = ${splatOfWord(i)}; ${sets.map(add).join(" ")}`;
  });
}

/** Turns words 4g to 4g + 3 of four blocks into 16 successive bytes of each block. */
function transpose(s, g) {
  const [a, b, c, d] = [0, 1, 2, 3].map((i) => `${s}${4 * g + i}`);
  return [
    `${s}t0 = v128.shuffle<u32>(${a}, ${b}, 0, 4, 1, 5);`,
    `${s}t1 = v128.shuffle<u32>(${c}, ${d}, 0, 4, 1, 5);`,
    `${s}t2 = v128.shuffle<u32>(${a}, ${b}, 2, 6, 3, 7);`,
    `${s}t3 = v128.shuffle<u32>(${c}, ${d}, 2, 6, 3, 7);`,
  ].join(" ");
}

/** The 16 bytes of block `b` after `transpose`. */
function transposed(s, b) {
  const t = b & 2;
  return `v128.shuffle<u64>(${s}t${t}, ${s}t${t + 1}, ${b & 1}, ${(b & 1) + 2})`;
}

/** @see createCipher in cipher.mjs for what the fields mean */
export function createVertical(kernel) {
  const sets = ["x", "y"].slice(0, kernel.sets);
  const isPaired = sets.length === 2;
  return {
    blocks: 4 * sets.length,
    isPaired,
    scratchStep: isPaired ? 32 : 16,
    scratchOffset: (byte) =>
      isPaired ? (((byte >> 6) & 3) * 4 + ((byte >> 4) & 3)) * 32 + (byte >> 8) * 16 : byte,
    scratchOfBlock: (block) =>
      isPaired ? `((${block} & 3) << 7) + ((${block} >> 2) << 4)` : `(${block} << 6)`,
    locals: [...sets.flatMap((s) => [...WORDS, "t0", "t1", "t2", "t3"].map((i) => s + i)), "q"],
    init: WORDS.map((i) => {
      const set = (s) => `${s}${i} = ${i === 12 ? `i32x4.add(q, ${COUNTERS[s]})` : "q"};`;
      return `q = ${splatOfWord(i)}; ${sets.map(set).join(" ")}`;
    }),
    doubleRound: [...halfRound(kernel, sets, COLUMNS), ...halfRound(kernel, sets, DIAGONALS)],
    keystream(emit, { words = 16, isInitialAdded = true } = {}) {
      const lines = isInitialAdded ? addInitialState(sets, WORDS.slice(0, words)) : [];
      for (let g = 0; 4 * g < words; g++) {
        lines.push(sets.map((s) => transpose(s, g)).join(" "));
        for (let b = 0; b < 4; b++) {
          for (const n of isPaired ? [1, 0] : [0]) {
            lines.push(emit(256 * n + 64 * b + 16 * g, transposed(sets[n], b)));
          }
        }
      }
      return lines;
    },
    /** Eight lanes of one block each, with block counter 0 and the nonces' words at `ks`: see otks. */
    laneNonces: [
      "x12 = y12 = x13 = y13 = i32x4.splat(0);",
      "x14 = v128.load(ks); y14 = v128.load(ks, 16); x15 = v128.load(ks, 32); y15 = v128.load(ks, 48);",
    ],
  };
}
