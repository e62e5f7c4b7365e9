import { expect, it } from "vitest";
import { type Log, PosternError } from "../../../src/base/index.ts";
import { createUndoStack } from "../../../src/program/shell/index.ts";

const WITHIN_MS = 20;

function warnings(): { readonly log: Log; readonly said: unknown[] } {
  const said: unknown[] = [];
  const log: Log = { scope: () => log, warn: (event, fields) => said.push([event, fields]) };
  return { log, said };
}

it("PG-9, D-22: takes back in reverse, and goes on behind a step that fails", async () => {
  const { log, said } = warnings();
  const trace: string[] = [];
  const undo = createUndoStack(log);
  undo.add("first", () => void trace.push("first"));
  undo.add("second", () => {
    throw new Error("gone already");
  });
  undo.add("third", async () => void trace.push("third"));
  await undo.run();
  expect(trace).toEqual(["third", "first"]);
  expect(said).toEqual([["could not be undone", { what: "second", reason: "Error: gone already" }]]);
  // What is taken back is not taken back twice.
  await undo.run();
  expect(trace).toHaveLength(2);
});

it("PG-15: a stop that takes too long is an error of its own", async () => {
  const undo = createUndoStack(warnings().log, WITHIN_MS);
  undo.add("stuck", () => new Promise(() => {}));
  const error = await undo.run().then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error instanceof PosternError && error.code).toBe("stop-slow");
});
