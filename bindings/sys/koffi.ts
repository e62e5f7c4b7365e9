/**
 * System calls through koffi, for Node has no FFI of its own: the C library, with pointers as plain
 * numbers (PF-17, PF-18).
 *
 * The calls of the loops are arrow functions around koffi's: measured, an arrow that adds the base is
 * at least as fast as handing koffi's function object to WebAssembly, and lets the plane pass 32-bit
 * offsets (PF-19). Each thread opens its own: `errno` belongs to the thread that called.
 */
import { createRequire } from "node:module";
import { PosternError } from "../../src/base/index.ts";
import type { SysCalls } from "./sys-calls.ts";

type Koffi = typeof import("koffi");
type Call = (...values: readonly (number | string)[]) => number;

/**
 * Opens the C library for a shared memory.
 *
 * @throws PosternError `host` when koffi or the C library cannot be loaded (PG-134).
 */
export function openKoffiCalls(memory: WebAssembly.Memory): SysCalls {
  const koffi = loadKoffi();
  const func = bindLibrary(koffi);
  // A shared buffer itself is refused by `address`; a view on it is not (PF-17).
  const base = koffi.address(new Uint8Array(memory.buffer));
  // User addresses lie below 2^47, so the sum with an offset stays exact.
  const start = Number(base);
  return { base, ...bindPlaneCalls(koffi, func, start), ...bindControlCalls(func, start) };
}

/** The part that runs in the loops, once per batch. */
function bindPlaneCalls(koffi: Koffi, func: BindFunction, start: number) {
  const read = func("read", "int", ["int", "uintptr_t", "uint32_t"]);
  const write = func("write", "int", ["int", "uintptr_t", "uint32_t"]);
  const sendmsg = func("sendmsg", "int", ["int", "uintptr_t", "int"]);
  const recvmsg = func("recvmsg", "int", ["int", "uintptr_t", "int"]);
  const poll = func("poll", "int", ["uintptr_t", "uint32_t", "int"]);
  const clockGetTime = func("clock_gettime", "int", ["int", "uintptr_t"]);
  const schedYield = func("sched_yield", "int", []);
  return {
    read: (fd: number, offset: number, bytes: number) => read(fd, start + offset, bytes),
    write: (fd: number, offset: number, bytes: number) => write(fd, start + offset, bytes),
    sendmsg: (fd: number, offset: number, flags: number) => sendmsg(fd, start + offset, flags),
    recvmsg: (fd: number, offset: number, flags: number) => recvmsg(fd, start + offset, flags),
    poll: (offset: number, count: number, timeoutMs: number) => poll(start + offset, count, timeoutMs),
    clock_gettime: (clock: number, offset: number) => clockGetTime(clock, start + offset),
    sched_yield: () => schedYield(),
    errno: () => koffi.errno(),
  };
}

/** What only control calls, a few times in a process's life. */
function bindControlCalls(func: BindFunction, start: number) {
  const open = func("open", "int", ["str", "int", "int"]);
  const close = func("close", "int", ["int"]);
  const ioctl = func("ioctl", "int", ["int", "ulong", "uintptr_t"]);
  const socket = func("socket", "int", ["int", "int", "int"]);
  const bind = func("bind", "int", ["int", "uintptr_t", "uint32_t"]);
  const connect = func("connect", "int", ["int", "uintptr_t", "uint32_t"]);
  const getsockname = func("getsockname", "int", ["int", "uintptr_t", "uintptr_t"]);
  const setsockopt = func("setsockopt", "int", ["int", "int", "int", "uintptr_t", "uint32_t"]);
  const getsockopt = func("getsockopt", "int", ["int", "int", "int", "uintptr_t", "uintptr_t"]);
  const eventfd = func("eventfd", "int", ["uint", "int"]);
  const fcntl = func("fcntl", "int", ["int", "int", "ulong"]);
  const flock = func("flock", "int", ["int", "int"]);
  const geteuid = func("geteuid", "int", []);
  return {
    open: (path: string, flags: number, mode: number) => open(path, flags, mode),
    close: (fd: number) => close(fd),
    ioctlValue: (fd: number, request: number, value: number) => ioctl(fd, request, value),
    ioctl: (fd: number, request: number, offset: number) => ioctl(fd, request, start + offset),
    socket: (family: number, type: number, protocol: number) => socket(family, type, protocol),
    bind: (fd: number, offset: number, bytes: number) => bind(fd, start + offset, bytes),
    connect: (fd: number, offset: number, bytes: number) => connect(fd, start + offset, bytes),
    getsockname: (fd: number, offset: number, lengthOffset: number) =>
      getsockname(fd, start + offset, start + lengthOffset),
    setsockopt: (fd: number, level: number, name: number, offset: number, bytes: number) =>
      setsockopt(fd, level, name, start + offset, bytes),
    getsockopt: (fd: number, level: number, name: number, offset: number, lengthOffset: number) =>
      getsockopt(fd, level, name, start + offset, start + lengthOffset),
    eventfd: (initial: number, flags: number) => eventfd(initial, flags),
    fcntl: (fd: number, command: number, value: number) => fcntl(fd, command, value),
    flock: (fd: number, operation: number) => flock(fd, operation),
    geteuid: () => geteuid(),
    createCharacterDevice: (path: string, mode: number, major: number, minor: number) =>
      // glibc has the symbol since 2.33 only: bound when needed, which is almost never.
      func("mknod", "int", ["str", "uint", "ulong"])(path, S_IFCHR | mode, (major << 8) | minor),
  };
}

/** Type bits of a character device in a file's mode. */
const S_IFCHR = 0o20000;

type BindFunction = (name: string, result: string, parameters: string[]) => Call;

function bindLibrary(koffi: Koffi): BindFunction {
  const library = loadLibrary(koffi);
  return (name, result, parameters) => {
    const call: Call = library.func(name, result, parameters);
    return call;
  };
}

/** glibc under its fixed name; on musl the C library is already part of the process. */
function loadLibrary(koffi: Koffi): ReturnType<Koffi["load"]> {
  try {
    return koffi.load("libc.so.6");
  } catch {
    return koffi.load(null);
  }
}

function loadKoffi(): Koffi {
  try {
    return createRequire(import.meta.url)("koffi") as Koffi;
  } catch (cause) {
    throw new PosternError(
      "host",
      "cannot make system calls: the optional package koffi is not installed for this platform",
      "install with optional dependencies (npm install --include=optional), or use --mode userspace",
      { cause },
    );
  }
}
