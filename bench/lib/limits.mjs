/** How long what a benchmark waits for may take (TS-82): beyond it something hangs. */

/** A program that is asked for its version or the like. */
export const ASKED = { timeout: 60_000 };
/** A build, a download, a file of samples that is read. */
export const WORKED = { timeout: 900_000 };
/** A whole part; the longest is a soak of eight hours (TS-62). */
export const MEASURED = { timeout: 12 * 3_600_000 };
