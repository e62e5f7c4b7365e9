/**
 * Loaded before a program of ours, makes what its own thread asks of the system fail as POSTERN_TEST_CONTROL_FAULTS
 * says (TS-64): system calls, files of the kernel, of name servers and of locks, children. Workers are left alone
 * (`faulty-library.mjs` has those). What struck is said on stderr, and at the end how many system calls there were.
 *
 * A call has several names, and a fault may have any of them:
 *
 *     call              every system call but `close`, and what wakes a worker
 *     read              as the C library has it
 *     read_events       by its descriptor: netlink, nftables, events (once it is bound), udp, tcp, unix, tun, eventfd, epoll
 *     ioctl_TUNSETIFF   by its request
 *     RTM_NEWROUTE, NFT a request by netlink, which the kernel's answer refuses: nothing is done
 *     sysctl, resolv_conf, lock_file, nft, resolvectl    files and children; under Node
 *
 * Error 999 is the one by which this call says that something is short. Nothing is counted, and nothing fails,
 * before the file POSTERN_TEST_CONTROL_FAULTS_FROM is there, if that names one.
 */
import { createRequire, syncBuiltinESMExports } from "node:module";
import { isMainThread } from "node:worker_threads";
import { createFaultScript, parseFaultScript } from "./fault-script.mjs";

const require = createRequire(import.meta.url);
const fs = require("node:fs");
const { writeSync } = fs;
const text = process.env.POSTERN_TEST_CONTROL_FAULTS ?? "";
const { existsSync } = fs;
const begin = process.env.POSTERN_TEST_CONTROL_FAULTS_FROM;
let hasBegun = begin === undefined;

const SHORTAGE = 999;
const ENOBUFS = 105;
/** The others say ENOBUFS. */
const SHORTAGES = {
  ...{ open: 24, socket: 24, eventfd: 24, epoll_create1: 24, epoll_ctl: 28, flock: 37 },
  ...{ ioctl: 12, connect: 11, fcntl: 12, poll: 12, recvmsg: 12, sendmsg: 11 },
};
/** Nobody can do without the clock, and a number of ours cannot fail. */
const LEFT_ALONE = ["close", "clock_gettime", "geteuid", "sched_yield"];
const AF = { unix: 1, inet: 2, inet6: 10, netlink: 16 };
const SOCK_STREAM = 1;
const NETLINK_NETFILTER = 12;
const NLMSG_ERROR = 2;
const NFNL_MSG_BATCH_BEGIN = 16;
const REQUESTS = {
  ...{ 16: "RTM_NEWLINK", 18: "RTM_GETLINK", 20: "RTM_NEWADDR", 21: "RTM_DELADDR", 22: "RTM_GETADDR" },
  ...{ 24: "RTM_NEWROUTE", 25: "RTM_DELROUTE", 26: "RTM_GETROUTE" },
  ...{ 32: "RTM_NEWRULE", 33: "RTM_DELRULE", 34: "RTM_GETRULE" },
};
const IOCTLS = {
  ...{ [0x400454ca]: "TUNSETIFF", [0x400454cb]: "TUNSETPERSIST", [0x400454d0]: "TUNSETOFFLOAD" },
  ...{ [0x400454d8]: "TUNSETVNETHDRSZ", [0x800454cf]: "TUNGETFEATURES", [0x8933]: "SIOCGIFINDEX" },
};
const ERRNO_NAMES = {
  5: "EIO",
  11: "EAGAIN",
  12: "ENOMEM",
  13: "EACCES",
  24: "EMFILE",
  28: "ENOSPC",
  30: "EROFS",
};

if (text !== "" && isMainThread) wrap(parseFaultScript(text));

function wrap(faults) {
  const faultOf = createFaultScript(faults);
  const strike = (names, call) => {
    hasBegun ||= existsSync(begin);
    if (!hasBegun) return undefined;
    // Each name counts for itself.
    const due = names.map((name) => faultOf(name)).find((fault) => fault !== undefined);
    if (due === undefined) return undefined;
    const errno = due.errno === SHORTAGE ? (SHORTAGES[call] ?? ENOBUFS) : due.errno;
    say(`fault: ${names.join(" ")}: ${errno}`);
    return { name: due.call, errno };
  };
  const library = openRuntime();
  const calls = createCalls(strike, library);
  library.wrap(calls.wrapped);
  process.on("exit", () => say(`calls: ${calls.count()}`));
  if (library.hasNodeFiles) {
    wrapFiles(strike);
    wrapChildren(strike);
    syncBuiltinESMExports();
  }
}

