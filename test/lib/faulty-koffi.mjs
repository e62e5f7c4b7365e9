/**
 * Preloaded into a thread or program of ours on Node, makes its system calls fail as POSTERN_TEST_FAULTS says
 * (TS-64): the C library that koffi opens is wrapped. Each thread counts for itself; a program's own thread is
 * left alone. An error of 0 is a trap: the thread dies in the middle of the call.
 */
import { createRequire } from "node:module";
import { isMainThread } from "node:worker_threads";
import { createFaultScript, parseFaultScript } from "./fault-script.mjs";

const script = process.env.POSTERN_TEST_FAULTS ?? "";
if (script !== "" && !isMainThread) wrap(parseFaultScript(script));

function wrap(faults) {
  const koffi = createRequire(import.meta.url)("koffi");
  const { load, errno } = koffi;
  const faultOf = createFaultScript(faults);
  let injected = 0;
  koffi.load = (...args) => {
    const library = load(...args);
    return {
      func(name, ...rest) {
        const call = library.func(name, ...rest);
        if (!faults.some((fault) => fault.call === name)) {
          return (...values) => {
            injected = 0;
            return call(...values);
          };
        }
        return (...values) => {
          const fault = faultOf(name);
          if (fault === undefined) {
            injected = 0;
            return call(...values);
          }
          if (fault.errno === 0) throw new Error(`a trap in ${name}, as the script says`);
          injected = fault.errno;
          return -1;
        };
      },
    };
  };
  koffi.errno = () => (injected === 0 ? errno() : injected);
}
