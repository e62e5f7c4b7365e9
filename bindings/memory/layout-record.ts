/** How records of the shared memory are described, and what follows from a description. */

export interface FieldDescription {
  readonly type: "u8" | "u16" | "u32" | "i32" | "u64" | "bytes";
  /** Length of a `bytes` field. */
  readonly bytes?: number;
  /** Number of elements of an array field. */
  readonly count?: number;
  /** The field starts a new cache line, because its writer differs from the one before. */
  readonly line?: boolean;
  /** Who writes it: every field has one writer, or is atomic ("any"). */
  readonly writer: "control" | "worker" | "egress" | "ingress" | "any";
  readonly doc: string;
}

export type RecordLayout = Readonly<Record<string, FieldDescription>>;

const CACHE_LINE_BYTES = 64;
const SIZES = { u8: 1, u16: 2, u32: 4, i32: 4, u64: 8, bytes: 8 } as const;

/**
 * Offsets of all fields in their order, each aligned to its type; the size is whole cache lines.
 * @param start size of the record that this one follows; 0: it follows none
 */
export function placeFields<R extends RecordLayout>(
  record: R,
  start = 0,
): { readonly offsets: Readonly<Record<keyof R, number>>; readonly bytes: number } {
  const offsets: Partial<Record<keyof R, number>> = {};
  let next = start;
  for (const [name, field] of Object.entries(record)) {
    const align = field.line === true ? CACHE_LINE_BYTES : SIZES[field.type];
    next = roundUp(next, align);
    offsets[name as keyof R] = next;
    next += sizeOf(field);
  }
  // Every key of the record was visited above.
  return { offsets: offsets as Record<keyof R, number>, bytes: roundUp(next, CACHE_LINE_BYTES) };
}

function sizeOf(field: FieldDescription): number {
  const one = field.type === "bytes" ? (field.bytes ?? 0) : SIZES[field.type];
  return one * (field.count ?? 1);
}

export function roundUp(value: number, step: number): number {
  return Math.ceil(value / step) * step;
}

/** FNV-1a over text, as an unsigned 32-bit number. */
export function fingerprint(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}
