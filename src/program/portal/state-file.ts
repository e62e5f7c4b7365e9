/**
 * What outlives the process, on disk or nowhere (PT-115).
 */
import { constants, existsSync, mkdirSync, readFileSync } from "node:fs";
import { open, rename } from "node:fs/promises";
import { dirname, join } from "node:path";
import { openKernel } from "../../../bindings/linux/index.ts";
import { PosternError } from "../../base/index.ts";
import { type InstanceLock, takeLock } from "../../host/index.ts";
import { EMPTY_STATE, parseState, type StoredState, toStateText } from "../../portal/server/index.ts";

export interface StateFile {
  readonly initial: StoredState;
  /** Resolves when the state is on disk, whole or not at all. */
  write(state: StoredState): Promise<void>;
  close(): void;
}

/** `--dev` keeps everything in memory. */
export const MEMORY_ONLY: StateFile = {
  initial: EMPTY_STATE,
  write: () => Promise.resolve(),
  close: () => undefined,
};

/**
 * Opens `DIR/state.json` and keeps other processes out of the folder.
 *
 * @throws PosternError `in-use` if another portal has it; `file-unreadable` for a state that cannot be
 * read: starting fresh would give every device another address and key
 */
export function openStateFile(folder: string): StateFile {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o750 });
  } catch (cause) {
    throw new PosternError(
      "file-unreadable",
      `cannot make the folder ${folder}`,
      "name another with --data",
      {
        cause,
      },
    );
  }
  const lock = takeLock(openKernel(), "portal", [folder]);
  const path = join(folder, "state.json");
  return {
    initial: readState(path, lock),
    write: (state) => replaceFile(path, state),
    close: () => lock.release(),
  };
}

function readState(path: string, lock: InstanceLock): StoredState {
  if (!existsSync(path)) return EMPTY_STATE;
  let reason: string;
  let cause: unknown;
  try {
    const state = parseState(readFileSync(path, "utf8"));
    if (state.ok) return state.value;
    reason = state.reason;
  } catch (error) {
    reason = "it cannot be opened";
    cause = error;
  }
  lock.release();
  throw new PosternError(
    "file-unreadable",
    `cannot read ${path}: ${reason}`,
    "mend it or bring back a copy; without it every device would become a new one",
    { cause },
  );
}

async function replaceFile(path: string, state: StoredState): Promise<void> {
  const temporary = `${path}.new`;
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;
  const file = await open(temporary, flags, 0o600);
  try {
    await file.writeFile(toStateText(state));
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  // The new name is on disk only when its folder is.
  const folder = await open(dirname(path), constants.O_RDONLY);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
