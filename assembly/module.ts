/** What every module tells of itself, whatever else it exports. */
import { LAYOUT_HASH } from "./layout";

/** What the module was made from; the host refuses another (D-3). */
export function layoutHash(): u32 {
  return LAYOUT_HASH;
}

/** The first byte behind the module's constants, which the layout must leave alone. */
export function constantsEnd(): usize {
  return __heap_base;
}
