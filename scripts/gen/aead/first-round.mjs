/**
 * The first round and the first step of the second, once for a key or a message instead of once for a batch (PF-83).
 *
 * A batch takes as long as one block's operations take one after the other, so what counts is how many of them
 * wait for each other: 16 in each of 20 rounds. Of the first round
 *
 *   column 0   depends on key and block counter      } the same for all messages of a key, as long as the nonce's
 *   column 1   on key and the nonce's first word     } first and last word stay, which are 0 and the upper half
 *   column 3   on key and the nonce's last word      } of WireGuard's counter
 *   column 2   on key and the lower half of WireGuard's counter: a few scalar operations for each message
 *
 * and so do the sums a + b of the second, and the turned d after them, of which the part that differs from block
 * to block and the part that differs from message to message are put together by one xor, since turning can be done
 * before it. So 301 operations are left of 320.
 *
 * What is kept stands for 32 successive blocks, in seven vectors of words, one for each block: a batch may begin at any
 * of the first 25. A longer message makes it anew for later ones. It says as much as the key does, and is forgotten like it.
 */
const SIGMA = ["0x61707865", "0x3320646e", "0x79622d32", "0x6b206574"];
const BLOCKS = 32;
const VECTOR_BYTES = 4 * BLOCKS;

/** Offsets of the vectors: a sum of the second round by its word, t: turned left by 16. */
const VECTORS = { a0: 0, a0t: 1, b0: 2, c0: 3, d0t: 4, a3: 5, a3t: 6 };
/** The words, which all blocks have in common; s: a sum of the second round, t: turned left by 16. */
const WORDS = ["a1s", "a1st", "a2s", "d1t", "d2t", "d3t", "b1", "b2", "b3", "c1", "c2", "c3", "a1", "d1"];
const WORDS_AT = VECTOR_BYTES * Object.keys(VECTORS).length;
const KEY_AT = WORDS_AT + 64;
const NONCE_FIRST_AT = KEY_AT + 32;
const NONCE_LAST_AT = KEY_AT + 36;
/** One more than the first block; 0: nothing is kept. */
const MADE_AT = KEY_AT + 40;

/** The last block, counted from the first of those kept, at which a batch of eight may begin. */
export const LAST_BEGIN = BLOCKS - 8;

const vectorAt = (name) => VECTOR_BYTES * VECTORS[name];
const wordAt = (name) => WORDS_AT + 4 * WORDS.indexOf(name);
const put = (name, value) => `store<u32>(fr, ${value}, ${wordAt(name)});`;
const putVector = (name, value) => `v128.store(at, ${value}, ${vectorAt(name)});`;

/** The statements that set the words of all blocks from block `at` on; `at` is their place in the vectors. */
export function initBegun(sets) {
  const vector = (s, name) => `v128.load(at, ${vectorAt(name) + (s === "y" ? 16 : 0)})`;
  const each = (statement) => sets.map(statement).join(" ");
  const word = (name) => `q = v128.load_splat<u32>(fr, ${wordAt(name)});`;
  const own = (i, name) => each((s) => `${s}${i} = ${vector(s, name)};`);
  const common = (i, name) => `${word(name)} ${each((s) => `${s}${i} = q;`)}`;
  const both = (i, name, own) => `${word(name)} ${each((s) => `${s}${i} = v128.xor(q, ${vector(s, own)});`)}`;
  return [
    ...[own(0, "a0"), common(1, "a1s"), common(2, "a2s"), own(3, "a3")],
    ...[own(4, "b0"), common(5, "b1"), common(6, "b2"), common(7, "b3")],
    ...[own(8, "c0"), common(9, "c1"), common(10, "c2"), common(11, "c3")],
    ...[both(12, "a1st", "d0t"), common(13, "d1t"), both(14, "d2t", "a3t"), both(15, "d3t", "a0t")],
  ];
}

/** A quarter round (RFC 8439 §2.1) of the locals a, b, c, d. */
const scalarQuarter = [
  "a += b; d = rotl<u32>(d ^ a, 16); c += d; b = rotl<u32>(b ^ c, 12);",
  "a += b; d = rotl<u32>(d ^ a, 8); c += d; b = rotl<u32>(b ^ c, 7);",
];

/** The same of vectors. */
const vectorQuarter = [
  "va = i32x4.add(va, vb); vd = turn(v128.xor(vd, va), 16); vc = i32x4.add(vc, vd); vb = turn(v128.xor(vb, vc), 12);",
  "va = i32x4.add(va, vb); vd = turn(v128.xor(vd, va), 8); vc = i32x4.add(vc, vd); vb = turn(v128.xor(vb, vc), 7);",
];

