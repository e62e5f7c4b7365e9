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
import type { Login, PeerEmbedding, PeerMachine, PeerRole } from "./role.ts";
import { serve } from "./serve.ts";

export interface PeerProgram<Machine extends PeerMachine> {
  readonly role: PeerRole<Machine>;
  readonly options: PeerOptions;
  readonly io: ProgramIo;
  readonly threads: PlaneThreads;
  /** Absent: it is a program of its own. */
  readonly embedding?: PeerEmbedding<Machine> | undefined;
}

/** Runs until it is told to stop; resolves to the exit code. @throws PosternError with PG-14's codes */
export async function runPeer<Machine extends PeerMachine>(program: PeerProgram<Machine>): Promise<number> {
  const { role, options, io } = program;
  const startedAt = performance.now();
  const undo = createUndoStack(io.log);
  const url = portalUrl(options.apiUrl);
  try {
    const folders = options.check ? [] : lockInstance(program, undo);
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
      ...program,
      ...{ undo, ending, url, login, startedAt },
      ...access,
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
function lockInstance<Machine extends PeerMachine>(
  { role: { name: role }, options, io, embedding }: PeerProgram<Machine>,
  undo: UndoStack,
): readonly string[] {
  try {
    const remedy = embedding && "close it, or give this one another name by `instance`";
    const lock = takeLock(openKernel(), options.instance ?? role, runFolders(io.env), remedy);
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
