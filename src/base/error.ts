/**
 * An error that a person is meant to read: what happened, to what, and what to do.
 *
 * `code` is stable and decides the exit code of the programs (PG-14); `hint` is the remedy.
 */
export class PosternError extends Error {
  readonly code: string;
  readonly hint: string | undefined;
  /** A finer reason, where `code` is one of the library's few (PG-120). */
  readonly detail: string | undefined;

  constructor(
    code: string,
    message: string,
    hint?: string,
    options?: { readonly cause?: unknown; readonly detail?: string },
  ) {
    super(message, options);
    this.name = "PosternError";
    this.code = code;
    this.hint = hint;
    this.detail = options?.detail;
  }
}

/** Closes an exhaustive `switch`: does not compile while a case is missing, throws if reached. */
export function unreachable(value: never): never {
  throw new Error(`unreachable: ${JSON.stringify(value)}`);
}

/** States an invariant of ours. A failure is our defect, never the network's. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`broken invariant: ${message}`);
}
