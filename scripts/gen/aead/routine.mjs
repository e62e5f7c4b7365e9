/**
 * The functions of one routine: `seal`, `open`, the XOR of a message's end, and one-time keys in advance.
 *
 * Sealing is encryption batch by batch, and the MAC runs one batch behind under the double rounds of the
 * next: the vector units work on ChaCha20 while the scalar ones multiply. What the last batch leaves is
 * kept in the state and absorbed under batch 0 of the next message (PF-63, PF-64). Opening has all of
 * its MAC input from the start (PF-65). Where keystream can only leave through scratch memory, both are in wide.mjs.
 */
import { createCipher } from "./cipher.mjs";
import { firstRoundFunctions } from "./first-round.mjs";
import { doubleRounds, firstBytes, nextBatch } from "./fused.mjs";
import { absorbEnd, absorbLeft, beginMac, declareMac, finishMac, loadMac, saveMac } from "./poly1305.mjs";
import { wideFunctions } from "./wide.mjs";

/** What is made in advance for one message: halves of its key at 0 and 32, blocks of keystream around them. */
const AHEAD_BYTES = 128;

/** A function that XORs the last `n` bytes, fewer than a batch, with keystream from block `block` of scratch. */
function xorEndFunction(routine, cipher) {
  const step = cipher.scratchStep;
  const start = `q = ks + ${cipher.scratchOfBlock("block")};`;
  const quarter = (i) =>
    `v128.store(d, v128.xor(v128.load(s, ${16 * i}), v128.load(q, ${step * i})), ${16 * i});`;
  return [
    `function xorEnd_${routine.name}(s: usize, d: usize, ks: usize, block: i32, n: i32): void {`,
    [
      `let ${start.replace("q =", "q: usize =")}`,
      "for (; n >= 64; n -= 64) {",
      [...[0, 1, 2, 3].map(quarter), `s += 64; d += 64; block++; ${start}`],
      "}",
      `for (; n >= 16; n -= 16, s += 16, d += 16, q += ${step}) v128.store(d, v128.xor(v128.load(s), v128.load(q)));`,
      "if (n & 8) { store<u64>(d, load<u64>(s) ^ load<u64>(q)); d += 8; s += 8; q += 8; }",
      "if (n & 4) { store<u32>(d, load<u32>(s) ^ load<u32>(q)); d += 4; s += 4; q += 4; }",
      "for (n &= 3; n > 0; n--, s++, d++, q++) store<u8>(d, load<u8>(s) ^ load<u8>(q));",
    ],
    "}",
  ];
}

function xorBatch(cipher) {
  return cipher.keystream(
    (byte, value) => `v128.store(d, v128.xor(${value}, v128.load(s, ${byte})), ${byte});`,
  );
}

/** Whether batch 0 holds all of any message that the routine is chosen for: then there are no further batches. */
function isOneBatch(routine, cipher) {
  return routine.upToBytes <= firstBytes(cipher);
}

/** What `seal` does when batch 0 has left its keystream in scratch. */
function sealRest(routine, cipher) {
  if (isOneBatch(routine, cipher)) return [`const n = len; xorEnd_${routine.name}(s, d, ks, 1, n);`];
  return [
    `let n = min<i32>(len, ${firstBytes(cipher)}), rem = len - n;`,
    `xorEnd_${routine.name}(s, d, ks, 1, n);`,
    `s += n; d += n; counter = ${cipher.blocks}; pp = dst;`,
    "while (rem > 0) {",
    [
      "left = <i32>(d - pp) >> 4;",
      ...cipher.init,
      ...doubleRounds(routine, cipher, true),
      `if (rem < ${cipher.batchBytes}) {`,
      [
        ...cipher.keystreamToScratch(),
        ...absorbLeft,
        `n = rem; xorEnd_${routine.name}(s, d, ks, 0, n);`,
        "break;",
      ],
      "}",
      ...xorBatch(cipher),
      ...absorbLeft,
      `n = ${cipher.batchBytes}; ${nextBatch(cipher)}`,
    ],
    "}",
  ];
}

