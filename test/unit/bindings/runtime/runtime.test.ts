import { describe, expect, it } from "vitest";
import {
  currentRuntime,
  programVariables,
  programWords,
  RUNTIMES,
  runtimeLabel,
} from "../../../../bindings/runtime/index.ts";

describe("the runtime", () => {
  it.each(RUNTIMES)("PG-120: %s is known, although the others name the Node that they imitate", (name) => {
    expect(currentRuntime({ node: "24.0.0", v8: "13", [name]: "1.0.0" })).toBe(name);
  });

  it.each([
    [{ node: "24.21.0", v8: "13" }, "node 24.21.0"],
    [{ node: "26.3.0", v8: "15", deno: "2.9.6" }, "deno 2.9.6"],
    [{ node: "26.3.0", bun: "1.4.5" }, "bun 1.4.5"],
  ])("PG-139: %o is called %s, by its own version", (versions, label) => {
    expect(runtimeLabel(versions)).toBe(label);
  });

  it("D-28: a file is started so that no runtime takes the program's options for its own", () => {
    const { execPath, execArgv } = process;
    expect(programWords("main.js", "node")).toEqual([execPath, ...execArgv, "--", "main.js"]);
    expect(programWords("main.js", "deno")).toEqual([execPath, "run", "--allow-all", "--no-lock", "main.js"]);
    expect(programWords("main.js", "bun")).toEqual([execPath, ...execArgv, "main.js"]);
    expect(programWords("main.js", "bun", true)).toEqual([execPath]);
  });

  it("D-28: only Deno has to be told not to ask for newer versions", () => {
    expect(RUNTIMES.map((name) => [name, programVariables(name)])).toEqual(
      RUNTIMES.map((name) => [name, name === "deno" ? ["DENO_NO_UPDATE_CHECK=1"] : []]),
    );
  });
});
