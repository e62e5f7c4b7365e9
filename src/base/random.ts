/** A source of random bytes. Machines get one; only `program` and tests create them (TS-6). */
export interface Random {
  /** Fills `bytes` and returns it. */
  fill<T extends Uint8Array>(bytes: T): T;
}

export function randomBytes(random: Random, length: number): Uint8Array<ArrayBuffer> {
  return random.fill(new Uint8Array(length));
}

export function randomU32(random: Random): number {
  const bytes = randomBytes(random, 4);
  return new DataView(bytes.buffer).getUint32(0, true);
}

/** Uniform in [0, limit); `limit` at most 2^32. The bias of the modulo is removed by redrawing. */
export function randomBelow(random: Random, limit: number): number {
  const usable = 0x1_0000_0000 - (0x1_0000_0000 % limit);
  for (;;) {
    const value = randomU32(random);
    if (value < usable) return value % limit;
  }
}

/** A repeatable source for tests and the simulated world: sfc32 (TS-6). Not for production keys. */
export function createSeededRandom(seed: number): Random {
  let a = 0x9e3779b9 ^ seed;
  let b = 0x243f6a88;
  let c = 0xb7e15162 ^ (seed >>> 16);
  let counter = 1;
  const next = (): number => {
    const sum = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + sum;
    c |= 0;
    return sum >>> 0;
  };
  for (let i = 0; i < 15; i++) next();
  return {
    fill(bytes) {
      for (let i = 0; i < bytes.length; i++) bytes[i] = next() & 0xff;
      return bytes;
    },
  };
}
