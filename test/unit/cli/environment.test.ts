import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ignoredVariables, loadEnvFile, takeToken } from "../../../src/cli/environment.ts";

describe("tokens", () => {
  it("PG-9: leave the environment when they are taken", () => {
    const env = { POSTERN_TOKEN: " t1 \n", FIREZONE_TOKEN: "t2", OTHER: "stays" };
    expect(takeToken(env)?.reveal()).toBe("t1");
    expect(env).toEqual({ OTHER: "stays" });
  });

  it("PG-19: the alias serves when the variable is absent or empty", () => {
    expect(takeToken({ POSTERN_TOKEN: "", FIREZONE_TOKEN: "t2" })?.reveal()).toBe("t2");
    expect(takeToken({ POSTERN_TOKEN: "  " })).toBeUndefined();
    expect(takeToken({})).toBeUndefined();
  });

  it("PG-21: print as redacted however they are turned into text", () => {
    const token = takeToken({ POSTERN_TOKEN: "hidden-value" });
    for (const text of [
      `${token}`,
      JSON.stringify({ token }),
      inspect({ token }),
      Object.values(token ?? {}).join(),
    ]) {
      expect(text).not.toContain("hidden-value");
    }
    expect(JSON.stringify({ token })).toBe('{"token":"[redacted]"}');
    expect(inspect(token)).toBe("[redacted]");
  });
});

it("PG-7: variables of the reference that switch nothing here are named", () => {
  const env = {
    TELEMETRY: "",
    FIREZONE_METRICS: "1",
    EBPF_OFFLOADING: "eth0",
    FIREZONE_ID: "x",
    PATH: "/bin",
  };
  expect(ignoredVariables(env)).toEqual(["EBPF_OFFLOADING", "FIREZONE_METRICS", "TELEMETRY"]);
  expect(ignoredVariables({ PATH: "/bin" })).toEqual([]);
});

describe("files of variables", () => {
  let folder: string;
  const file = (text: string): string => {
    const path = join(folder, "env");
    writeFileSync(path, text);
    return path;
  };

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "postern-env-"));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it("PG-4: comments, quotes, no expansion; the real environment wins", () => {
    const env: Record<string, string | undefined> = { REAL: "kept" };
    loadEnvFile(file('# note\n\nA=1\nB="two words"\nC=$A\nREAL=lost\nD=\n'), env);
    expect(env).toEqual({ REAL: "kept", A: "1", B: "two words", C: "$A", D: "" });
  });

  it.each(["no equals sign", "1A=x", 'A="open', "A B=c", "A=x\0y"])(
    "PG-4: refuses '%s' with its line",
    (line) => {
      expect(() => loadEnvFile(file(`A=1\n${line}\n`), {})).toThrow(/env:2: expected KEY=VALUE$/);
    },
  );

  it("PG-14: an unreadable file is exit 3, not 2", () => {
    expect(() => loadEnvFile(join(folder, "missing"), {})).toThrow(
      expect.objectContaining({ code: "file-unreadable" }),
    );
  });
});
