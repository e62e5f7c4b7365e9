import {
  forgetKey,
  keepPending,
  STATE_BYTES,
  STATE_FIRST_ROUND,
  STATE_PENDING,
  STATE_SCRATCH,
  wipe,
} from "../crypto/state";

const STATE = memory.data(2368, 64);
const CIPHERTEXT = memory.data(592, 16);

/** Ciphertext of ones, and a state in which every byte is set. */
function prepare(): void {
  memory.fill(CIPHERTEXT, 0x01, 592);
  memory.fill(STATE, 0xff, STATE_BYTES);
}

describe("pending MAC input", () => {
  test("PF-64: an empty message leaves the block of lengths alone", () => {
    prepare();
    expect(keepPending(STATE, CIPHERTEXT, 0, 0)).toBe(1);
    expect(load<u64>(STATE + STATE_PENDING)).toBe(0);
    expect(load<u64>(STATE + STATE_PENDING, 8)).toBe(0);
  });

  test("PF-64: 15 bytes are padded with one zero, 16 with none, 17 with fifteen", () => {
    for (let n: i32 = 15; n <= 17; n++) {
      prepare();
      const blocks = n <= 16 ? 2 : 3;
      expect(keepPending(STATE, CIPHERTEXT, n, 1000 + n)).toBe(blocks);
      for (let i: i32 = 0; i < 16 * (blocks - 1); i++) {
        expect(load<u8>(STATE + STATE_PENDING + i)).toBe(i < n ? 1 : 0);
      }
      expect(load<u64>(STATE + STATE_PENDING + 16 * (blocks - 1))).toBe(0);
      expect(load<u64>(STATE + STATE_PENDING + 16 * (blocks - 1), 8)).toBe(<u64>(1000 + n));
    }
  });

  test("PF-64: a whole batch of 512 bytes and the lengths stay inside the state's place for them", () => {
    prepare();
    expect(keepPending(STATE, CIPHERTEXT, 512, 512)).toBe(33);
    expect(load<u8>(STATE + STATE_PENDING + 528)).toBe(0xff);
  });

  test("PF-64: so do a batch, the five blocks that found no room under it, and the lengths", () => {
    prepare();
    expect(keepPending(STATE, CIPHERTEXT, 592, 592)).toBe(38);
    expect(STATE_PENDING + 608).toBe(STATE_SCRATCH);
    expect(load<u8>(STATE + STATE_SCRATCH)).toBe(0xff);
  });

  test("PF-83: forgetting a key leaves nothing of its first round, and a tag that is due stays due", () => {
    prepare();
    forgetKey(STATE);
    for (let i: i32 = 0; i < STATE_BYTES; i++)
      expect(load<u8>(STATE + i)).toBe(<usize>i < STATE_FIRST_ROUND ? 0xff : 0);
    expect(load<u8>(CIPHERTEXT)).toBe(1);
  });

  test("PF-63: wiping leaves nothing of the state, and nothing else is touched", () => {
    prepare();
    wipe(STATE);
    for (let i: i32 = 0; i < STATE_BYTES; i++) expect(load<u8>(STATE + i)).toBe(0);
    expect(load<u8>(CIPHERTEXT)).toBe(1);
  });
});
