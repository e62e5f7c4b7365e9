/** Commands of a wg-quick file (WG-65), with real shells. */
import { expect, it } from "vitest";
import { SILENT } from "../../../../src/base/index.ts";
import { runHooks } from "../../../../src/program/wg/hooks.ts";

const run = (command: string): Promise<void> =>
  runHooks([{ kind: "PostUp", command, line: 7 }], "PostUp", "wg0", SILENT);

it("one that succeeds is followed by what comes next, with the name of the interface", async () => {
  await expect(run("test %i = wg0")).resolves.toBeUndefined();
});

it("one that fails is told with its line and status", async () => {
  await expect(run("exit 3")).rejects.toMatchObject({
    code: "hook-failed",
    message: "PostUp in line 7 ended with status 3",
  });
});

it("TS-64: one that cannot be started at all is told in the same way", async () => {
  // More than the kernel takes (E2BIG), of which Node tells by throwing at once.
  await expect(run(`: ${"x".repeat(4 << 20)}`)).rejects.toMatchObject({
    code: "hook-failed",
    message: expect.stringContaining("E2BIG"),
  });
});
