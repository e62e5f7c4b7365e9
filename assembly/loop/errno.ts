/** The error numbers that the loops tell apart (PG-38, PG-46, PG-47), as on x86-64 and arm64. */
export const EPERM: i32 = 1;
export const EINTR: i32 = 4;
export const EIO: i32 = 5;
export const EBADF: i32 = 9;
export const EAGAIN: i32 = 11;
export const EACCES: i32 = 13;
export const EINVAL: i32 = 22;
export const EBADFD: i32 = 77;
export const ENOTSOCK: i32 = 88;
export const EMSGSIZE: i32 = 90;
export const EADDRNOTAVAIL: i32 = 99;
export const ENETDOWN: i32 = 100;
export const ENETUNREACH: i32 = 101;
export const ENOBUFS: i32 = 105;
export const ECONNREFUSED: i32 = 111;
export const EHOSTDOWN: i32 = 112;
export const EHOSTUNREACH: i32 = 113;

/** Larger numbers do not occur; they would be counted under 0. */
const ERRNO_MAX: i32 = 135;

/** Counts `error` in one of the worker's tables by errno. */
export function countErrno(worker: usize, table: usize, error: i32): void {
  const row: usize = error > 0 && error <= ERRNO_MAX ? <usize>error : 0;
  const place = worker + table + (row << 2);
  store<u32>(place, load<u32>(place) + 1);
}
