/**
 * Sealing and opening by batches of eight blocks, whose keystream leaves through scratch memory.
 *
 * A double round takes as long as its 32 operations that wait for each other, whether or not there is MAC or XOR
 * beside them (70 cycles on Zen 5, where most vector operations take two). So the aims are few operations in a
 * row (first-round.mjs), and nothing between two batches that could run under the rounds of either:
 *
 *   - The XOR of a batch that is not the last waits for the next: a block of it for each of eight double rounds,
 *     with Poly1305 behind it. Scratch is free again when the rounds are done.
 *   - When sealing, up to CARRIED blocks of MAC that found no room under a batch go on to the next one, and
 *     under batch 0, behind which a tag waits for its MAC, some double rounds carry four blocks instead of three.
 *
 * Together with first-round.mjs these are worth, on Node 24 and 26, 1.07 for sealing and opening 1,420 bytes in runs,
 * 1.08 and 1.03 for 1,280.
 *
 * Rejected, with that in place: four blocks of MAC under every double round (0.97 to 0.99; the MAC of four waits longer
 * for itself than the round for itself), three under the first (0.99), what is left of the MAC between rounds and
 * feed-forward (1.01 at 1,100 bytes, 0.98 at 1,420), products of h0 last in their sums (1.00), another order of the
 * quarter rounds (0.99), the ending's first round in advance as well (1.00). Before: 2 or 4 blocks of MAC under a
 * double round (0.94, 0.95), the statements of a MAC block kept together at every third of it (0.97).
 */
import { createCipher } from "./cipher.mjs";
import { LAST_BEGIN } from "./first-round.mjs";
import { doubleRounds, firstBytes, nextBatch, spread } from "./fused.mjs";
import { absorb, absorbLeft, beginMac, declareMac, finishMac, loadMac, saveMac } from "./poly1305.mjs";
import { maskLocals } from "./rotation.mjs";

const BLOCKS = 8;
/** Double rounds that are left when the first is done. */
const DOUBLE_ROUNDS = 9;
/** Blocks of MAC under what is left of the first double round. */
const FIRST_MAC = 2;
/** Blocks of MAC that may wait for the next batch when sealing; the state's pending place has room for them. */
const CARRIED = 5;

const absorbSeveral = (n) => Array.from({ length: n }, (_, i) => absorb("pp", 16 * i)).flat();

/** The XOR of block `waiting` of the batch before; the MAC of `n` blocks behind it never overtakes it. */
function xorAndMac(cipher, n) {
  const piece = (i) => {
    const keystream = `v128.load(from, ${cipher.scratchStep * i})`;
    return `v128.store(wd, v128.xor(v128.load(ws, ${16 * i}), ${keystream}), ${16 * i});`;
  };
  const pieces = [0, 1, 2, 3].flatMap((i) => [piece(i), ...(i < n ? absorb("pp", 16 * i) : [])]);
  return [`from = ks + ${cipher.scratchOfBlock("waiting")};`, ...pieces];
}

const nextWaiting = (n) => `waiting++; ws += 64; wd += 64; left -= ${n}; pp += ${16 * n};`;

