/** How much garbage the runtime may let lie before it collects (PG-162). */
import { setFlagsFromString } from "node:v8";
import { currentRuntime } from "../../bindings/runtime/index.ts";

/** Of what lives. By itself V8 lets a small heap grow fourfold, and gives little of it back. */
const GROWTH_PERCENT = 50;

/** Only Node has V8's own settings; it reads this one at each collection. */
export function limitHeapGrowth(runtime = currentRuntime(), setFlags = setFlagsFromString): void {
  if (runtime === "node") setFlags(`--heap-growing-percent=${GROWTH_PERCENT}`);
}
