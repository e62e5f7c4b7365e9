/** A file of variables (PG-4): it is read whole, or refused with the line. */
import { PosternError } from "../../../src/base/index.ts";
import { setFromText } from "../../../src/cli/environment.ts";
import { bytesOf, claim, type FuzzTarget, textOf } from "../target.ts";

export function createTarget(): FuzzTarget {
  return {
    seeds: ['# a\nPOSTERN_TOKEN="x y"\nA=1\n\nB_2=\nPOSTERN_PORTAL=wss://p.example\n'].map(bytesOf),
    words: [
      "=",
      '"',
      '="',
      "#",
      "\n",
      "\r\n",
      "\0",
      "export ",
      "__proto__=",
      "constructor=",
      "A=",
      "\\",
      "$A",
    ],
    bytesMax: 1000,
    run(input) {
      const text = textOf(input);
      const env: Record<string, string | undefined> = Object.create(null);
      try {
        setFromText("/e", text, env);
      } catch (error) {
        if (!(error instanceof PosternError) || error.code !== "usage") throw error;
        claim(/^\/e(:\d+: expected KEY=VALUE| is longer)/.test(error.message), "a refusal names its line");
        const line = Number(/:(\d+):/.exec(error.message)?.[1] ?? 1);
        claim(line >= 1 && line <= text.split("\n").length, "a line that there is");
        return;
      }
      for (const [name, value] of Object.entries(env)) {
        claim(/^[A-Za-z_]\w*$/.test(name), "a name is one");
        claim(value !== undefined && !value.includes("\0"), "no zero in a value");
      }
    },
  };
}
