/** `postern client`: the headless client (PG-2, PG-9). */
import type { PlaneThreads } from "../../../bindings/thread/index.ts";
import { runPeer } from "../endpoint/peer.ts";
import type { ProgramIo } from "../io.ts";
import type { ClientOptions } from "../options.ts";
import { clientRole } from "./client-role.ts";

export function runClient(options: ClientOptions, io: ProgramIo, threads: PlaneThreads): Promise<number> {
  const role = {
    ...clientRole(options, { isInternetOn: options.internetResource }),
    // DNS control comes with DNS resources; until then the host's resolvers stay as they are.
    setUpHost: () => ({ parameters: [], tables: [], isGuarded: true }),
  };
  return runPeer(role, options, io, threads);
}
