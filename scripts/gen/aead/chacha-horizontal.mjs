/**
 * ChaCha20 (RFC 8439 §2.3) in horizontal arrangement: four vectors hold the four rows of one block, and
 * several blocks stand side by side. Small messages waste less of it; in V8 it loses to the vertical
 * form above 64 bytes (0.87 GB/s against 1.03 on Node 20), because every round turns three rows.
 */
import { rotateLeft } from "./rotation.mjs";

const SIGMA_ROW = "i32x4(0x61707865, 0x3320646e, 0x79622d32, 0x6b206574)";
/** Counter and nonce in one load: four readable bytes before the nonce are the price (PF-46). */
const COUNTER_ROW = "i32x4.replace_lane(v128.load(np - 4), 0, counter)";

/** The four rows of block `b` before the rounds. */
function initialRows(b) {
  return [SIGMA_ROW, "v128.load(key)", "v128.load(key, 16)", `i32x4.add(q, i32x4(${b}, 0, 0, 0))`];
}

function doubleRound(routine, blocks) {
  const lines = [];
  const each = (statement) => {
    for (const b of blocks) lines.push(statement(b));
  };
  const step = (to, from, turned, bits) => {
    each((b) => `${to}${b} = i32x4.add(${to}${b}, ${from}${b});`);
    each((b) => `${turned}${b} = v128.xor(${turned}${b}, ${to}${b});`);
    each((b) => rotateLeft(routine.rotate, `${turned}${b}`, bits));
  };
  const turn = (row, lanes) =>
    each((b) => `${row}${b} = v128.shuffle<u32>(${row}${b}, ${row}${b}, ${lanes.join(", ")});`);
  const [byOne, byTwo, byThree] = [
    [1, 2, 3, 0],
    [2, 3, 0, 1],
    [3, 0, 1, 2],
  ];
  // Columns become diagonals by turning rows b, c, d; the second half turns them back.
  for (const [b, d] of [
    [byOne, byThree],
    [byThree, byOne],
  ]) {
    step("a", "b", "d", 16);
    step("c", "d", "b", 12);
    step("a", "b", "d", 8);
    step("c", "d", "b", 7);
    turn("b", b);
    turn("c", byTwo);
    turn("d", d);
  }
  return lines;
}

/** @see createCipher in cipher.mjs for what the fields mean */
export function createHorizontal(routine) {
  const blocks = Array.from({ length: routine.blocks }, (_, i) => i);
  return {
    blocks: routine.blocks,
    isPaired: false,
    scratchStep: 16,
    scratchOffset: (byte) => byte,
    scratchOfBlock: (block) => `(${block} << 6)`,
    locals: ["q", ...blocks.flatMap((b) => [`a${b}`, `b${b}`, `c${b}`, `d${b}`])],
    init: [
      `q = ${COUNTER_ROW};`,
      ...blocks.map((b) =>
        ["a", "b", "c", "d"].map((row, i) => `${row}${b} = ${initialRows(b)[i]};`).join(" "),
      ),
    ],
    rounds: { enter: [], doubleRound: doubleRound(routine, blocks), leave: [] },
    keystream(emit) {
      const rows = (b) =>
        ["a", "b", "c", "d"].map((row, i) =>
          emit(64 * b + 16 * i, `i32x4.add(${row}${b}, ${initialRows(b)[i]})`),
        );
      return [`q = ${COUNTER_ROW};`, ...blocks.flatMap(rows)];
    },
  };
}
