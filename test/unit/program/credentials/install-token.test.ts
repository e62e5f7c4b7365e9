import { EventEmitter } from "node:events";
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { secret } from "../../../../src/base/index.ts";
import { readTokenFile, storeToken } from "../../../../src/host/index.ts";
import { installToken, type Keyboard } from "../../../../src/program/credentials/index.ts";
import { createIo } from "../portal-peer.ts";

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "token-"));
  path = join(folder, "new", "client-token");
});
afterEach(() => rmSync(folder, { recursive: true }));

describe("a token's file", () => {
  const store = (text: string, replaces = false) => storeToken({ path, token: secret(text), replaces });

  it("PG-20: is for its owner alone, in a folder that is made, and nothing else is left", () => {
    store("abc");
    expect(readFileSync(path, "utf8")).toBe("abc\n");
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readdirSync(join(folder, "new"))).toEqual(["client-token"]);
    expect(readTokenFile(path)).toBe("abc");
  });

  it("PG-20: one that is there stays, unless it is empty or is to be replaced", () => {
    store("abc");
    expect(() => store("def")).toThrow(expect.objectContaining({ code: "token-exists" }));
    store("def", true);
    expect(readTokenFile(path)).toBe("def");
    writeFileSync(path, " \n");
    store("ghi");
    expect(readTokenFile(path)).toBe("ghi");
  });

  it("PG-20: a link in its place is replaced, not followed", () => {
    store("abc");
    const other = join(folder, "other");
    writeFileSync(other, "");
    rmSync(path);
    symlinkSync(other, path);
    store("def");
    expect(readFileSync(other, "utf8")).toBe("");
    expect(readTokenFile(path)).toBe("def");
  });
});

/** A terminal or a pipe; raw mode is noted. */
function keyboard(isTTY: boolean) {
  const modes: boolean[] = [];
  const keys = Object.assign(new EventEmitter(), {
    isTTY,
    setEncoding: () => keys,
    pause: () => keys,
    resume: () => keys,
    setRawMode(mode: boolean) {
      modes.push(mode);
      return keys;
    },
  });
  // Only what `Keyboard` names is used.
  return { keys: keys as unknown as Keyboard & EventEmitter, modes };
}

describe("postern token install", () => {
  const OPTIONS = { words: ["install", "client"], replace: false } as const;

  it("PG-20: from a pipe, without the white space around it", async () => {
    const { keys, modes } = keyboard(false);
    const io = createIo();
    const done = installToken({ ...OPTIONS, tokenPath: path }, io, keys);
    keys.emit("data", " ab");
    keys.emit("data", "c\n");
    keys.emit("end");
    expect(await done).toBe(0);
    expect(readTokenFile(path)).toBe("abc");
    expect(io.lines).toEqual([`stored in ${path}`]);
    expect(modes).toEqual([]);
  });

  it("PG-20: from a terminal without echo, with mistakes mended", async () => {
    const { keys, modes } = keyboard(true);
    const done = installToken({ ...OPTIONS, tokenPath: path }, createIo(), keys);
    for (const key of ["a", "x", "\u007f", "bc", "\r"]) keys.emit("data", key);
    expect(await done).toBe(0);
    expect(readTokenFile(path)).toBe("abc");
    expect(modes).toEqual([true, false]);
  });

  it("PG-20: Ctrl-C gives up, and the terminal is as before", async () => {
    const { keys, modes } = keyboard(true);
    const done = installToken({ ...OPTIONS, tokenPath: path }, createIo(), keys);
    keys.emit("data", "ab\u0003");
    await expect(done).rejects.toMatchObject({ code: "token-missing" });
    expect(modes).toEqual([true, false]);
  });

  it.each(["", "two words", "x".repeat(5_000), "\u00fc"])("PG-20: '%s' is no token", async (text) => {
    const { keys } = keyboard(false);
    const done = installToken({ ...OPTIONS, tokenPath: path }, createIo(), keys);
    keys.emit("data", text);
    keys.emit("end");
    await expect(done).rejects.toMatchObject({ code: expect.stringMatching(/^token-/) });
  });

  it("PG-1: it is install, of client, gateway or relay", async () => {
    for (const words of [
      ["new", "client"],
      ["install", "portal"],
    ]) {
      await expect(
        installToken({ words, replace: false, tokenPath: path }, createIo()),
      ).rejects.toMatchObject({
        code: "usage",
      });
    }
  });
});
