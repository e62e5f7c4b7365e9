import { CLOCK_BOOTTIME, type Kernel, TIMESPEC_BYTES } from "../../bindings/linux/index.ts";
import { type Instant, instant } from "../base/index.ts";

/** The one clock of all threads: milliseconds since boot, suspend included (D-14). */
export function readClock(kernel: Kernel): Instant {
  return kernel.scratch.frame((room) => {
    const at = room.take(TIMESPEC_BYTES);
    kernel.sys.clock_gettime(CLOCK_BOOTTIME, at);
    const seconds = Number(room.view.getBigInt64(at, true));
    const nanoseconds = Number(room.view.getBigInt64(at + 8, true));
    return instant(seconds * 1000 + Math.floor(nanoseconds / 1e6));
  });
}
