import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { errnoNumber } from "../../../bindings/linux/index.ts";
import { SILENT } from "../../../src/base/index.ts";
import { createFolderLock } from "../../../src/host/folder-lock.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "folder-lock-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** A kernel whose lock is held, or refused, for so many attempts. */
function lockedFor(attempts: number, error: "EAGAIN" | "EBADF" = "EAGAIN") {
  let asked = 0;
  const warnings: string[] = [];
  const flock = (): number => (++asked > attempts ? 0 : -1);
  const log = { ...SILENT, warn: (message: string) => void warnings.push(message) };
  const locked = createFolderLock({ sys: { flock, errno: () => errnoNumber(error) } }, folder, log);
  return { locked, warnings, asked: () => asked };
}

describe("the lock of a folder", () => {
  it("DN-104: is waited for, and what is done under it is handed on", () => {
    const { locked, warnings, asked } = lockedFor(3);
    expect(locked(() => `after ${asked()}`)).toBe("after 4");
    expect(warnings).toEqual([]);
  });

  it("DN-104: of a holder that stands still is done without, with a warning", () => {
    const { locked, warnings } = lockedFor(400);
    expect(locked(() => "done")).toBe("done");
    expect(warnings).toHaveLength(1);
  });

  it("DN-104: that its file system does not have is not waited for", () => {
    // NFS, for what is not open for writing.
    const { locked, warnings, asked } = lockedFor(400, "EBADF");
    expect(locked(asked)).toBe(1);
    expect(warnings).toEqual([]);
  });

  it("DN-104: is let go however the work under it ends", () => {
    const { locked, asked } = lockedFor(0);
    const fail = (): never => {
      throw new Error("EROFS");
    };
    expect(() => locked(fail)).toThrow("EROFS");
    expect(locked(asked)).toBe(2);
  });
});
