import { describe, expect, it } from "vitest";
import { currentRuntime, RUNTIMES } from "../../../../bindings/runtime/index.ts";

describe("the runtime", () => {
  it.each(RUNTIMES)("PG-120: %s is known, although the others name the Node that they imitate", (name) => {
    expect(currentRuntime({ node: "24.0.0", v8: "13", [name]: "1.0.0" })).toBe(name);
  });
});
