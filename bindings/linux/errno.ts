/**
 * Error numbers of the system calls we make: x86-64 and arm64 have the same ones.
 *
 * A refused call is a value inside `bindings`; it becomes a `PosternError` where nobody nearby can
 * mend it, with the number in its cause.
 */
import { PosternError } from "../../src/base/index.ts";

/** Name, number and meaning, as errno(3) has them. */
const ERRORS = {
  EPERM: [1, "operation not permitted"],
  ENOENT: [2, "no such file or entry"],
  ESRCH: [3, "no such process or route"],
  EINTR: [4, "interrupted"],
  EIO: [5, "input/output error"],
  ENXIO: [6, "no such device or address"],
  EBADF: [9, "bad file descriptor"],
  EAGAIN: [11, "try again"],
  ENOMEM: [12, "out of memory"],
  EACCES: [13, "permission denied"],
  EBUSY: [16, "busy"],
  EEXIST: [17, "exists already"],
  ENODEV: [19, "no such device"],
  ENOTDIR: [20, "not a directory"],
  EISDIR: [21, "is a directory"],
  EINVAL: [22, "invalid argument"],
  ENFILE: [23, "too many open files on this system"],
  EMFILE: [24, "too many open files"],
  ENOSPC: [28, "no space left"],
  EROFS: [30, "read-only file system"],
  EPIPE: [32, "broken pipe"],
  ERANGE: [34, "out of range"],
  ENAMETOOLONG: [36, "name too long"],
  ENOLCK: [37, "no locks available"],
  ENOSYS: [38, "not implemented by this kernel"],
  ELOOP: [40, "is a symbolic link"],
  EBADFD: [77, "descriptor in bad state"],
  ENOTSOCK: [88, "not a socket"],
  EMSGSIZE: [90, "message too long"],
  ENOPROTOOPT: [92, "option not available"],
  EPROTONOSUPPORT: [93, "protocol not supported"],
  EOPNOTSUPP: [95, "not supported"],
  EAFNOSUPPORT: [97, "address family not supported"],
  EADDRINUSE: [98, "address in use"],
  EADDRNOTAVAIL: [99, "address not available"],
  ENETDOWN: [100, "network is down"],
  ENETUNREACH: [101, "network unreachable"],
  ECONNRESET: [104, "connection reset"],
  ENOBUFS: [105, "no buffer space"],
  ENOTCONN: [107, "not connected"],
  ETIMEDOUT: [110, "timed out"],
  ECONNREFUSED: [111, "connection refused"],
  EHOSTDOWN: [112, "host is down"],
  EHOSTUNREACH: [113, "host unreachable"],
  EINPROGRESS: [115, "in progress"],
} as const satisfies Readonly<Record<string, readonly [number, string]>>;

export type ErrnoName = keyof typeof ERRORS;

const NAMES = new Map<number, ErrnoName>(
  (Object.keys(ERRORS) as ErrnoName[]).map((name) => [ERRORS[name][0], name]),
);

export function errnoNumber(name: ErrnoName): number {
  return ERRORS[name][0];
}

/** `EBUSY`, or `errno 200` for one that has no name here. */
export function errnoName(errno: number): ErrnoName | `errno ${number}` {
  return NAMES.get(errno) ?? `errno ${errno}`;
}

/** Whether a number is one of the named errors. */
export function isErrno(errno: number, ...names: readonly ErrnoName[]): boolean {
  return names.some((name) => ERRORS[name][0] === errno);
}

/** What the kernel, or the process, is short of in passing: the same call may be granted a moment later. */
export const SHORTAGES = [
  "EINTR",
  "EAGAIN",
  "ENOMEM",
  "EBUSY",
  "ENFILE",
  "EMFILE",
  "ENOBUFS",
  "ETIMEDOUT",
] as const;

/** Whether an error of ours tells of a shortage, which passes. */
export function isShortage(error: unknown): boolean {
  return isErrno(errnoOf(error) ?? 0, ...SHORTAGES);
}

/** For people: `busy (EBUSY)`. */
export function describeErrno(errno: number): string {
  const name = NAMES.get(errno);
  return name === undefined ? `errno ${errno}` : `${ERRORS[name][1]} (${name})`;
}

/** The refused call behind a `PosternError`: its cause. */
export class SystemCallError extends Error {
  readonly errno: number;

  constructor(call: string, errno: number) {
    super(`${call}: ${describeErrno(errno)}`);
    this.name = "SystemCallError";
    this.errno = errno;
  }
}

/** Says what could not be done and why. Code `host`; `errnoOf` finds the number again. */
export function hostError(what: string, call: string, errno: number, hint?: string): PosternError {
  const cause = new SystemCallError(call, errno);
  return new PosternError("host", `${what}: ${describeErrno(errno)}`, hint, { cause });
}

/** The error number at the root of an error of ours, if a system call was refused. */
export function errnoOf(error: unknown): number | undefined {
  if (error instanceof SystemCallError) return error.errno;
  return error instanceof Error && error.cause !== undefined ? errnoOf(error.cause) : undefined;
}
