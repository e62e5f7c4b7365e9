/** The library's errors: few codes that programs decide by, a finer reason in `detail` (PG-120). */
import { PosternError as BaseError } from "../base/index.ts";

export type ErrorCode =
  | "auth"
  | "portal_unreachable"
  | "portal_tls"
  | "not_a_resource"
  | "offline"
  | "refused"
  | "unreachable"
  | "prohibited"
  | "timeout"
  | "reset"
  | "closed"
  | "host";

/** What a person is meant to read: what happened, to what, and what to do. */
export interface PosternError extends Error {
  readonly code: ErrorCode;
  /** A finer reason, such as `tun-open-denied`. */
  readonly detail: string | undefined;
  /** The remedy. */
  readonly hint: string | undefined;
}

/** For `instanceof`: only the library makes them. */
export const PosternError: {
  readonly prototype: PosternError;
  [Symbol.hasInstance](value: unknown): value is PosternError;
} = BaseError as never;

const CODES: Readonly<Record<ErrorCode, true>> = {
  auth: true,
  portal_unreachable: true,
  portal_tls: true,
  not_a_resource: true,
  offline: true,
  refused: true,
  unreachable: true,
  prohibited: true,
  timeout: true,
  reset: true,
  closed: true,
  host: true,
};

/** The same error with one of the library's codes; what is no error of ours stays as it is. */
export function toLibraryError(error: unknown): unknown {
  if (!(error instanceof BaseError) || Object.hasOwn(CODES, error.code)) return error;
  const { code, message, hint } = error;
  return new BaseError("host", message, hint, { cause: error, detail: code });
}

export function usage(message: string, hint?: string): PosternError {
  return new BaseError("host", message, hint, { detail: "usage" }) as PosternError;
}
