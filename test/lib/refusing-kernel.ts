/** A real kernel of which one call is refused, for control's hands in this process (TS-64). */
import type { Kernel } from "../../bindings/linux/index.ts";

export interface RefusingKernel extends Kernel {
  /** The `nth` call from now on, from 1, is refused with this error; 0: none. */
  refuse(nth: number, errno: number): void;
  /** Calls since then. */
  calls(): number;
  /** The one that was refused. */
  refused(): string | undefined;
  /** Descriptors that nobody has closed. */
  readonly open: ReadonlySet<number>;
  /** Those that were closed while nobody had them open: by now they may be another's. */
  readonly closedAgain: readonly number[];
}

/** Nobody can do without them, or they make no call that could fail. */
const LEFT_ALONE = ["errno", "close", "clock_gettime", "geteuid"];
const OPENING = ["open", "socket", "eventfd", "epollCreate"];

export function refusing({ sys, scratch }: Kernel): RefusingKernel {
  const open = new Set<number>();
  const closedAgain: number[] = [];
  let [nth, wanted, calls, injected] = [0, 0, 0, 0];
  let refused: string | undefined;

  function wrap(name: string, call: (...args: unknown[]) => number): (...args: unknown[]) => number {
    return (...args) => {
      if (name === "close" && !open.delete(args[0] as number)) closedAgain.push(args[0] as number);
      if (LEFT_ALONE.includes(name)) return call(...args);
      calls++;
      injected = calls === nth ? wanted : 0;
      if (injected !== 0) {
        refused = name;
        return -1;
      }
      const result = call(...args);
      if (OPENING.includes(name) && result >= 0) open.add(result);
      return result;
    };
  }

  const wrapped = Object.entries(sys).map(([name, value]) => [
    name,
    typeof value === "function" ? wrap(name, value) : value,
  ]);
  return {
    scratch,
    // The same names with the same parameters.
    sys: { ...(Object.fromEntries(wrapped) as Kernel["sys"]), errno: () => injected || sys.errno() },
    refuse(which, errno) {
      [nth, wanted, calls, injected] = [which, errno, 0, 0];
      refused = undefined;
    },
    calls: () => calls,
    refused: () => refused,
    open,
    closedAgain,
  };
}
