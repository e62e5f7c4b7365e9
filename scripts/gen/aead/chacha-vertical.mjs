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
 * Sixteen words and a temporary are more than the fifteen vector registers that V8 gives out. Left to
 * itself it spills 7 words of each double round in places that lie on the critical path. Parking two
 * words of row c in memory by hand needs 4 stores and 4 loads, none of which anything waits for:
 *
 *   columns 0, 1 (c0, c1) | park c0, c1, fetch c2, c3 | columns 2, 3 and diagonals 0, 1 (c2, c3)
 *                         | park c2, c3, fetch c0, c1 | diagonals 2, 3 (c0, c1)
 *
 * Steps and their gain in the wide routine, sealing and opening 1,420 bytes: quarter rounds one after
 * the other 1.07 and 1.02, constants from memory 1.01 and 1.00, parked words 1.02 and 1.04. Turboshaft
 * with four blocks: parked words 1.03 (without them, all four quarter rounds together are better).
 *
 * Rejected: all of these with TurboFan (−1 to −3 %: its scheduler decides for itself); two quarter
 * rounds together with parked words (−2 %); unrolling the double rounds (no difference); a horizontal
 * pair (V8 14.6 does not merge it).
 */
import { initBegun } from "./first-round.mjs";
import { rotateLeft } from "./rotation.mjs";

const WORDS = Array.from({ length: 16 }, (_, i) => i);
/** What a batch of eight blocks takes; the parking places follow it in scratch memory. */
const KEYSTREAM_BYTES = 512;
const SIGMA = ["0x61707865", "0x3320646e", "0x79622d32", "0x6b206574"];
const COUNTERS = { x: [0, 1, 2, 3], y: [4, 5, 6, 7] };
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

/**
 * The constants as vectors of 256 bits, in the order of the state's words, and the eight blocks' counters.
 * V8 builds a constant of 256 bits with six to eight instructions, and loads one with one.
 */
export const VECTOR_CONSTANTS = [
  ...SIGMA.flatMap((word) => Array(8).fill(word)),
  ...COUNTERS.x,
  ...COUNTERS.y,
];

/** Of set `s`: the vector with the initial state word `i`; of the counter's, what block 0 has in every lane. */
function initialWord(routine, s, i) {
  const half = s === "y" ? 16 : 0;
  if (i < 4) {
    return routine.areConstantsLoaded
      ? `v128.load(VECTOR_CONSTANTS, ${32 * i + half})`
      : `i32x4.splat(${SIGMA[i]})`;
  }
  if (i !== 12) return "q";
  const counters = routine.areConstantsLoaded
    ? `v128.load(VECTOR_CONSTANTS, ${128 + half})`
    : `i32x4(${COUNTERS[s].join(", ")})`;
  return `i32x4.add(q, ${counters})`;
}

/** Sets q to what the sets have in common of word `i`, if there is anything. */
function commonWord(i) {
  if (i < 4) return [];
  if (i < 12) return [`q = v128.load_splat<u32>(key, ${4 * (i - 4)});`];
  if (i === 12) return ["q = i32x4.splat(counter);"];
  return [`q = v128.load_splat<u32>(np, ${4 * (i - 13)});`];
}

/** @param isBegun whether the first of the four steps is done */
function halfRound(routine, sets, quarters, isBegun = false) {
  const lines = [];
  const each = (statement) => {
    for (const quarter of quarters) lines.push(sets.map((s) => statement(s, quarter)).join(" "));
  };
  const step = (to, from, turned, bits) => {
    each((s, w) => `${s}${w[to]} = i32x4.add(${s}${w[to]}, ${s}${w[from]});`);
    each((s, w) => `${s}${w[turned]} = v128.xor(${s}${w[turned]}, ${s}${w[to]});`);
    each((s, w) => rotateLeft(routine.rotate, `${s}${w[turned]}`, bits));
  };
  if (!isBegun) step(0, 1, 3, 16);
  step(2, 3, 1, 12);
  step(0, 1, 3, 8);
  step(2, 3, 1, 7);
  return lines;
}

/** Where word c0 + i of set number `n` is parked, beside the other set's; c2 and c3 have the second place. */
function parkingPlace(n, i) {
  return KEYSTREAM_BYTES + 32 * i + 16 * n;
}

