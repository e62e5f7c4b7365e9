/** Octets that came ahead of a gap, and the SACK blocks that tell of them (RFC 2018). Positions are offsets. */

export interface Block {
  readonly start: number;
  readonly end: number;
}

interface Run extends Block {
  end: number;
  /** One behind the other, without gaps. */
  readonly pieces: Uint8Array[];
}

export interface Reassembly {
  /** In order, neither overlapping nor touching. */
  readonly runs: Run[];
  /** The newest first, as SACK wants them. */
  recent: readonly Block[];
  pieces: number;
}

/** A header has room for four blocks, or three beside a time stamp. */
const RECENT_MAX = 4;

export function createReassembly(): Reassembly {
  return { runs: [], recent: [], pieces: 0 };
}

/**
 * Keeps a copy of what of `bytes` at `start` is new: few are ahead of a gap, and whoever brings them may lend them.
 * @returns `known` if nothing of it was, `full` if there are too many pieces already
 */
export function keep(
  state: Reassembly,
  start: number,
  bytes: Uint8Array,
  mostPieces: number,
): "kept" | "known" | "full" {
  const end = start + bytes.length;
  const { runs } = state;
  const from = firstReaching(runs, start);
  const first = runs[from];
  if (first !== undefined && first.start <= start && first.end >= end) {
    note(state, first);
    return "known";
  }
  if (state.pieces >= mostPieces) return "full";
  let to = from;
  while ((runs[to]?.start ?? Number.POSITIVE_INFINITY) <= end) to++;
  const isContinued = first !== undefined && first.start <= start;
  const run = isContinued ? first : { start, end: start, pieces: [] };
  const fill = (upTo: number): void => {
    if (run.end >= upTo) return;
    run.pieces.push(bytes.slice(run.end - start, upTo - start));
    run.end = upTo;
    state.pieces++;
  };
  for (const next of runs.slice(isContinued ? from + 1 : from, to)) {
    fill(next.start);
    for (const piece of next.pieces) run.pieces.push(piece);
    run.end = next.end;
  }
  fill(end);
  runs.splice(from, to - from, run);
  note(state, run);
  return "kept";
}

/** The first run that ends at or behind `offset`. */
function firstReaching(runs: readonly Run[], offset: number): number {
  const found = runs.findIndex(({ end }) => end >= offset);
  return found < 0 ? runs.length : found;
}

/** RFC 2018 §4: the block that holds the newest segment is told first. */
function note(state: Reassembly, { start, end }: Block): void {
  const others = state.recent.filter((block) => block.end < start || block.start > end);
  state.recent = [{ start, end }, ...others].slice(0, RECENT_MAX);
}

/** Takes what `next` has reached; its pieces are in order and begin exactly there. */
export function takeReady(state: Reassembly, next: number): readonly Uint8Array[] {
  const ready: Uint8Array[] = [];
  let at = next;
  for (let run = state.runs[0]; run !== undefined && run.start <= at; run = state.runs[0]) {
    state.runs.shift();
    state.pieces -= run.pieces.length;
    let position = run.start;
    for (const piece of run.pieces) {
      const end = position + piece.length;
      if (end > at) {
        ready.push(at > position ? piece.subarray(at - position) : piece);
        at = end;
      }
      position = end;
    }
  }
  state.recent = state.recent.filter(({ start }) => start > at);
  return ready;
}
