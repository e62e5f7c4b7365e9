/**
 * The self-test and the timing of a cipher variant through the exports of the plane's module.
 *
 * An instance of its own on a memory of its own: nothing that the plane uses is touched. An experimental
 * compiler flag may break what it compiles (PF-70), so the test runs the final machine code.
 */
import { createCipheriv } from "node:crypto";
import { chacha20poly1305 } from "@noble/ciphers/chacha.js";
import { createSeededRandom, type Random, randomBelow, randomBytes } from "../../src/base/index.ts";

/** What assembly/crypto/exports.ts exports; addresses and lengths in bytes. */
export interface AeadExports {
  aeadLanes(len: number): number;
  aeadStateBytes(): number;
  aeadSeal(key: number, np: number, src: number, dst: number, len: number, st: number, ahead: number): void;
  aeadFlush(st: number): void;
  aeadForget(st: number): void;
  aeadOpen(key: number, np: number, src: number, dst: number, len: number, st: number, otk: number): number;
  aeadAhead(key: number, np: number, stride: number, len: number, out: number, st: number): void;
  aeadSealMany(
    n: number,
    batch: number,
    keys: number,
    key: number,
    np: number,
    src: number,
    dst: number,
    len: number,
    st: number,
  ): void;
  aeadOpenMany(
    n: number,
    keys: number,
    key: number,
    np: number,
    src: number,
    dst: number,
    len: number,
    st: number,
  ): number;
}

/** A variant to test: its exports, and the memory that they work on. */
export interface Bench {
  readonly aead: AeadExports;
  readonly bytes: Uint8Array;
}

/** Another implementation: ciphertext and tag of a message without associated data. */
export type Oracle = (key: Uint8Array, nonce: Uint8Array, plaintext: Uint8Array) => Uint8Array;

export interface Speed {
  readonly sealGBps: number;
  readonly openGBps: number;
}

/** Addresses in the test's own memory, clear of the module's constant tables. */
const KEY = 0x10_0000;
const NONCE = KEY + 64;
const SEAL_STATE = KEY + 0x1000;
const OPEN_STATE = KEY + 0x2000;
const AHEAD = KEY + 0x3000;
const SOURCE = 0x11_0000;
const SEALED = 0x12_0000;
const OPENED = 0x14_0000;

/** Lengths on both sides of every boundary of the variants' loops: blocks, batches, and what batch 0 leaves. */
const LENGTHS = [
  0, 1, 15, 16, 17, 63, 64, 65, 127, 128, 129, 191, 192, 193, 255, 256, 257, 447, 448, 449, 511, 512, 513,
  703, 704, 705, 959, 960, 961, 1216, 1217, 1279, 1280, 1408, 1420, 1424, 1472, 1473, 2047,
];
/** What stands behind every result, and must still stand there afterwards. */
const GUARD = 0xaa;
const GUARD_BYTES = 64;
/** The same in a run, where the one-time key or the first blocks are made in advance. */
const LENGTHS_IN_RUN = [
  ...[0, 1, 7, 8, 15, 16, 40, 52, 63, 64, 65, 72, 127, 128, 129, 191, 192],
  ...[193, 256, 257, 511, 512, 513, 768, 769, 1280, 1281, 1420],
];
/** What the variant writes for each message of a run. */
const AHEAD_BYTES = 128;
const RANDOM_LENGTHS = 30;
const LENGTH_MAX = 2200;
/** Messages to a flush, as in the egress loop. */
const BATCH = 32;
const TIMED_LENGTH = 1420;
const TIMED_MESSAGES = 96;
const TIMED_ROUNDS = 10;
/** Use that makes V8 replace baseline code: at least this long, and some thousand messages (PF-16). */
const WARM_UP_MS = 60;
const WARM_UP_MESSAGES = 128;

/** Instantiates a module of the plane for testing; what it imports besides memory is never called. */
export function openBench(module: WebAssembly.Module): Bench {
  const memory = new WebAssembly.Memory({ initial: 256, maximum: 4096, shared: true });
  const imports: WebAssembly.Imports = {};
  for (const { module: room, name, kind } of WebAssembly.Module.imports(module)) {
    imports[room] = { ...imports[room], [name]: kind === "memory" ? memory : () => 0 };
  }
  const instance = new WebAssembly.Instance(module, imports);
  return { aead: instance.exports as unknown as AeadExports, bytes: new Uint8Array(memory.buffer) };
}