/** Stores the words in locals 8 and 9 to the places of c`first` and c`first + 1`: higher address first. */
function park(sets, first, names = [8, 9]) {
  return names.map((word, i) =>
    sets
      .map((s, n) => `v128.store(ks, ${s}${word}, ${parkingPlace(n, first + i)});`)
      .reverse()
      .join(" "),
  );
}

function fetch(sets, first, names = [8, 9]) {
  return names.map((word, i) =>
    sets.map((s, n) => `${s}${word} = v128.load(ks, ${parkingPlace(n, first + i)});`).join(" "),
  );
}

/** A double round in which locals 8 and 9 hold c0 and c1 at first and at last, and c2, c3 between. */
function parkedDoubleRound(routine, sets) {
  const quarters = (...all) => all.flatMap((quarter) => halfRound(routine, sets, [quarter]));
  return [
    ...quarters([0, 4, 8, 12], [1, 5, 9, 13]),
    ...park(sets, 0),
    ...fetch(sets, 2),
    ...quarters([2, 6, 8, 14], [3, 7, 9, 15], [0, 5, 8, 15], [1, 6, 9, 12]),
    ...park(sets, 2),
    ...fetch(sets, 0),
    ...quarters([2, 7, 8, 13], [3, 4, 9, 14]),
  ];
}

/** The statements before, in and after the double rounds. */
function rounds(routine, sets) {
  if (!routine.isParked) {
    return {
      enter: [],
      doubleRound: [...halfRound(routine, sets, COLUMNS), ...halfRound(routine, sets, DIAGONALS)],
      leave: [],
    };
  }
  return {
    enter: park(sets, 2, [10, 11]),
    doubleRound: parkedDoubleRound(routine, sets),
    leave: fetch(sets, 2, [10, 11]),
  };
}

/**
 * The statements of a batch that begins as first-round.mjs says: what is left of the first double round, and then
 * nine more. In `rest` all words are in locals at first, and c2 and c3 parked at last.
 */
function begunRounds(routine, sets) {
  const quarters = (...all) => all.flatMap((quarter) => halfRound(routine, sets, [quarter], true));
  const [zero, one, two, three] = DIAGONALS;
  return {
    init: initBegun(sets),
    rest: [...quarters(zero, one), ...park(sets, 2, [10, 11]), ...quarters(two, three)],
  };
}

/** Adds the initial state to the worked one: the end of the block function. */
function addInitialState(routine, sets, words) {
  return words.map((i) => {
    const add = (s) => `${s}${i} = i32x4.add(${s}${i}, ${initialWord(routine, s, i)});`;
    return [...commonWord(i), ...sets.map(add)].join(" ");
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

/** The words of the initial state in which lanes may differ. */
const LANE_WORDS = [12, 14, 15];

function laneWord(n, half) {
  return `v128.load(ks, ${32 * n + 16 * half})`;
}

/** @see createCipher in cipher.mjs for what the fields mean */
export function createVertical(routine) {
  const sets = ["x", "y"].slice(0, routine.sets);
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
      const set = (s) => `${s}${i} = ${initialWord(routine, s, i)};`;
      return [...commonWord(i), ...sets.map(set)].join(" ");
    }),
    rounds: rounds(routine, sets),
    begun: isPaired ? begunRounds(routine, sets) : undefined,
    keystream(emit, { words = 16, isInitialAdded = true } = {}) {
      const lines = isInitialAdded ? addInitialState(routine, sets, WORDS.slice(0, words)) : [];
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
    /** Lanes with nonces, or block counters, of their own: words 12, 14 and 15 of all lanes at `ks`; 13 is 0. */
    laneNonces: [
      ...LANE_WORDS.map((word, n) => sets.map((s, half) => `${s}${word} = ${laneWord(n, half)};`).join(" ")),
      "x13 = y13 = i32x4.splat(0);",
    ],
    /** The end of the block function for those. */
    addLaneNonces: [
      ...addInitialState(routine, sets, WORDS.slice(0, 12)),
      ...LANE_WORDS.map((word, n) =>
        sets.map((s, half) => `${s}${word} = i32x4.add(${s}${word}, ${laneWord(n, half)});`).join(" "),
      ),
    ],
  };
}
