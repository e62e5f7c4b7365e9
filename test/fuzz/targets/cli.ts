/** Words of a command line and variables, for every command (PG-2, PG-3, PG-8): values, or an error that is for people. */
import { PosternError } from "../../../src/base/index.ts";
import { COMMANDS } from "../../../src/cli/commands.ts";
import { parseArguments } from "../../../src/cli/parse.ts";
import { bytesOf, claim, type FuzzTarget, textOf } from "../target.ts";

/** Commands and options are tables: their names are the dictionary. */
const OPTIONS = [...new Set(COMMANDS.flatMap(({ options }) => Object.keys(options)))];

export function createTarget(): FuzzTarget {
  return {
    // The first byte chooses the command; words are lines, those with `=` in front are variables.
    seeds: COMMANDS.map(({ options }, i) => {
      const words = Object.entries(options).map(([name, { kind }]) =>
        kind === "flag" ? `--${name}` : `--${name}=1`,
      );
      return bytesOf(`${String.fromCharCode(i)}${words.join("\n")}\n=POSTERN_LOG=debug`);
    }),
    words: [
      ...OPTIONS.flatMap((name) => [`\n--${name}`, `=POSTERN_${name.toUpperCase().replaceAll("-", "_")}=`]),
      ...[
        "\n--no-",
        "\n--",
        "\n-v",
        "=",
        "true",
        "1s",
        "10m",
        "1e9",
        "-1",
        "::1",
        "[::]:0",
        "wss://x",
        "tun",
      ],
      ...["\n--__proto__=1", "\n--constructor", "\ud800", "\0", ",", "0x10", "99999999999999999999"],
    ],
    bytesMax: 1500,
    run(input) {
      const command = COMMANDS[(input[0] ?? 0) % COMMANDS.length];
      if (command === undefined) throw new Error("there are commands");
      const lines = textOf(input.subarray(1)).split("\n");
      const variables = lines
        .filter((line) => line.startsWith("="))
        .map((line) => line.slice(1).split("=", 2));
      const words = lines.filter((line) => !line.startsWith("="));
      const { options, name, waives } = command;
      try {
        const parsed = parseArguments(words, Object.fromEntries(variables), options, name, waives);
        for (const warning of parsed.warnings) claim(warning !== "", "a warning says something");
        const known = Object.keys(options).length;
        claim(Object.keys(parsed.values).length <= known, "values of options that there are");
      } catch (error) {
        if (!(error instanceof PosternError) || error.code !== "usage") throw error;
        claim(error.message !== "", "a refusal says why");
      }
    },
  };
}