/** A batch that begins with its first round done, and the MAC of up to `left` blocks at `pp` under it. */
function batch(routine, cipher, { mayXorWait, isMacDue = false }) {
  const { doubleRound, leave } = cipher.rounds;
  const { init, rest } = cipher.begun;
  const n = routine.macBlocks;
  const loop = (blocks) => [
    `for (; k < fused; k++, pp += ${16 * blocks}) {`,
    spread(doubleRound, absorbSeveral(blocks)),
    "}",
  ];
  return [
    "at = fr + ((counter - first) << 2); k = 0;",
    ...init,
    ...(mayXorWait
      ? [
          `if (waiting < ${BLOCKS}) {`,
          [
            ...spread(rest, xorAndMac(cipher, FIRST_MAC)),
            nextWaiting(FIRST_MAC),
            `for (; waiting < ${BLOCKS}; k++) {`,
            [...spread(doubleRound, xorAndMac(cipher, n)), nextWaiting(n)],
            "}",
          ],
          `} else if (left >= ${FIRST_MAC}) {`,
        ]
      : [`if (left >= ${FIRST_MAC}) {`]),
    [...spread(rest, absorbSeveral(FIRST_MAC)), `left -= ${FIRST_MAC}; pp += ${16 * FIRST_MAC};`],
    "} else {",
    rest,
    "}",
    ...(isMacDue
      ? [
          `fused = max<i32>(0, min<i32>(${DOUBLE_ROUNDS}, left - ${n * DOUBLE_ROUNDS})); left -= fused * ${n + 1};`,
          ...loop(n + 1),
        ]
      : []),
    `fused = min<i32>(${DOUBLE_ROUNDS} - k, left / ${n}); left -= fused * ${n}; fused += k;`,
    ...loop(n),
    `for (; k < ${DOUBLE_ROUNDS}; k++) {`,
    doubleRound,
    "}",
    ...leave,
  ];
}

/** Batch 0 of opening: there is no MAC yet. */
function batchAlone(cipher) {
  const { doubleRound, leave } = cipher.rounds;
  return [
    "at = fr;",
    ...cipher.begun.init,
    ...cipher.begun.rest,
    `for (k = 0; k < ${DOUBLE_ROUNDS}; k++) {`,
    doubleRound,
    "}",
    ...leave,
  ];
}

/** What both functions need besides the locals of cipher and MAC. */
const declareBatch = [
  "const ks = st + STATE_SCRATCH, fr = st + STATE_FIRST_ROUND;",
  "let first: i32 = 0, at: usize = 0;",
  `let waiting: i32 = ${BLOCKS}, ws: usize = 0, wd: usize = 0, from: usize = 0;`,
];

/** Makes the first round, or has it. */
const begin = [
  "if (!isFirstRoundMade(fr, key, np)) makeFirstRound(fr, key, np, 0);",
  "makeForMessage(fr, key, np);",
];

/** Later blocks than what is kept of the first round stands for. */
const goOn = [
  `if (counter - first > ${LAST_BEGIN}) {`,
  ["first = counter;", "makeFirstRound(fr, key, np, first);"],
  "}",
];

/** What batch 0 leaves besides the key. */
function firstText(routine, cipher) {
  return [
    `if (rem > n) { ws = s; wd = d; waiting = 1; } else xorEnd_${routine.name}(s, d, ks, 1, n);`,
    `rem -= n; s += n; d += n; counter = ${cipher.blocks};`,
  ];
}

function sealFunction(routine, cipher) {
  return [
    `function seal_${routine.name}(key: usize, np: usize, src: usize, dst: usize, len: i32, st: usize): void {`,
    [
      ...cipher.declare,
      ...declareMac,
      ...declareBatch,
      "const late = load<i32>(st, STATE_LEFT);",
      "let pp = st + STATE_PENDING, s = src, d = dst, rem = len, left = late, fused: i32 = 0;",
      "if (late) {",
      loadMac,
      "}",
      ...begin,
      "// Batch 0: the one-time key and the first bytes; under it the end of the previous message's MAC.",
      ...batch(routine, cipher, { mayXorWait: false, isMacDue: true }),
      ...cipher.keystreamToScratch(),
      "if (late) {",
      [
        ...absorbLeft,
        ...finishMac,
        "const tag: usize = load<u32>(st, STATE_TAG);",
        "store<u64>(tag, h0); store<u64>(tag, h2, 8);",
      ],
      "}",
      ...beginMac("ks", cipher.scratchOffset(16)),
      `const n = min<i32>(len, ${firstBytes(cipher)});`,
      ...firstText(routine, cipher),
      "pp = dst;",
      "while (rem > 0) {",
      [
        "left = <i32>(d - pp) >> 4;",
        ...goOn,
        ...batch(routine, cipher, { mayXorWait: true }),
        ...cipher.keystreamToScratch(),
        `for (; left > ${CARRIED}; left--, pp += 16) {`,
        absorb("pp", 0),
        "}",
        `if (rem <= ${cipher.batchBytes}) {`,
        [`xorEnd_${routine.name}(s, d, ks, 0, rem);`, "break;"],
        "}",
        `ws = s; wd = d; waiting = 0; ${nextBatch(cipher)}`,
      ],
      "}",
      "store<i32>(st, keepPending(st, pp, <i32>(dst - pp) + len, len), STATE_LEFT);",
      "store<u32>(st, <u32>(dst + len), STATE_TAG);",
      ...saveMac,
    ],
    "}",
  ];
}

