/**
 * Writing /etc/resolv.conf and putting it back (DN-103 to DN-106). All of it at once and in the foreground: the
 * file must be right again before the process ends, however it ends.
 */
import {
  chmodSync,
  chownSync,
  closeSync,
  fsyncSync,
  ftruncateSync,
  lstatSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  type Stats,
  writeFileSync,
} from "node:fs";
import type { IpAddress, Log } from "../base/index.ts";
import {
  type DnsOwner,
  isOurs,
  ownersIn,
  recoverOriginal,
  toOurText,
  type WantedDns,
} from "./resolv-conf.ts";

export interface ResolvConfPaths {
  readonly file: string;
  readonly backup: string;
}

export const RESOLV_CONF_PATHS: ResolvConfPaths = {
  file: "/etc/resolv.conf",
  backup: "/etc/resolv.conf.before-postern",
};

export interface ResolvConfFile {
  /** Makes the file say what is wanted, beside what others want that run. @throws Error of the system */
  apply(wanted: WantedDns): void;
  /**
   * Takes away what this instance has set, or one that is dead. The file is as it was when nobody is left, unless
   * somebody else has written it meanwhile. Idempotent.
   * @returns the instances that run, and keep theirs
   */
  revert(): readonly string[];
  /** Whether the file does not say any more that this instance has set it. */
  isOverwritten(): boolean;
  /** The host's own text: what stood there before us. */
  original(): string;
}

/** What a rename cannot replace: bind mounts of containers, and folders that nobody may write. */
const IN_PLACE_CODES: readonly unknown[] = ["EBUSY", "EXDEV", "EROFS", "EACCES", "EPERM"];

/** Whose hand it is, as the file names it. */
export interface DnsParty {
  readonly self: Omit<DnsOwner, "wanted">;
  readonly isAlive: (owner: Omit<DnsOwner, "wanted">) => boolean;
}

export function openResolvConf(
  paths: ResolvConfPaths,
  isSentinel: (address: IpAddress) => boolean,
  log: Log,
  { self, isAlive }: DnsParty,
): ResolvConfFile {
  const isMine = (owner: Omit<DnsOwner, "wanted">): boolean => owner.instance === self.instance;

  /** What the backup says, or what can be read out of our own text. */
  function originalOf(text: string): string {
    if (!isOurs(text)) return text;
    const backup = readText(paths.backup);
    if (backup !== undefined && !isOurs(backup)) return backup;
    log.warn?.("the file of DNS servers as it was is lost: it is put together from ours", {
      backup: paths.backup,
    });
    return recoverOriginal(text, isSentinel);
  }

  return {
    apply(wanted) {
      const before = readText(paths.file) ?? "";
      const original = originalOf(before);
      if (original !== readText(paths.backup)) replace(paths.backup, original, statOf(paths.file));
      const owners = ownersIn(before).filter((owner) => isMine(owner) || isAlive(owner));
      const mine = { ...self, wanted };
      // Who was there keeps its place.
      const next = owners.some(isMine)
        ? owners.map((owner) => (isMine(owner) ? mine : owner))
        : [...owners, mine];
      const text = toOurText(original, next, paths.backup);
      if (text !== before) replace(paths.file, text, statOf(paths.file));
    },
    revert() {
      const text = readText(paths.file);
      if (text === undefined || !isOurs(text)) return [];
      const others = ownersIn(text).filter((owner) => !isMine(owner) && isAlive(owner));
      // The backup stays: a loss of power may undo what is written now.
      const original = originalOf(text);
      const next = others.length === 0 ? original : toOurText(original, others, paths.backup);
      if (next !== text) replace(paths.file, next, statOf(paths.file));
      return others.map(({ instance }) => instance);
    },
    isOverwritten: () => !ownersIn(readText(paths.file) ?? "").some(isMine),
    original: () => originalOf(readText(paths.file) ?? ""),
  };
}

/** A new file in its place, or, where that is refused, the new text in the old one. */
function replace(path: string, text: string, like: Stats | undefined): void {
  const temporary = `${path}.postern-new`;
  try {
    write(temporary, text);
    if (like !== undefined) {
      chmodSync(temporary, like.mode & 0o7777);
      chownSync(temporary, like.uid, like.gid);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (!IN_PLACE_CODES.includes(code)) throw error;
    overwrite(path, text);
  }
}

function write(path: string, text: string): void {
  const fd = openSync(path, "w", 0o644);
  try {
    // Once again what the kernel did not take at once: half a file would be put in place of the whole one.
    writeFileSync(fd, text);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** First the text, then the length: who is killed in between leaves a file that begins as it should. */
function overwrite(path: string, text: string): void {
  const bytes = new TextEncoder().encode(text);
  const fd = openSync(path, "r+");
  try {
    writeFileSync(fd, bytes);
    ftruncateSync(fd, bytes.length);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function statOf(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}

/** `undefined` if it is not there. */
export function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // Not there.
    return undefined;
  }
}
