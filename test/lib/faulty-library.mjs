/**
 * Loaded before a thread of ours, makes its system calls fail as POSTERN_TEST_FAULTS says (TS-64): what opens the C
 * library in this runtime is wrapped. Each thread counts for itself; a program's own thread is left alone. An error
 * of 0 is a trap: the thread dies in the middle of the call.
 */
import { createRequire } from "node:module";
import { isMainThread } from "node:worker_threads";
import { createFaultScript, parseFaultScript } from "./fault-script.mjs";

const require = createRequire(import.meta.url);
const script = process.env.POSTERN_TEST_FAULTS ?? "";
if (script !== "" && !isMainThread) wrap(parseFaultScript(script));

function wrap(faults) {
  if (process.versions.deno !== undefined) wrapOpen(Deno, faults, writeByDeno);
  else if (process.versions.bun !== undefined) wrapOpen(require("bun:ffi"), faults, writeByBun);
  else wrapKoffi(faults);
}

/** koffi keeps the error number of the last call, so what it says of it is wrapped, too. */
function wrapKoffi(faults) {
  const koffi = require("koffi");
  const { load, errno } = koffi;
  let injected = 0;
  const fail = createFailures(faults, (errno) => {
    injected = errno;
  });
  koffi.load = (...args) => {
    const library = load(...args);
    return { func: (name, ...rest) => fail(name, library.func(name, ...rest)) };
  };
  koffi.errno = () => (injected === 0 ? errno() : injected);
}

/** Deno and Bun look at `errno` itself. */
function wrapOpen(ffi, faults, write) {
  const { dlopen } = ffi;
  const fail = createFailures(faults, (errno) => errno !== 0 && write(ffi, dlopen, errno));
  ffi.dlopen = (path, wanted) => {
    const { symbols } = dlopen(path, wanted);
    return {
      symbols: Object.fromEntries(Object.keys(wanted).map((name) => [name, fail(name, symbols[name])])),
    };
  };
}

function writeByDeno({ UnsafePointerView }, dlopen, errno) {
  const { symbols } = dlopen("libc.so.6", { __errno_location: { parameters: [], result: "pointer" } });
  new Int32Array(UnsafePointerView.getArrayBuffer(symbols.__errno_location(), 4))[0] = errno;
}

function writeByBun({ toArrayBuffer }, dlopen, errno) {
  const { symbols } = dlopen("libc.so.6", { __errno_location: { args: [], returns: "ptr" } });
  new Int32Array(toArrayBuffer(symbols.__errno_location(), 0, 4))[0] = errno;
}

/** @param setErrno told before each call's return: 0 when the call was made */
function createFailures(faults, setErrno) {
  const faultOf = createFaultScript(faults);
  return (name, call) => {
    const isNamed = faults.some((fault) => fault.call === name);
    return (...values) => {
      const fault = isNamed ? faultOf(name) : undefined;
      setErrno(fault?.errno ?? 0);
      if (fault === undefined) return call(...values);
      if (fault.errno === 0) throw new Error(`a trap in ${name}, as the script says`);
      return -1;
    };
  };
}