/**
 * The last batch of opening in the ending routine, where that has blocks enough: with one-time keys in
 * advance, 1,025 to 1,280 bytes are two batches of eight blocks and one of four (1.07). Sealing, whose
 * batch 0 holds the key, gains nothing at the lengths that matter.
 */
function ending(routine) {
  const cipher = createCipher(routine.ending);
  return [
    `if (rem <= ${cipher.batchBytes}) {`,
    [
      xorWaiting(routine),
      ...cipher.init,
      ...doubleRounds(routine.ending, cipher, true),
      ...cipher.keystreamToScratch(),
      `xorEnd_${routine.ending.name}(s, d, ks, 0, rem);`,
      "break;",
    ],
    "}",
  ];
}

/** The XOR of what waits, at once. */
function xorWaiting(routine) {
  return `if (waiting < ${BLOCKS}) { xorEnd_${routine.name}(ws, wd, ks, waiting, (${BLOCKS} - waiting) << 6); waiting = ${BLOCKS}; }`;
}

function openFunction(routine, cipher) {
  const fullMac = FIRST_MAC + (BLOCKS - 1) * routine.macBlocks;
  return [
    `function open_${routine.name}(key: usize, np: usize, src: usize, dst: usize, len: i32, st: usize, otk: usize): i32 {`,
    [
      ...cipher.declare,
      ...maskLocals(routine.ending.rotate),
      ...declareMac,
      ...declareBatch,
      ...begin,
      "let pp = src, s = src, d = dst, rem = len, left: i32 = 0, fused: i32 = 0;",
      "if (otk) {",
      ["counter = 1;", ...beginMac("otk", 32)],
      "} else {",
      [
        ...batchAlone(cipher),
        ...cipher.keystreamToScratch(),
        ...beginMac("ks", cipher.scratchOffset(16)),
        `const n = min<i32>(len, ${firstBytes(cipher)});`,
        ...firstText(routine, cipher),
      ],
      "}",
      "left = len >> 4;",
      "while (rem > 0) {",
      [
        ...ending(routine),
        "// The MAC is ahead: near the end there is less of it than of XOR.",
        `if (left < ${fullMac}) {`,
        [xorWaiting(routine)],
        "}",
        ...goOn,
        ...batch(routine, cipher, { mayXorWait: true }),
        ...cipher.keystreamToScratch(),
        `if (rem <= ${cipher.batchBytes}) {`,
        [`xorEnd_${routine.name}(s, d, ks, 0, rem);`, "break;"],
        "}",
        `ws = s; wd = d; waiting = 0; ${nextBatch(cipher)}`,
      ],
      "}",
      ...absorbLeft,
      "left = keepPending(st, src + (len & ~15), len & 15, len); pp = st + STATE_PENDING;",
      ...absorbLeft,
      ...finishMac,
      "return i32(((load<u64>(src + len) ^ h0) | (load<u64>(src + len, 8) ^ h2)) == 0);",
    ],
    "}",
  ];
}

/** `seal` and `open` of the routine; it opens messages whose one-time keys were made in advance as well. */
export function wideFunctions(routine, cipher) {
  return [...sealFunction(routine, cipher), "", ...openFunction(routine, cipher)];
}
