/** Giving up privileges (capabilities(7)). */
import type { Kernel } from "./kernel.ts";

/** `_LINUX_CAPABILITY_VERSION_3`: two words of each set. */
const VERSION_3 = 0x2008_0522;
const HEADER_BYTES = 8;
const DATA_BYTES = 24;

/**
 * Drops all capabilities of the calling thread and of those that it starts from now on. Returns 0, or the
 * error number.
 */
export function dropCapabilities({ sys, scratch }: Kernel): number {
  return scratch.frame((room) => {
    const header = room.take(HEADER_BYTES);
    room.view.setUint32(header, VERSION_3, true);
    return sys.capset(header, room.take(DATA_BYTES)) < 0 ? sys.errno() : 0;
  });
}
