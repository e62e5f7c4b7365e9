import { expect, it } from "vitest";
import { COMMANDS } from "../../../src/cli/commands.ts";
import { sourcesBelow } from "./sources.ts";

/** Where the event has a word from a closed set, and where PG-75 fixes its text. */
const SPELLED = [
  "src/program/client/client-role.ts",
  "src/program/endpoint/serve.ts",
  "src/program/gateway/gateway-role.ts",
];

it("style §12: a log line's event is a name; what differs from line to line is a field", () => {
  const form = /\.(?:debug|info|warn|error)\?\.\(\s*`[^`]*\$\{/;
  const found = ["src", "bindings"].flatMap(sourcesBelow).filter(({ text }) => form.test(text));
  expect(found.map(({ path }) => path).sort()).toEqual(SPELLED);
});

it("style §10: the command line asks no command for its name: what differs is in the table of commands", () => {
  const main = sourcesBelow("src/cli").find(({ path }) => path === "src/cli/command-line.ts");
  const asked = COMMANDS.filter(({ name }) => main?.text.includes(`"${name}"`)).map(({ name }) => name);
  expect(asked).toEqual([]);
});