function sealFunction(routine, cipher) {
  return [
    `function seal_${routine.name}(key: usize, np: usize, src: usize, dst: usize, len: i32, st: usize): void {`,
    [
      ...cipher.declare,
      ...declareMac,
      "const ks = st + STATE_SCRATCH, late = load<i32>(st, STATE_LEFT);",
      "let pp = st + STATE_PENDING, s = src, d = dst, left = late, fused: i32 = 0;",
      "if (late) {",
      loadMac,
      "}",
      "// Batch 0: the one-time key and the first bytes; under it the end of the previous message's MAC.",
      ...cipher.init,
      ...doubleRounds(routine, cipher, true),
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
      ...sealRest(routine, cipher),
      "store<i32>(st, keepPending(st, dst + len - n, n, len), STATE_LEFT);",
      "store<u32>(st, <u32>(dst + len), STATE_TAG);",
      ...saveMac,
    ],
    "}",
  ];
}

/** The one-time key and the first bytes, from batch 0. */
function openFirst(routine, cipher) {
  return [
    ...cipher.init,
    ...doubleRounds(routine, cipher, false),
    ...cipher.keystreamToScratch(),
    ...beginMac("ks", cipher.scratchOffset(16)),
    `const n = min<i32>(len, ${firstBytes(cipher)});`,
    `xorEnd_${routine.name}(s, d, ks, 1, n);`,
    `rem -= n; s += n; d += n; counter = ${cipher.blocks};`,
  ];
}

function openRest(routine, cipher) {
  return [
    "while (rem > 0) {",
    [
      ...cipher.init,
      ...doubleRounds(routine, cipher, true),
      `if (rem < ${cipher.batchBytes}) {`,
      [...cipher.keystreamToScratch(), `xorEnd_${routine.name}(s, d, ks, 0, rem);`, "break;"],
      "}",
      ...xorBatch(cipher),
      nextBatch(cipher),
    ],
    "}",
  ];
}

/** @param takesKey whether `otk` may be something else than 0 */
function openFunction(routine, cipher, takesKey) {
  const first = openFirst(routine, cipher);
  return [
    `function open_${routine.name}(key: usize, np: usize, src: usize, dst: usize, len: i32, st: usize, otk: usize): i32 {`,
    [
      ...cipher.declare,
      ...declareMac,
      "const ks = st + STATE_SCRATCH;",
      "let pp = src, s = src, d = dst, rem = len, left: i32 = 0, fused: i32 = 0;",
      ...(takesKey
        ? ["if (otk) {", ["counter = 1;", ...beginMac("otk", 32)], "} else {", first, "}"]
        : first),
      "left = len >> 4;",
      ...(takesKey || !isOneBatch(routine, cipher) ? openRest(routine, cipher) : []),
      ...absorbLeft,
      "left = keepPending(st, src + (len & ~15), len & 15, len); pp = st + STATE_PENDING;",
      ...absorbLeft,
      ...finishMac,
      "return i32(((load<u64>(src + len) ^ h0) | (load<u64>(src + len, 8) ^ h2)) == 0);",
    ],
    "}",
  ];
}

/** How much of a message the first two blocks of keystream hold beside the one-time key, and the first four. */
export const SHORT_BYTES = [64, 192];
/** Messages whose blocks are made together. */
export const SHORT_LANES = 4;

/** Eight blocks of one key in the eight lanes of one batch; words 12, 14 and 15 of each lane lie in scratch. */
function lanesFunction(routine, cipher) {
  const store = (byte, value) => `v128.store(out, ${value}, ${cipher.scratchOffset(byte)});`;
  return [
    `function lanes_${routine.name}(key: usize, np: usize, out: usize, ks: usize): void {`,
    [
      ...cipher.declare,
      ...cipher.init,
      ...cipher.laneNonces,
      ...doubleRounds(routine, cipher, false),
      ...cipher.addLaneNonces,
      ...cipher.keystream(store, { isInitialAdded: false }),
    ],
    "}",
  ];
}

/** Block 0 of eight messages; the first half of it is the key. Written as `firstBlocks` writes it. */
function oneTimeKeysFunction(routine, cipher) {
  const lines = [];
  for (let packet = 0; packet < 8; packet++) {
    for (const half of [0, 1]) {
      const from = cipher.scratchOffset(64 * packet + 16 * half);
      lines.push(`v128.store(out, v128.load(ks, ${from}), ${AHEAD_BYTES * packet + 32 * half});`);
    }
  }
  return [
    `function oneTimeKeys_${routine.name}(key: usize, np: usize, stride: usize, out: usize, st: usize): void {`,
    [
      "const ks = st + STATE_SCRATCH;",
      "v128.store(ks, i32x4.splat(0)); v128.store(ks, i32x4.splat(0), 16);",
      "for (let i: usize = 0; i < 8; i++) {",
      [
        "store<u32>(ks + 4 * i, load<u32>(np + i * stride), 32);",
        "store<u32>(ks + 4 * i, load<u32>(np + i * stride, 4), 64);",
      ],
      "}",
      `lanes_${routine.name}(key, np, ks, ks);`,
      ...lines,
    ],
    "}",
  ];
}

