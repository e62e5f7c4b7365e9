/** The relay's own module: it has none of the tunnel's code, and so no cipher variants to choose from. */
import { readBuiltModule } from "../runtime/index.ts";

export function compileRelay(): WebAssembly.Module {
  return new WebAssembly.Module(readBuiltModule("relay"));
}
