/** Reads from the binary of a WebAssembly module what its JavaScript interface does not tell. */

const GLOBALS = 6;
const DATA = 11;

export interface DataSegment {
  readonly address: number;
  readonly bytes: Uint8Array;
}

interface Reader {
  byte(): number;
  /** An unsigned LEB128 number; of a signed one only the low 32 bits matter here. */
  number(): number;
  bytes(length: number): Uint8Array;
  skipTo(offset: number): void;
  offset(): number;
}

/** The active data segments, which every instantiation writes again (PF-10). */
export function dataSegments(module: Uint8Array): readonly DataSegment[] {
  const segments: DataSegment[] = [];
  inSection(module, DATA, (reader) => {
    const count = reader.number();
    for (let i = 0; i < count; i++) {
      if (reader.number() !== 0) throw new Error("a data segment that is not active");
      const address = constant(reader);
      segments.push({ address, bytes: reader.bytes(reader.number()) });
    }
  });
  return segments;
}

/** How many of the module's own globals can change (PF-11, PF-12). */
export function mutableGlobals(module: Uint8Array): number {
  let mutable = 0;
  inSection(module, GLOBALS, (reader) => {
    const count = reader.number();
    for (let i = 0; i < count; i++) {
      reader.byte();
      mutable += reader.byte();
      constant(reader);
    }
  });
  return mutable;
}

function inSection(module: Uint8Array, wanted: number, read: (reader: Reader) => void): void {
  const reader = createReader(module);
  reader.skipTo(8);
  while (reader.offset() < module.length) {
    const id = reader.byte();
    const end = reader.number() + reader.offset();
    if (id === wanted) read(reader);
    reader.skipTo(end);
  }
}

/** `i32.const` or `i64.const` and `end`. */
function constant(reader: Reader): number {
  const opcode = reader.byte();
  if (opcode !== 0x41 && opcode !== 0x42) throw new Error(`initialised by opcode ${opcode}`);
  const value = reader.number();
  if (reader.byte() !== 0x0b) throw new Error("a constant expression of several instructions");
  return value;
}

function createReader(module: Uint8Array): Reader {
  let offset = 0;
  const byte = () => module[offset++] ?? fail();
  return {
    byte,
    number() {
      let value = 0;
      for (let shift = 0; ; shift += 7) {
        const next = byte();
        if (shift < 32) value |= (next & 0x7f) << shift;
        if (next < 0x80) return value >>> 0;
      }
    },
    bytes(length) {
      offset += length;
      return module.subarray(offset - length, offset);
    },
    skipTo(target) {
      offset = target;
    },
    offset: () => offset,
  };
}

function fail(): never {
  throw new RangeError("the module ends early");
}