/**
 * Two successive blocks of four messages, from block `block` on, written side by side:
 *
 *   message 0 [b0 0..15][b1 0..15][b0 16..31] … [b1 48..63]   message 1 …
 *
 * An eighth of a batch for a block: what a short message pays for its keystream no longer depends on how
 * many blocks of a batch it can use. Blocks 2 and 3, if there are any, follow those of all four messages.
 */
function firstBlocksFunction(routine) {
  return [
    "export function firstBlocks(key: usize, np: usize, stride: usize, block: i32, out: usize, st: usize): void {",
    [
      "const ks = st + STATE_SCRATCH;",
      "v128.store(ks, i32x4.splat(block)); v128.store(ks, i32x4.splat(block + 1), 16);",
      `for (let i: usize = 0; i < ${SHORT_LANES}; i++) {`,
      [
        "const low = load<u32>(np + i * stride), high = load<u32>(np + i * stride, 4);",
        "store<u32>(ks + 4 * i, low, 32); store<u32>(ks + 4 * i, low, 48);",
        "store<u32>(ks + 4 * i, high, 64); store<u32>(ks + 4 * i, high, 80);",
      ],
      "}",
      `lanes_${routine.name}(key, np, out, ks);`,
    ],
    "}",
  ];
}

/**
 * XOR and MAC of a message whose blocks were made in advance, at `blocks` those of its first pair. The MAC does
 * not wait for the next message: there is no ChaCha20 that it could run under.
 */
function shortFunctions(routine) {
  const [first, all] = SHORT_BYTES;
  const second = `blocks + ${SHORT_LANES * AHEAD_BYTES}`;
  const xor = `xorEnd_${routine.name}`;
  return [
    "/** @param text address of the ciphertext: `src` or `dst` */",
    "function short(src: usize, dst: usize, len: i32, blocks: usize, text: usize, tag: usize): void {",
    [
      `${xor}(src, dst, blocks + 16, 0, min<i32>(len, ${first}));`,
      "for (let at: i32 = 64; at < len; at += 64) {",
      [`${xor}(src + at, dst + at, ${second} + ((at & 128) >> 3), 0, min<i32>(len - at, 64));`],
      "}",
      ...declareMac,
      ...beginMac("blocks", 32),
      "let pp = text, left = len >> 4;",
      ...absorbLeft,
      ...absorbEnd,
      ...finishMac,
      "store<u64>(tag, h0); store<u64>(tag, h2, 8);",
    ],
    "}",
    "",
    `/** Seals at most ${all} bytes and writes the tag at once. */`,
    "export function sealShort(src: usize, dst: usize, len: i32, blocks: usize): void {",
    ["short(src, dst, len, blocks, dst, dst + len);"],
    "}",
    "",
    `/** Opens at most ${all} bytes. */`,
    "export function openShort(src: usize, dst: usize, len: i32, blocks: usize, st: usize): i32 {",
    [
      "const tag = st + STATE_SCRATCH;",
      "short(src, dst, len, blocks, src, tag);",
      "return i32(((load<u64>(src + len) ^ load<u64>(tag)) | (load<u64>(src + len, 8) ^ load<u64>(tag, 8))) == 0);",
    ],
    "}",
  ];
}

/**
 * The functions of `routine`, as nested lines.
 * @param takesKey whether it opens messages whose one-time keys were made in advance
 */
export function routineFunctions(routine, takesKey) {
  const cipher = createCipher(routine);
  return [
    ...xorEndFunction(routine, cipher),
    ...(cipher.isPaired
      ? [
          "",
          ...firstRoundFunctions(),
          "",
          ...wideFunctions(routine, cipher),
          "",
          ...lanesFunction(routine, cipher),
          ...oneTimeKeysFunction(routine, cipher),
          "",
          ...firstBlocksFunction(routine),
          "",
          ...shortFunctions(routine),
        ]
      : [...sealFunction(routine, cipher), ...openFunction(routine, cipher, takesKey)]),
  ];
}

/** How many one-time keys the routine makes at a time; 0 if making them in advance is a loss. */
export function lanesOf(routine) {
  return createCipher(routine).blocks === 8 ? 8 : 0;
}
