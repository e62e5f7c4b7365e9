/**
 * Prefixes flattened to disjoint ranges, as `assembly/table/range-set.ts` searches them. The longest
 * prefix that holds an address gives its value; where several are equal, the last one does (WG-58).
 */
import type { Prefix } from "../../src/base/index.ts";

/** Both lists run in step; the first range starts at the lowest address. Value 0: no prefix. */
export interface Ranges {
  readonly starts: readonly bigint[];
  readonly values: readonly number[];
}

export interface ValuedPrefix {
  readonly prefix: Prefix;
  /** A u32, not 0. */
  readonly value: number;
}

interface Span {
  readonly start: bigint;
  /** Exclusive. */
  readonly end: bigint;
  readonly value: number;
}

/** The ranges of the prefixes of one family; none if there is no prefix. */
export function flatten(prefixes: readonly ValuedPrefix[], addressBytes: 4 | 16): Ranges {
  const spans = prefixes
    .filter(({ prefix }) => prefix.address.length === addressBytes)
    .map(toSpan)
    .sort(byStartThenLength);
  if (spans.length === 0) return { starts: [], values: [] };
  const starts: bigint[] = [0n];
  const values: number[] = [0];
  const emit = (start: bigint, value: number) => {
    if (starts.at(-1) === start) {
      starts.pop();
      values.pop();
    }
    if (values.at(-1) === value) return;
    starts.push(start);
    values.push(value);
  };
  /** The prefixes that hold the address the sweep has reached, longest last. */
  const open: Span[] = [];
  const closeUntil = (address: bigint) => {
    for (let top = open.at(-1); top !== undefined && top.end <= address; top = open.at(-1)) {
      open.pop();
      emit(top.end, open.at(-1)?.value ?? 0);
    }
  };
  for (const span of spans) {
    closeUntil(span.start);
    open.push(span);
    emit(span.start, span.value);
  }
  const last = 1n << BigInt(addressBytes * 8);
  closeUntil(last);
  // A range that would begin behind the highest address.
  if (starts.at(-1) === last) {
    starts.pop();
    values.pop();
  }
  return { starts, values };
}

function toSpan({ prefix, value }: ValuedPrefix): Span {
  let start = 0n;
  for (const byte of prefix.address) start = (start << 8n) | BigInt(byte);
  const end = start + (1n << BigInt(prefix.address.length * 8 - prefix.bits));
  return { start, end, value };
}

/** Stable, so that of equal prefixes the later one is nested inside the earlier one and wins. */
function byStartThenLength(a: Span, b: Span): number {
  if (a.start !== b.start) return a.start < b.start ? -1 : 1;
  if (a.end !== b.end) return a.end > b.end ? -1 : 1;
  return 0;
}
