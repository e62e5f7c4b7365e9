const REDACTED = "[redacted]";

/**
 * A token, key or password that cannot reach a log, a status or an error by accident: whatever turns
 * it into text gets `[redacted]` (PG-21). Only `reveal` gives the value, so its uses can be searched.
 */
export interface Secret<T> {
  reveal(): T;
  toString(): string;
  toJSON(): string;
}

/** Wraps a value; the closure keeps it out of property enumeration, too. */
export function secret<T>(value: T): Secret<T> {
  const wrapped = {
    reveal: () => value,
    toString: () => REDACTED,
    toJSON: () => REDACTED,
    // Node, Deno and Bun ask this registered symbol when they print an object for people.
    [Symbol.for("nodejs.util.inspect.custom")]: () => REDACTED,
  };
  return Object.freeze(wrapped);
}
