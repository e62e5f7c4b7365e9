import { closeSync, existsSync, mkdtempSync, openSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { errnoNumber, LOCK_EX, LOCK_NB, openKernel } from "../../../bindings/linux/index.ts";
import { SILENT } from "../../../src/base/index.ts";
import { createWriteLock } from "../../../src/host/write-lock.ts";

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "write-lock-"));
  path = join(folder, "run", "the.lock");
});
afterEach(() => rmSync(folder, { recursive: true }));

/** A kernel whose lock is held, or refused, for so many attempts. */
function lockedFor(attempts: number, error: "EAGAIN" | "EBADF" = "EAGAIN", onAttempt = () => {}) {
  let asked = 0;
  const warnings: string[] = [];
  const flock = (): number => {
    onAttempt();
    return ++asked > attempts ? 0 : -1;
  };
  const log = { ...SILENT, warn: (message: string) => void warnings.push(message) };
  const locked = createWriteLock({ sys: { flock, errno: () => errnoNumber(error) } }, path, log);
  return { locked, warnings, asked: () => asked };
}

describe("the lock of a file that several write", () => {
  it("DN-104: is waited for, and what is done under it is handed on", () => {
    const { locked, warnings, asked } = lockedFor(3);
    expect(locked(() => `after ${asked()}`)).toBe("after 4");
    expect(warnings).toEqual([]);
  });

  it("DN-104: of a holder that stands still is done without, with a warning", () => {
    const { locked, warnings } = lockedFor(400);
    expect(locked(() => "done")).toBe("done");
    expect(warnings).toHaveLength(1);
    // It is still the holder's.
    expect(existsSync(path)).toBe(true);
  });

  it("DN-104: that its file system does not have is not waited for", () => {
    const { locked, warnings, asked } = lockedFor(400, "EBADF");
    expect(locked(asked)).toBe(1);
    expect(warnings).toEqual([]);
  });

  it("DN-104: is not waited for where there can be no file", () => {
    writeFileSync(dirname(path), "no folder");
    const { locked, warnings, asked } = lockedFor(400);
    expect(locked(asked)).toBe(0);
    expect(warnings).toEqual([]);
  });

  it("DN-104: is let go however the work under it ends", () => {
    const { locked, asked } = lockedFor(0);
    const fail = (): never => {
      throw new Error("EROFS");
    };
    expect(() => locked(fail)).toThrow("EROFS");
    expect(existsSync(path)).toBe(false);
    expect(locked(asked)).toBe(2);
  });

  it("DN-104: nobody else can open it while it is held, and it is gone afterwards", () => {
    const { locked } = lockedFor(0);
    expect(locked(() => statSync(path).mode & 0o777)).toBe(0o600);
    expect(existsSync(path)).toBe(false);
  });

  it("DN-104: a file that its holder removed while we opened it is not taken for the lock", () => {
    let isFirst = true;
    const { locked, asked } = lockedFor(0, "EAGAIN", () => {
      if (isFirst) rmSync(path);
      isFirst = false;
    });
    expect(locked(() => [asked(), existsSync(path)])).toEqual([2, true]);
  });

  it("DN-104: who holds the folder, as everybody may who can read it, holds nobody up", () => {
    const kernel = openKernel();
    const warnings: string[] = [];
    const locked = createWriteLock(kernel, path, {
      ...SILENT,
      warn: (message) => void warnings.push(message),
    });
    locked(() => {});
    for (const held of [folder, dirname(path)]) {
      const fd = openSync(held, "r");
      expect(kernel.sys.flock(fd, LOCK_EX | LOCK_NB)).toBe(0);
      expect(locked(() => "done")).toBe("done");
      closeSync(fd);
    }
    expect(warnings).toEqual([]);
  });
});