/** OpenSSL's implementation where the runtime has it, else noble's; neither shares code with ours. */
export function createOracle(): Oracle {
  const byOpenSsl: Oracle = (key, nonce, plaintext) => {
    const cipher = createCipheriv("chacha20-poly1305", key, nonce, { authTagLength: 16 });
    return Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
  };
  try {
    byOpenSsl(new Uint8Array(32), new Uint8Array(12), new Uint8Array(0));
    return byOpenSsl;
  } catch {
    // Bun has no such cipher.
    return (key, nonce, plaintext) => chacha20poly1305(key, nonce).encrypt(plaintext);
  }
}

/** Runs the variant until V8 has surely replaced its baseline code. */
export function warmUp(bench: Bench): void {
  const until = performance.now() + WARM_UP_MS;
  while (performance.now() < until) {
    sealAndOpenMany(bench, 40, WARM_UP_MESSAGES);
    sealSingly(bench, 40, WARM_UP_MESSAGES);
    openSingly(bench, 40, WARM_UP_MESSAGES);
    sealAndOpenMany(bench, TIMED_LENGTH, WARM_UP_MESSAGES);
  }
}

/**
 * Compares the variant with the oracle: tags deferred through one state, in place and not, one-time keys
 * made in advance, forgeries in text and tag, writes beyond the end.
 * @param lengths of messages, at most 2,200 bytes; by default all boundaries and some random ones
 * @returns what is wrong, or undefined
 */
export function findFault(bench: Bench, oracle: Oracle, lengths?: readonly number[]): string | undefined {
  const random = createSeededRandom(0x5eed);
  const tried = lengths ?? withRandomLengths(random);
  return (
    findVectorFault(bench) ??
    findSealFault(bench, oracle, random, tried) ??
    findOpenFault(bench, oracle, random, tried) ??
    findRunFault(bench, oracle, random, lengths ?? LENGTHS_IN_RUN)
  );
}

function withRandomLengths(random: Random): readonly number[] {
  return [...LENGTHS, ...Array.from({ length: RANDOM_LENGTHS }, () => randomBelow(random, LENGTH_MAX))];
}

/**
 * Adds the speed of bulk transfer to each variant. They take turns, and each has the best of its rounds:
 * noise only ever slows, and what slows for a while does not strike one of them alone.
 */
export function measureSpeeds<T extends { readonly bench: Bench }>(
  variants: readonly T[],
): readonly (T & Speed)[] {
  const times = variants.map((variant) => ({ variant, sealMs: Infinity, openMs: Infinity }));
  for (let i = 0; i < TIMED_ROUNDS; i++) {
    for (const time of times) {
      const round = sealAndOpenMany(time.variant.bench, TIMED_LENGTH, TIMED_MESSAGES);
      time.sealMs = Math.min(time.sealMs, round.sealMs);
      time.openMs = Math.min(time.openMs, round.openMs);
    }
  }
  const megabytes = (TIMED_MESSAGES * TIMED_LENGTH) / 1e6;
  return times.map(({ variant, sealMs, openMs }) => ({
    ...variant,
    sealGBps: megabytes / sealMs,
    openGBps: megabytes / openMs,
  }));
}

/** Seals messages of one length in batches, as the egress loop does in a long run. */
export function sealMany({ aead }: Bench, length: number, messages: number): void {
  aead.aeadSealMany(messages, BATCH, AHEAD, KEY, NONCE, SOURCE, SEALED, length, SEAL_STATE);
}

/** Opens what `sealMany` sealed, with keys or blocks in advance where the variant makes them, as for a long run. */
export function openMany({ aead }: Bench, length: number, messages: number): void {
  aead.aeadOpenMany(messages, AHEAD, KEY, NONCE, SEALED, OPENED, length, OPEN_STATE);
}

/** Seals messages one at a time: each has its tag before the next begins, and nothing is made in advance. */
export function sealSingly({ aead }: Bench, length: number, messages: number): void {
  aead.aeadSealMany(messages, 1, 0, KEY, NONCE, SOURCE, SEALED, length, SEAL_STATE);
}

/** Opens what `sealMany` sealed, one message at a time. */
export function openSingly({ aead }: Bench, length: number, messages: number): void {
  aead.aeadOpenMany(messages, 0, KEY, NONCE, SEALED, OPENED, length, OPEN_STATE);
}

