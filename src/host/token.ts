/** Where a token comes from, and which files may hold one (PG-19, PG-20). */
import { closeSync, constants, fstatSync, openSync, readFileSync, type Stats, statSync } from "node:fs";
import { join } from "node:path";
import { PosternError, type Secret, secret } from "../base/index.ts";

export interface TokenSource {
  /** What stood in the environment, which has been cleared of it (PG-9). */
  readonly variable: Secret<string> | undefined;
  /** `$CREDENTIALS_DIRECTORY`: systemd's credentials. */
  readonly credentialsFolder?: string;
  readonly path: string;
}

const CREDENTIALS = ["POSTERN_TOKEN", "FIREZONE_TOKEN"];
const TOKEN_BYTES_MAX = 64 << 10;

/** A token, and the file that has it. */
export interface StoredToken {
  readonly token: Secret<string>;
  /** Absent for a variable's value: the environment does not change. */
  readonly file?: TokenFile;
}

/** A file that may hold another token by now (PG-19). */
export interface TokenFile {
  readonly path: string;
  /** @throws PosternError `token-missing`, `token-file` */
  read(): Secret<string>;
}

/**
 * Variable → credential → file; white space around it is cut off.
 *
 * @throws PosternError `token-missing`, or `token-file` for one that others could read or change
 */
export function resolveToken(source: TokenSource): StoredToken {
  const variable = source.variable?.reveal().trim() ?? "";
  if (variable !== "" && !isFile(variable)) return { token: secret(variable) };
  if (variable !== "") return stored(variable, readTokenFile);
  for (const name of source.credentialsFolder === undefined ? [] : CREDENTIALS) {
    const path = join(source.credentialsFolder ?? "", name);
    if (readCredential(path) !== "") return stored(path, readCredential);
  }
  return stored(source.path, readTokenFile);
}

/** @throws PosternError `token-missing`, and what `readFile` throws */
function stored(path: string, readFile: (path: string) => string): StoredToken {
  const read = (): Secret<string> => {
    const token = readFile(path);
    if (token === "") throw missing(path);
    return secret(token);
  };
  return { token: read(), file: { path, read } };
}

/** A value that begins with `/` and names a file means its content (PG-19). */
function isFile(value: string): boolean {
  return value.startsWith("/") && (statSync(value, { throwIfNoEntry: false })?.isFile() ?? false);
}

/** systemd made it for this service alone; it checks who may read it. Empty where there is none. */
function readCredential(path: string): string {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return "";
  }
}

/**
 * Reads a token file without following a link; nobody else may own, read or write it.
 * @throws PosternError `token-missing`, `token-file`
 */
export function readTokenFile(path: string): string {
  // Not blocking: opening a FIFO would wait for its other end.
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  let fd: number;
  try {
    fd = openSync(path, flags);
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
    if (code === "ENOENT") throw missing(path);
    const why = code === "ELOOP" ? "is a symbolic link" : `cannot be read: ${String(code)}`;
    throw refused(path, why);
  }
  try {
    const problem = tokenFileProblem(fstatSync(fd), process.geteuid?.() ?? 0, process.getegid?.() ?? 0);
    if (problem !== undefined) throw refused(path, problem);
    return readFileSync(fd, "utf8").trim();
  } finally {
    closeSync(fd);
  }
}

/** Why a file may not hold a token; `undefined` when it may. */
export function tokenFileProblem(
  file: Pick<Stats, "isFile" | "uid" | "gid" | "mode" | "size">,
  uid: number,
  gid: number,
): string | undefined {
  if (!file.isFile()) return "is not a regular file";
  if (file.uid !== 0 && file.uid !== uid) return `belongs to uid ${file.uid}, expected 0 or ${uid}`;
  if (file.gid !== 0 && file.gid !== gid) return `belongs to gid ${file.gid}, expected 0 or ${gid}`;
  const mode = file.mode & 0o7777;
  if ((mode & 0o177) !== 0) {
    return `has mode ${mode.toString(8).padStart(4, "0")}, expected 0400 or 0600`;
  }
  return file.size > TOKEN_BYTES_MAX ? `is longer than ${TOKEN_BYTES_MAX} bytes` : undefined;
}

function missing(path: string): PosternError {
  return new PosternError("token-missing", `no token in POSTERN_TOKEN and none in ${path}`);
}

function refused(path: string, why: string): PosternError {
  return new PosternError("token-file", `token file ${path} ${why}`);
}
