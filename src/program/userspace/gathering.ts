/** How long a turn waits for more datagrams of the runtime's sockets: one turn for many costs less than many turns. */

/** So many libuv reads from a socket before others have their turn: behind as many there are most often more. */
const READ_AT_ONCE = 32;
/** Nothing waits longer for more. */
const GATHERED_MAX = 128;

export interface Gathering {
  /** Asked once per turn of the runtime's loop. @param waiting how many datagrams have come and were not taken */
  goesOn(waiting: number): boolean;
  /** All have been taken, or a turn's worth. */
  taken(left: number): void;
}

export function createGathering(): Gathering {
  let before = 0;
  return {
    goesOn(waiting) {
      const come = waiting - before;
      before = waiting;
      return come >= READ_AT_ONCE && waiting < GATHERED_MAX;
    },
    taken(left) {
      before = left;
    },
  };
}