function say(line) {
  writeSync(2, `${line}\n`);
}

/** The system calls of this thread: what their descriptors are, and which of them fail. */
function createCalls(strike, { setErrno, memoryAt }) {
  const { namesOf, requestOf, sequenceOf, answer, forget, note } = createDescriptors(memoryAt);
  const refusals = new Map();
  let count = 0;

  return {
    count: () => count,
    wrapped(call, real) {
      if (call === "close")
        return (...args) => {
          forget(args[0]);
          return real(...args);
        };
      if (LEFT_ALONE.includes(call)) return real;
      return (...args) => {
        count++;
        const refusal = call === "read" ? refusals.get(args[0]) : undefined;
        if (refusal !== undefined) {
          refusals.delete(args[0]);
          return answer(args[1], refusal);
        }
        const request = requestOf(call, args);
        const refused = request === undefined ? undefined : strike([request], call);
        if (refused !== undefined) {
          refusals.set(args[0], {
            errno: refused.errno,
            sequence: sequenceOf(args[1]),
          });
          return args[2];
        }
        const fault = strike(namesOf(call, args), call);
        if (fault?.errno === 0) throw new Error(`a trap in ${call}, as the script says`);
        if (fault !== undefined) {
          setErrno(fault.errno);
          return -1;
        }
        const result = real(...args);
        note(call, args, result);
        return result;
      };
    },
  };
}

/** What the descriptors are, and what is written to them. */
function createDescriptors(memoryAt) {
  const kinds = new Map();

  function namesOf(call, args) {
    const kind = kinds.get(args[0]);
    // The kernel refuses that only where it is not needed: the counter is full, so whoever waits wakes.
    const names = call === "write" && kind === "eventfd" ? [call] : ["call", call];
    if (call !== "socket" && call !== "open" && kind !== undefined) names.push(`${call}_${kind}`);
    if (call === "ioctl") names.push(`ioctl_${IOCTLS[Number(args[1])] ?? Number(args[1]).toString(16)}`);
    return names;
  }

  function requestOf(call, [fd, address]) {
    const kind = kinds.get(fd);
    if (call !== "write" || (kind !== "netlink" && kind !== "nftables")) return undefined;
    const type = viewAt(address, 6).getUint16(4, true);
    if (kind === "netlink") return REQUESTS[type];
    return type === NFNL_MSG_BATCH_BEGIN ? "NFT" : "NFT_GET";
  }

  function viewAt(address, bytes) {
    const memory = memoryAt(address, bytes);
    return new DataView(memory.buffer, memory.byteOffset, bytes);
  }

  /** As the kernel refuses the first of the requests. */
  function answer(address, { sequence, errno }) {
    const view = viewAt(address, 36);
    const words = [36, NLMSG_ERROR, sequence, 0, -errno, 16, 0, sequence, 0];
    for (const [i, word] of words.entries()) view.setInt32(4 * i, word, true);
    return 36;
  }

  function note(call, args, result) {
    if (result < 0) return;
    if (call === "socket") kinds.set(result, socketKind(args));
    if (call === "open") kinds.set(result, "tun");
    if (call === "eventfd") kinds.set(result, "eventfd");
    if (call === "epoll_create1") kinds.set(result, "epoll");
    if (call === "bind" && kinds.get(args[0]) === "netlink" && viewAt(args[1], 12).getUint32(8, true) !== 0)
      kinds.set(args[0], "events");
  }

  return {
    ...{ namesOf, requestOf, answer, note },
    sequenceOf: (address) => viewAt(address, 12).getUint32(8, true),
    forget: (fd) => void kinds.delete(fd),
  };
}

function socketKind([family, type, protocol]) {
  if (family === AF.netlink) return protocol === NETLINK_NETFILTER ? "nftables" : "netlink";
  if (family === AF.unix) return "unix";
  return (type & 0xf) === SOCK_STREAM ? "tcp" : "udp";
}

/** How this runtime calls the C library, and how its error number and memory are reached. */
function openRuntime() {
  if (process.versions.deno !== undefined) return openDeno(Deno);
  if (process.versions.bun !== undefined) return openBun(require("bun:ffi"));
  return openKoffi(require("koffi"));
}

