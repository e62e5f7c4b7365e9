/** A kernel whose calls fail as a script says (TS-64). */
import type { PlaneCalls } from "../../../bindings/sys/index.ts";
import { createFaultScript, type Fault } from "../../lib/fault-script.mjs";

/** @param wakeFd reads of this descriptor are called `wake` */
export function withFaults(calls: PlaneCalls, faults: readonly Fault[], wakeFd: number): PlaneCalls {
  if (faults.length === 0) return calls;
  const faultOf = createFaultScript(faults);
  let injected = 0;
  const wrapped = Object.entries(calls).map(([name, call]: [string, (...args: number[]) => number]) => [
    name,
    (...args: number[]) => {
      injected = faultOf(name === "read" && args[0] === wakeFd ? "wake" : name)?.errno ?? 0;
      return injected === 0 ? call(...args) : -1;
    },
  ]);
  // The same names with the same parameters.
  const made = Object.fromEntries(wrapped) as PlaneCalls;
  return { ...made, errno: () => (injected === 0 ? calls.errno() : injected) };
}
