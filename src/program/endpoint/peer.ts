/**
 * What client and gateway have in common: the order of starting and stopping (PG-9, PG-15). Here is what
 * comes before anything of the host is changed; `serve.ts` has the rest.
 */
import { hostname } from "node:os";
import { dirname } from "node:path";
import { openKernel } from "../../../bindings/linux/index.ts";
import type { PlaneThreads } from "../../../bindings/thread/index.ts";
import { PosternError } from "../../base/index.ts";
import { requirePrivilege, resolveIdentifier, runFolders, stateFolder, takeLock } from "../../host/index.ts";
import { externalIdOf, type PortalUrl, parsePortalUrl } from "../../portal/protocol/index.ts";
import { createEnding } from "../ending.ts";
import type { ProgramIo } from "../io.ts";
import type { PeerOptions } from "../options.ts";
import { createUndoStack, type UndoStack } from "../shell/index.ts";
import { type TokenAccess, tokenOf } from "../stored-token.ts";
import type { Login, PeerMachine, PeerRole } from "./role.ts";
import { serve } from "./serve.ts";

/** Runs until it is told to stop; resolves to the exit code. @throws PosternError with PG-14's codes */
export async function runPeer<Machine extends PeerMachine>(
  role: PeerRole<Machine>,
  options: PeerOptions,
  io: ProgramIo,
  threads: PlaneThreads,
): Promise<number> {
  const startedAt = performance.now();
  const undo = createUndoStack(io.log);
  const url = portalUrl(options.apiUrl);
  try {
    const folders = options.check ? [] : lockInstance(role.name, options, io, undo);
    if (!options.noCheck) requirePrivilege(role.name);
    const { login, ...access } = identify(role.name, options, io);
    if (options.check) {
      io.print("check passed");
      return 0;
    }
    // From here on a stop signal is an orderly end, also in the middle of the start.
    const ending = createEnding(io);
    undo.add("signals", () => ending.close());
    return await serve({
      role,
      options,
      io,
      undo,
      ending,
      url,
      ...access,
      login,
      threads,
      startedAt,
      runFolders: folders,
    });
  } finally {
    await undo.run();
  }
}

export function portalUrl(apiUrl: string): PortalUrl {
  const url = parsePortalUrl(apiUrl);
  if (url.ok) return url.value;
  throw new PosternError(
    "usage",
    `--api-url ${apiUrl} is no portal address`,
    "use ws://, wss://, http:// or https://",
  );
}

/** The folder of the lock (PG-10). Where not even a lock can be written, the missing privilege is the reason (PG-11). */
function lockInstance(role: string, options: PeerOptions, io: ProgramIo, undo: UndoStack): readonly string[] {
  try {
    const lock = takeLock(openKernel(), options.instance ?? role, runFolders(io.env));
    undo.add("lock", () => lock.release());
    return [dirname(lock.path)];
  } catch (error) {
    const isRefused = error instanceof PosternError && error.code === "host";
    if (isRefused && !options.noCheck) requirePrivilege(role);
    throw error;
  }
}

/** Who we are, and the proof of it (PG-19, PG-25). */
export function identify(
  role: PeerRole<PeerMachine>["name"],
  options: PeerOptions,
  io: ProgramIo,
): TokenAccess & { readonly login: Login } {
  const id = resolveIdentifier(
    {
      role,
      path: `${stateFolder(io.env)}/${options.instance ?? role}-id.json`,
      ...(options.id === undefined ? {} : { configured: options.id }),
    },
    io.log,
  );
  return {
    login: { externalId: externalIdOf(id), name: options.name ?? hostname() },
    ...tokenOf(io, role, options.tokenPath),
  };
}
