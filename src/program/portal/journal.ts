/** One file that only grows: each line is on disk, whole, when `append` resolves (PT-115). */
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";

export interface Journal {
  readonly bytes: number;
  append(line: string): Promise<void>;
  close(): Promise<void>;
}

/** A new file, or an empty one that a crash left. */
export async function createJournal(path: string): Promise<Journal> {
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;
  const file = await open(path, flags, 0o600);
  let bytes = 0;
  let hasTornTail = false;
  return {
    get bytes() {
      return bytes;
    },
    async append(line) {
      // A write that failed half way, for want of space, must not stand before the next line.
      if (hasTornTail) await file.truncate(bytes);
      hasTornTail = true;
      const text = Buffer.from(line);
      await writeWhole(file, text, bytes);
      await file.datasync();
      hasTornTail = false;
      bytes += text.length;
    },
    close: () => file.close(),
  };
}

async function writeWhole(file: FileHandle, text: Buffer, at: number): Promise<void> {
  for (let done = 0; done < text.length; ) {
    const { bytesWritten } = await file.write(text, done, text.length - done, at + done);
    done += bytesWritten;
  }
}

/** Puts a file or folder itself on disk; a new name is there only when its folder is. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, constants.O_RDONLY);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