function sealAndOpenMany(bench: Bench, length: number, messages: number) {
  const started = performance.now();
  sealMany(bench, length, messages);
  const sealed = performance.now();
  openMany(bench, length, messages);
  return { sealMs: sealed - started, openMs: performance.now() - sealed };
}

/** RFC 8439 §2.4.2: the AEAD encrypts from block 1 as that example does. */
function findVectorFault({ aead, bytes }: Bench): string | undefined {
  const plaintext = Buffer.from(
    "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, " +
      "sunscreen would be it.",
  );
  const ciphertext = Buffer.from(
    "6e2e359a2568f98041ba0728dd0d6981e97e7aec1d4360c20a27afccfd9fae0bf91b65c5524733ab8f593dabcd62b357" +
      "1639d624e65152ab8f530c359f0861d807ca0dbf500d6a6156a38e088a22b65e52bc514d16ccf806818ce91ab7793736" +
      "5af90bbf74a35be6b40b8eedf2785e42874d",
    "hex",
  );
  bytes.set(
    Uint8Array.from({ length: 32 }, (_, i) => i),
    KEY,
  );
  bytes.set([0, 0, 0, 0, 0, 0, 0, 0x4a, 0, 0, 0, 0], NONCE);
  bytes.set(plaintext, SOURCE);
  aead.aeadSeal(KEY, NONCE, SOURCE, SEALED, plaintext.length, SEAL_STATE, 0);
  aead.aeadFlush(SEAL_STATE);
  return isEqualAt(bytes, SEALED, ciphertext) ? undefined : "RFC 8439 §2.4.2 gives other ciphertext";
}

/**
 * A key of its own for every third message, else that of the message before with another nonce: what is kept of a
 * key serves the messages that follow (PF-83), if the nonce's upper half stays.
 */
function nextKeyAndNonce(random: Random, i: number, before: KeyAndNonce | undefined): KeyAndNonce {
  if (i % 3 === 0 || before === undefined)
    return { key: randomBytes(random, 32), nonce: randomBytes(random, 12) };
  const nonce = before.nonce.slice();
  nonce.set(randomBytes(random, 4), i % 3 === 1 ? 4 : 8);
  return { key: before.key, nonce };
}

interface KeyAndNonce {
  readonly key: Uint8Array;
  readonly nonce: Uint8Array;
}

/** Every fourth message is sealed in place. */
function findSealFault({ aead, bytes }: Bench, oracle: Oracle, random: Random, lengths: readonly number[]) {
  let due: Sealed[] = [];
  let at = SEALED;
  let last: KeyAndNonce | undefined;
  for (const [i, length] of lengths.entries()) {
    last = nextKeyAndNonce(random, i, last);
    const { key, nonce } = last;
    const plaintext = randomBytes(random, length);
    const source = i % 4 === 0 ? at : SOURCE;
    bytes.fill(GUARD, at, at + length + 16 + GUARD_BYTES);
    bytes.set(key, KEY);
    bytes.set(nonce, NONCE);
    bytes.set(plaintext, source);
    aead.aeadSeal(KEY, NONCE, source, at, length, SEAL_STATE, 0);
    due.push({ at, expected: oracle(key, nonce, plaintext) });
    at += length + 16 + GUARD_BYTES;
    if (i % BATCH < BATCH - 1 && i < lengths.length - 1) continue;
    aead.aeadFlush(SEAL_STATE);
    for (const sealed of due) {
      const fault = findSealedFault(bytes, sealed);
      if (fault !== undefined) return fault;
    }
    due = [];
    at = SEALED;
  }
  return undefined;
}

interface Sealed {
  readonly at: number;
  readonly expected: Uint8Array;
}

function findSealedFault(bytes: Uint8Array, { at, expected }: Sealed): string | undefined {
  const length = expected.length - 16;
  if (!isEqualAt(bytes, at, expected)) return `sealing ${length} bytes gives a wrong result`;
  return isGuarded(bytes, at + expected.length) ? undefined : `sealing ${length} bytes writes beyond the tag`;
}

