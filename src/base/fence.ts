/** A defect in reading one peer's input, kept from all the others (PG-18). */

export type Fenced<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: unknown };

/**
 * Runs what reads and checks the input of one connection, before it changes anything that others share.
 *
 * An exception there is our defect, but it cost nothing except this one input: the caller logs it as an
 * ERROR, counts it, and closes that connection. Code that decides must not be run behind this fence:
 * state that it left half changed ends the process.
 */
export function fenced<T>(read: () => T): Fenced<T> {
  try {
    return { ok: true, value: read() };
  } catch (error) {
    return { ok: false, error };
  }
}