function isMadeFunction() {
  const half = (offset) => `v128.xor(v128.load(key, ${offset}), v128.load(fr, ${KEY_AT + offset}))`;
  return [
    "/** Whether what is kept at `fr` is of this key and nonce, and begins with block 0. */",
    "function isFirstRoundMade(fr: usize, key: usize, np: usize): bool {",
    [
      `if (load<i32>(fr, ${MADE_AT}) != 1 || v128.any_true(v128.or(${half(0)}, ${half(16)}))) return false;`,
      `return load<u32>(np) == load<u32>(fr, ${NONCE_FIRST_AT}) && load<u32>(np, 8) == load<u32>(fr, ${NONCE_LAST_AT});`,
    ],
    "}",
  ];
}

function makeFunction() {
  return [
    "@inline",
    "function turn(v: v128, bits: i32): v128 {",
    ["return v128.or(i32x4.shl(v, bits), i32x4.shr_u(v, 32 - bits));"],
    "}",
    "",
    `/** Makes columns 0, 1 and 3 for ${BLOCKS} blocks from \`first\` on. */`,
    "function makeFirstRound(fr: usize, key: usize, np: usize, first: i32): void {",
    [
      ...[0, 16].map((offset) => `v128.store(fr, v128.load(key, ${offset}), ${KEY_AT + offset});`),
      `store<u32>(fr, load<u32>(np), ${NONCE_FIRST_AT}); store<u32>(fr, load<u32>(np, 8), ${NONCE_LAST_AT});`,
      `store<i32>(fr, first + 1, ${MADE_AT});`,
      `let a: u32 = ${SIGMA[1]}, b = load<u32>(key, 4), c = load<u32>(key, 20), d = load<u32>(np);`,
      ...scalarQuarter,
      [put("a1", "a"), put("b1", "b"), put("c1", "c"), put("d1", "d"), "const b1 = b;"].join(" "),
      `a = ${SIGMA[3]}; b = load<u32>(key, 12); c = load<u32>(key, 28); d = load<u32>(np, 8);`,
      ...scalarQuarter,
      [put("b3", "b"), put("c3", "c"), put("d3t", "rotl<u32>(d, 16)"), "const a3 = a;"].join(" "),
      "let counters = i32x4.add(i32x4.splat(first), i32x4(0, 1, 2, 3));",
      `for (let at = fr; at < fr + ${VECTOR_BYTES}; at += 16) {`,
      [
        `let va = i32x4.splat(${SIGMA[0]}), vb = v128.load_splat<u32>(key), vc = v128.load_splat<u32>(key, 16);`,
        "let vd = counters;",
        ...vectorQuarter,
        [putVector("b0", "vb"), putVector("c0", "vc"), putVector("d0t", "turn(vd, 16)")].join(" "),
        `va = i32x4.add(va, i32x4.splat(b1)); ${putVector("a0", "va")} ${putVector("a0t", "turn(va, 16)")}`,
        `va = i32x4.add(vb, i32x4.splat(a3)); ${putVector("a3", "va")} ${putVector("a3t", "turn(va, 16)")}`,
        "counters = i32x4.add(counters, i32x4.splat(4));",
      ],
      "}",
    ],
    "}",
  ];
}

function makeForMessageFunction() {
  return [
    "/** Makes column 2, and what of the second round depends on it. */",
    "function makeForMessage(fr: usize, key: usize, np: usize): void {",
    [
      `let a: u32 = ${SIGMA[2]}, b = load<u32>(key, 8), c = load<u32>(key, 24), d = load<u32>(np, 4);`,
      ...scalarQuarter,
      [put("b2", "b"), put("c2", "c"), put("d2t", "rotl<u32>(d, 16)")].join(" "),
      `b += load<u32>(fr, ${wordAt("a1")}); ${put("a1s", "b")} ${put("a1st", "rotl<u32>(b, 16)")}`,
      `a += load<u32>(fr, ${wordAt("b3")}); ${put("a2s", "a")}`,
      put("d1t", `rotl<u32>(load<u32>(fr, ${wordAt("d1")}) ^ a, 16)`),
    ],
    "}",
  ];
}

/** The functions of the module that make what is kept; `fr` is the address of its place in the state. */
export function firstRoundFunctions() {
  return [...isMadeFunction(), "", ...makeFunction(), "", ...makeForMessageFunction()];
}