function openKoffi(koffi) {
  const { load, errno } = koffi;
  return {
    hasNodeFiles: true,
    setErrno: (number) => errno(number),
    memoryAt: (address, bytes) => new Uint8Array(koffi.view(address, bytes)),
    wrap(wrapped) {
      koffi.load = (...args) => {
        const library = load(...args);
        return { func: (name, ...rest) => wrapped(name, library.func(name, ...rest)) };
      };
    },
  };
}

function openDeno(ffi) {
  const { dlopen, UnsafePointer, UnsafePointerView } = ffi;
  const signature = { __errno_location: { parameters: [], result: "pointer" } };
  const { symbols } = dlopen("libc.so.6", signature);
  return {
    setErrno: (number) => {
      new Int32Array(UnsafePointerView.getArrayBuffer(symbols.__errno_location(), 4))[0] = number;
    },
    memoryAt: (address, bytes) =>
      new Uint8Array(UnsafePointerView.getArrayBuffer(UnsafePointer.create(BigInt(address)), bytes)),
    wrap: (wrapped) => wrapOpen(ffi, dlopen, wrapped),
  };
}

function openBun(ffi) {
  const { dlopen, toArrayBuffer } = ffi;
  const { symbols } = dlopen("libc.so.6", { __errno_location: { args: [], returns: "ptr" } });
  return {
    setErrno: (number) => {
      new Int32Array(toArrayBuffer(symbols.__errno_location(), 0, 4))[0] = number;
    },
    memoryAt: (address, bytes) => new Uint8Array(toArrayBuffer(Number(address), 0, bytes)),
    wrap: (wrapped) => wrapOpen(ffi, dlopen, wrapped),
  };
}

/** Deno and Bun look at `errno` itself, by a function that is asked for in the same way. */
function wrapOpen(ffi, dlopen, wrapped) {
  const isOurs = (name) => name !== "__errno_location";
  ffi.dlopen = (path, wanted) => {
    const { symbols } = dlopen(path, wanted);
    const made = Object.keys(wanted).map((name) => [
      name,
      isOurs(name) ? wrapped(name, symbols[name]) : symbols[name],
    ]);
    return { symbols: Object.fromEntries(made) };
  };
}

function wrapFiles(strike) {
  const opened = new Map();
  const nameOf = (file) => (typeof file === "number" ? opened.get(file) : nameOfPath(String(file)));
  const wrapOne = (call, isFault = () => true) => {
    const real = fs[call];
    fs[call] = (file, ...rest) => {
      const name = isFault(file, ...rest) ? nameOf(file) : undefined;
      const fault = name === undefined ? undefined : strike([name, `${name}_${call}`], call);
      if (fault !== undefined) throw errorOf(call, fault.errno);
      const result = real(file, ...rest);
      if (call === "openSync" && name !== undefined) opened.set(result, name);
      return result;
    };
  };
  wrapOne("openSync", (_, flags) => flags !== "r" && flags !== undefined);
  for (const call of ["writeFileSync", "fsyncSync", "ftruncateSync", "renameSync"]) wrapOne(call);
  const { closeSync } = fs;
  fs.closeSync = (fd) => {
    opened.delete(fd);
    closeSync(fd);
  };
}

function nameOfPath(path) {
  if (path.startsWith("/proc/sys/")) return "sysctl";
  if (path.endsWith(".lock")) return "lock_file";
  return path.startsWith("/etc/resolv.conf") ? "resolv_conf" : undefined;
}

function wrapChildren(strike) {
  const children = require("node:child_process");
  const { spawnSync: spawnWithLimit, execFile } = children;
  children.spawnSync = (program, ...rest) => {
    const fault = strike([program], "spawnSync");
    // The limit is the caller's.
    if (fault === undefined) return spawnWithLimit(program, ...rest);
    const error = errorOf(`spawnSync ${program}`, fault.errno);
    return { error, status: null, signal: null, stdout: "", stderr: "" };
  };
  children.execFile = (program, ...rest) => {
    const fault = strike([program], "spawn");
    if (fault === undefined) return execFile(program, ...rest);
    const error = errorOf(`spawn ${program}`, fault.errno);
    // So does Node with errors that it does not expect.
    if (fault.errno === 12) throw error;
    setImmediate(() => rest.at(-1)(error, "", ""));
    return {};
  };
}

function errorOf(call, errno) {
  const code = ERRNO_NAMES[errno] ?? `ERRNO_${errno}`;
  return Object.assign(new Error(`${code}: as the script says, ${call}`), {
    code,
    errno: -errno,
    syscall: call,
  });
}
