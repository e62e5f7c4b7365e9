/**
 * The system calls as functions of the C library, for every runtime's way to call it.
 *
 * The calls of the loops are arrow functions: measured, an arrow that adds the base is at least as fast as
 * handing the FFI's function object to WebAssembly, and lets the plane pass 32-bit offsets (PF-19).
 */
import type { CLibrary } from "./c-library.ts";
import type { PlaneCalls, SysCalls } from "./sys-calls.ts";

export function bindCalls(library: CLibrary): SysCalls {
  return { base: library.base, ...bindPlaneCalls(library), ...bindControlCalls(library) };
}

/** The part that runs in the loops, once per batch. */
function bindPlaneCalls({ address, bind, errno }: CLibrary): PlaneCalls {
  const read = bind("read", ["int", "pointer", "uint"]);
  const write = bind("write", ["int", "pointer", "uint"]);
  const sendmsg = bind("sendmsg", ["int", "pointer", "int"]);
  const recvmsg = bind("recvmsg", ["int", "pointer", "int"]);
  const recvmmsg = bind("recvmmsg", ["int", "pointer", "uint", "int", "ulong"]);
  const sendmmsg = bind("sendmmsg", ["int", "pointer", "uint", "int"]);
  const setsockopt = bind("setsockopt", ["int", "int", "int", "pointer", "uint"]);
  const epollWait = bind("epoll_wait", ["int", "pointer", "int", "int"]);
  const poll = bind("poll", ["pointer", "uint", "int"]);
  const clockGetTime = bind("clock_gettime", ["int", "pointer"]);
  const schedYield = bind("sched_yield", []);
  return {
    read: (fd, offset, bytes) => read(fd, address(offset), bytes),
    write: (fd, offset, bytes) => write(fd, address(offset), bytes),
    sendmsg: (fd, offset, flags) => sendmsg(fd, address(offset), flags),
    recvmsg: (fd, offset, flags) => recvmsg(fd, address(offset), flags),
    recvmmsg: (fd, offset, count, flags) => recvmmsg(fd, address(offset), count, flags, NO_TIME_OUT),
    sendmmsg: (fd, offset, count, flags) => sendmmsg(fd, address(offset), count, flags),
    setsockopt: (fd, level, name, offset, bytes) => setsockopt(fd, level, name, address(offset), bytes),
    epoll_wait: (epoll, offset, count, timeoutMs) => epollWait(epoll, address(offset), count, timeoutMs),
    poll: (offset, count, timeoutMs) => poll(address(offset), count, timeoutMs),
    clock_gettime: (clock, offset) => clockGetTime(clock, address(offset)),
    sched_yield: () => schedYield(),
    errno,
  };
}

/** A null pointer. */
const NO_TIME_OUT = 0;

type ControlCalls = Omit<SysCalls, keyof PlaneCalls | "base">;

/** What only control calls, a few times in a process's life. */
function bindControlCalls({ address, bind }: CLibrary): ControlCalls {
  const open = bind("open", ["text", "int", "int"]);
  const close = bind("close", ["int"]);
  const ioctlValue = bind("ioctl", ["int", "ulong", "ulong"]);
  const ioctl = bind("ioctl", ["int", "ulong", "pointer"]);
  const socket = bind("socket", ["int", "int", "int"]);
  const bindSocket = bind("bind", ["int", "pointer", "uint"]);
  const connect = bind("connect", ["int", "pointer", "uint"]);
  const getsockname = bind("getsockname", ["int", "pointer", "pointer"]);
  const getsockopt = bind("getsockopt", ["int", "int", "int", "pointer", "pointer"]);
  const eventfd = bind("eventfd", ["uint", "int"]);
  const epollCreate = bind("epoll_create1", ["int"]);
  const epollControl = bind("epoll_ctl", ["int", "int", "int", "pointer"]);
  const fcntl = bind("fcntl", ["int", "int", "ulong"]);
  const flock = bind("flock", ["int", "int"]);
  const geteuid = bind("geteuid", []);
  const capset = bind("capset", ["pointer", "pointer"]);
  return {
    open: (path, flags, mode) => open(path, flags, mode),
    close: (fd) => close(fd),
    ioctlValue: (fd, request, value) => ioctlValue(fd, request, value),
    ioctl: (fd, request, offset) => ioctl(fd, request, address(offset)),
    socket: (family, type, protocol) => socket(family, type, protocol),
    bind: (fd, offset, bytes) => bindSocket(fd, address(offset), bytes),
    connect: (fd, offset, bytes) => connect(fd, address(offset), bytes),
    getsockname: (fd, offset, lengthOffset) => getsockname(fd, address(offset), address(lengthOffset)),
    getsockopt: (fd, level, name, offset, lengthOffset) =>
      getsockopt(fd, level, name, address(offset), address(lengthOffset)),
    eventfd: (initial, flags) => eventfd(initial, flags),
    epollCreate: (flags) => epollCreate(flags),
    epollControl: (epoll, operation, fd, offset) => epollControl(epoll, operation, fd, address(offset)),
    fcntl: (fd, command, value) => fcntl(fd, command, value),
    flock: (fd, operation) => flock(fd, operation),
    geteuid: () => geteuid(),
    capset: (headerOffset, dataOffset) => capset(address(headerOffset), address(dataOffset)),
    createCharacterDevice: (path, mode, major, minor) =>
      // glibc has the symbol since 2.33 only: bound when needed, which is almost never.
      bind("mknod", ["text", "uint", "ulong"])(path, S_IFCHR | mode, (major << 8) | minor),
  };
}

/** Type bits of a character device in a file's mode. */
const S_IFCHR = 0o20000;
