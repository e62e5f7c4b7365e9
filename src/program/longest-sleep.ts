/** The longest that a timer of the runtime can sleep; beyond it the runtime would not wait at all. */
export const MAX_SLEEP_MS = 0x7fff_ffff;
