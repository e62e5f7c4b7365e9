/** Stores a token where a service finds it (PG-20). */
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname } from "node:path";
import { PosternError, type Secret } from "../base/index.ts";

const OWN_MODE = 0o600;
const TOKEN_FOLDER_MODE = 0o755;

export interface TokenStore {
  readonly path: string;
  readonly token: Secret<string>;
  /** Whether one that is there may go. */
  readonly replaces: boolean;
}

/** Whole or not at all. @throws PosternError `token-exists`, `token-file` */
export function storeToken({ path, token, replaces }: TokenStore): void {
  if (!replaces && isFilled(path)) {
    throw new PosternError("token-exists", `${path} holds a token already`, "give --replace to replace it");
  }
  const temporary = `${path}.${process.pid}.new`;
  try {
    mkdirSync(dirname(path), { recursive: true, mode: TOKEN_FOLDER_MODE });
    // Exclusively: nobody else can have prepared the file, or a link in its place.
    const fd = openSync(temporary, "wx", OWN_MODE);
    try {
      writeFileSync(fd, `${token.reveal()}\n`);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
  } catch (cause) {
    if (existsSync(temporary)) unlinkSync(temporary);
    throw new PosternError("token-file", `cannot write ${path}`, "run as root", { cause });
  }
}

function isFilled(path: string): boolean {
  try {
    return readFileSync(path, "utf8").trim() !== "";
  } catch (error) {
    // What cannot be read may be a token all the same.
    return !(error instanceof Error && "code" in error && error.code === "ENOENT");
  }
}