function findOpenFault({ aead, bytes }: Bench, oracle: Oracle, random: Random, lengths: readonly number[]) {
  let last: KeyAndNonce | undefined;
  for (const [i, length] of lengths.entries()) {
    last = nextKeyAndNonce(random, i, last);
    const { key, nonce } = last;
    const plaintext = randomBytes(random, length);
    const sealed = oracle(key, nonce, plaintext);
    bytes.set(key, KEY);
    bytes.set(nonce, NONCE);
    bytes.set(sealed, SEALED);
    bytes.fill(GUARD, OPENED, OPENED + length + GUARD_BYTES);
    const open = () => aead.aeadOpen(KEY, NONCE, SEALED, OPENED, length, OPEN_STATE, 0) === 1;
    if (!open() || !isEqualAt(bytes, OPENED, plaintext)) return `opening ${length} bytes fails`;
    if (!isGuarded(bytes, OPENED + length)) return `opening ${length} bytes writes beyond them`;
    for (const bit of [randomBelow(random, 8 * sealed.length), 8 * length + randomBelow(random, 128)]) {
      flipBit(bytes, SEALED, bit);
      if (open()) return `a forgery of ${length} bytes is accepted`;
      flipBit(bytes, SEALED, bit);
    }
  }
  return undefined;
}

/** Runs of datagrams as GRO gives them: headers of 16 bytes, the counter in the last 8 of them. */
function findRunFault({ aead, bytes }: Bench, oracle: Oracle, random: Random, lengths: readonly number[]) {
  const key = randomBytes(random, 32);
  bytes.set(key, KEY);
  for (const length of lengths) {
    const lanes = aead.aeadLanes(length);
    if (lanes === 0) return undefined;
    const stride = 16 + length + 16;
    const plaintext = randomBytes(random, length);
    for (let i = 0; i < lanes; i++) {
      const nonce = new Uint8Array(12);
      nonce.set(randomBytes(random, 8), 4);
      bytes.set(nonce.subarray(4), SOURCE + i * stride + 8);
      bytes.set(oracle(key, nonce, plaintext), SOURCE + i * stride + 16);
    }
    aead.aeadAhead(KEY, SOURCE + 8, stride, length, AHEAD, OPEN_STATE);
    for (let i = 0; i < lanes; i++) {
      const sealed = SOURCE + i * stride + 16;
      const otk = AHEAD + AHEAD_BYTES * i;
      bytes.fill(0, NONCE, NONCE + 4);
      bytes.copyWithin(NONCE + 4, sealed - 8, sealed);
      const open = () => aead.aeadOpen(KEY, NONCE, sealed, OPENED, length, OPEN_STATE, otk) === 1;
      const fault = findSealedInRunFault(
        { aead, bytes },
        plaintext,
        bytes.slice(sealed, sealed + length + 16),
        otk,
      );
      if (fault !== undefined) return fault;
      bytes.fill(GUARD, OPENED, OPENED + length + GUARD_BYTES);
      if (!open() || !isEqualAt(bytes, OPENED, plaintext)) return `opening ${length} bytes in a run fails`;
      if (!isGuarded(bytes, OPENED + length)) return `opening ${length} bytes in a run writes beyond them`;
      flipBit(bytes, sealed, randomBelow(random, 8 * (length + 16)));
      if (open()) return `a forgery of ${length} bytes in a run is accepted`;
    }
  }
  return undefined;
}

/** The message whose nonce and record are in place, sealed: a long one as without anything in advance. */
function findSealedInRunFault(
  { aead, bytes }: Bench,
  plaintext: Uint8Array,
  expected: Uint8Array,
  ahead: number,
) {
  bytes.set(plaintext, OPENED);
  bytes.fill(GUARD, SEALED, SEALED + expected.length + GUARD_BYTES);
  aead.aeadSeal(KEY, NONCE, OPENED, SEALED, plaintext.length, SEAL_STATE, ahead);
  aead.aeadFlush(SEAL_STATE);
  return findSealedFault(bytes, { at: SEALED, expected });
}

function isEqualAt(bytes: Uint8Array, at: number, expected: Uint8Array): boolean {
  return expected.every((byte, i) => bytes[at + i] === byte);
}

function isGuarded(bytes: Uint8Array, at: number): boolean {
  return bytes.subarray(at, at + GUARD_BYTES).every((byte) => byte === GUARD);
}

function flipBit(bytes: Uint8Array, at: number, bit: number): void {
  const byte = at + (bit >> 3);
  bytes[byte] = (bytes[byte] ?? 0) ^ (1 << (bit & 7));
}
