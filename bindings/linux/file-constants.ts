/** Flags of open(2), poll(2), eventfd(2), flock(2) and the clock, as on x86-64 and arm64. */

export const O_RDWR = 0x2;
export const O_NONBLOCK = 0x800;
export const O_CLOEXEC = 0x80000;

/** Of fcntl(2): who gets SIGIO, and the flag that asks for it. */
export const F_SETFL = 4;
export const F_SETOWN = 8;
export const O_ASYNC = 0x2000;

export const EFD_NONBLOCK = 0x800;
export const EFD_CLOEXEC = 0x80000;

export const POLLIN = 0x1;
export const POLLOUT = 0x4;
export const POLLERR = 0x8;
export const POLLHUP = 0x10;
/** `struct pollfd`: i32 fd, u16 events, u16 revents. */
export const POLLFD_BYTES = 8;

export const LOCK_EX = 2;
export const LOCK_NB = 4;
export const LOCK_UN = 8;

/** Monotonic, and counts suspend (D-14). */
export const CLOCK_BOOTTIME = 7;
/** `struct timespec`: i64 seconds, i64 nanoseconds. */
export const TIMESPEC_BYTES = 16;

/** Of epoll_create1(2) and epoll_ctl(2). */
export const EPOLL_CLOEXEC = 0x80000;
export const EPOLL_CTL_ADD = 1;
export const EPOLL_CTL_DEL = 2;
export const EPOLLIN = 1;
