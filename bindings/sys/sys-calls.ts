/**
 * The kernel, as the plane and control see it: system calls straight on the shared memory.
 *
 * Every pointer is an offset into that memory (the back end adds the base address, PF-19). A call
 * returns what the kernel returned, or -1 with `errno()` valid until the next call of this thread.
 */
export interface PlaneCalls {
  read(fd: number, offset: number, bytes: number): number;
  write(fd: number, offset: number, bytes: number): number;
  /** `offset` of a `struct msghdr`, whose own pointers are absolute (PF-20). */
  sendmsg(fd: number, offset: number, flags: number): number;
  recvmsg(fd: number, offset: number, flags: number): number;
  /** `offset` of an array of `count` `struct mmsghdr`; returns how many messages were received. */
  recvmmsg(fd: number, offset: number, count: number, flags: number): number;
  sendmmsg(fd: number, offset: number, count: number, flags: number): number;
  setsockopt(fd: number, level: number, name: number, offset: number, bytes: number): number;
  /** `offset` of an array of `count` `struct epoll_event`. */
  epoll_wait(epoll: number, offset: number, count: number, timeoutMs: number): number;
  /** `offset` of an array of `count` `struct pollfd`. */
  poll(offset: number, count: number, timeoutMs: number): number;
  /** Writes a `struct timespec` (16 bytes) at `offset`. */
  clock_gettime(clock: number, offset: number): number;
  /** Lets another thread have the processor. */
  sched_yield(): number;
  errno(): number;
}

export interface SysCalls extends PlaneCalls {
  /** Absolute address of the memory's first byte; it never changes (PF-13). */
  readonly base: bigint;
  open(path: string, flags: number, mode: number): number;
  close(fd: number): number;
  /** Third argument by value, as TUNSETOFFLOAD wants it. */
  ioctlValue(fd: number, request: number, value: number): number;
  ioctl(fd: number, request: number, offset: number): number;
  socket(family: number, type: number, protocol: number): number;
  bind(fd: number, offset: number, bytes: number): number;
  connect(fd: number, offset: number, bytes: number): number;
  getsockname(fd: number, offset: number, lengthOffset: number): number;
  getsockopt(fd: number, level: number, name: number, offset: number, lengthOffset: number): number;
  eventfd(initial: number, flags: number): number;
  /** epoll_create1(2). */
  epollCreate(flags: number): number;
  /** epoll_ctl(2); `offset` of a `struct epoll_event`. */
  epollControl(epoll: number, operation: number, fd: number, offset: number): number;
  fcntl(fd: number, command: number, value: number): number;
  flock(fd: number, operation: number): number;
  geteuid(): number;
  /** capset(2) of this thread; offsets of its two structures. */
  capset(headerOffset: number, dataOffset: number): number;
  /** mknod(2) of a character device. */
  createCharacterDevice(path: string, mode: number, major: number, minor: number): number;
}
