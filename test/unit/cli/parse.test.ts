import { describe, expect, it } from "vitest";
import { PosternError } from "../../../src/base/index.ts";
import { COMMANDS } from "../../../src/cli/commands.ts";
import { DEMO_ONLY } from "../../../src/cli/demo-options.ts";
import type { OptionSpec, OptionTable } from "../../../src/cli/options.ts";
import * as options from "../../../src/cli/options.ts";
import { camelCase, type Environment, parseArguments, variableOf } from "../../../src/cli/parse.ts";
import { PLANE } from "../../../src/cli/plane-options.ts";

const TABLE = {
  "api-url": { kind: "text", short: "u", value: "URL", aliases: ["FIREZONE_API_URL"], help: "" },
  "inc-buf": {
    kind: "flag",
    aliases: ["FIREZONE_INC_BUF"],
    negatedAliases: ["FIREZONE_NO_INC_BUF"],
    help: "",
  },
  check: { kind: "flag", default: false, help: "" },
  "no-check": { kind: "flag", default: false, help: "" },
  port: { kind: "integer", value: "N", default: 7, min: 0, max: 65_535, help: "" },
  wait: { kind: "duration", short: "m", value: "D", help: "" },
  mode: { kind: "choice", choices: ["tun", "userspace"], default: "tun", help: "" },
  "env-file": { kind: "list", value: "PATH", hasVariable: false, help: "" },
} as const satisfies OptionTable;

function parse(line: string, env: Environment = {}) {
  return parseArguments(
    line.split(" ").filter((word) => word !== ""),
    env,
    TABLE,
    "client",
  );
}

function refusal(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof PosternError && error.code === "usage") return `${error.message}; ${error.hint}`;
    throw error;
  }
  throw new Error("was accepted");
}

it("PG-6: options that are accepted without effect are named once, together", () => {
  const table = {
    later: { kind: "text", value: "X", isLater: true, help: "" },
    other: { kind: "flag", default: false, isLater: true, help: "" },
    quiet: { kind: "flag", default: false, isLater: true, help: "" },
  } as const;
  const warningsOf = (args: readonly string[], env = {}) => parseArguments(args, env, table, "x").warnings;
  expect(warningsOf([])).toEqual([]);
  expect(warningsOf(["--later", "1"], { POSTERN_OTHER: "true", POSTERN_QUIET: "false" })).toEqual([
    "without effect in this release: --later, --other",
  ]);
});

it("PG-6: a variable that asks for what is not spoken here ends the start", () => {
  const table = {
    x: { kind: "text", value: "X", refusedVariables: { OTHER: "not spoken" }, help: "" },
  } as const;
  expect(parseArguments([], { OTHER: "" }, table, "x").warnings).toEqual([]);
  expect(refusal(() => parseArguments([], { OTHER: "1" }, table, "x"))).toContain("OTHER: not spoken");
});

it("PG-68: a word may do without what is required", () => {
  const table = { url: { kind: "text", value: "X", isRequired: true, help: "" } } as const;
  const values = (word: string) => parseArguments([word], {}, table, "gateway", ["setup"]).values;
  expect(values("setup")).toEqual({ url: undefined });
  expect(() => values("run")).toThrow("--url is required");
});

it("DN-108: --revert-dns needs no portal", () => {
  const table = {
    url: { kind: "text", value: "X", isRequired: true, help: "" },
    "revert-dns": { kind: "flag", default: false, waives: true, help: "" },
  } as const;
  const values = (...args: readonly string[]) => parseArguments(args, {}, table, "client").values;
  expect(values("--revert-dns")).toEqual({ url: undefined, revertDns: true });
  expect(() => values()).toThrow("--url is required");
  expect(() => values("--no-revert-dns")).toThrow("--url is required");
});

describe("options on the command line", () => {
  it.each([
    ["--api-url ws://a", { apiUrl: "ws://a" }],
    ["--api-url=ws://a", { apiUrl: "ws://a" }],
    ["-u ws://a", { apiUrl: "ws://a" }],
    ["--inc-buf", { incBuf: true }],
    ["--no-inc-buf", { incBuf: false }],
    ["--inc-buf=true", { incBuf: true }],
    ["--inc-buf=false", { incBuf: false }],
    ["--port 8 --port 9", { port: 9 }],
    ["--env-file a --env-file=b", { envFile: ["a", "b"] }],
    ["-m 1h30m", { wait: 5_400_000 }],
    ["--api-url=-dash", { apiUrl: "-dash" }],
    ["", { apiUrl: undefined, incBuf: undefined, port: 7, mode: "tun", envFile: [], check: false }],
  ])("PG-2: reads '%s'", (line, expected) => {
    expect(parse(line).values).toMatchObject(expected);
  });

  it("PG-2: -- ends the options", () => {
    expect(parse("a -- --port b").words).toEqual(["a", "--port", "b"]);
  });

  it("PG-6: --no-check is an option of its own, not the opposite of --check", () => {
    expect(parse("--check --no-check").values).toMatchObject({ check: true, noCheck: true });
  });

  it.each([
    ["--api-ulr x", "unknown option '--api-ulr' of client; did you mean '--api-url'?"],
    ["--zzzzzzzz", "unknown option '--zzzzzzzz' of client; see 'postern help client'"],
    ["-z", "unknown option '-z' of client; see 'postern help client'"],
    ["--constructor", "unknown option '--constructor' of client"],
    ["--port", "--port needs a value"],
    ["--api-url --check", "--api-url needs a value"],
    ["--port 65536", "--port: '65536' is not a whole number from 0 to 65535"],
    ["--port -1", "--port needs a value"],
    ["--port 1x", "--port: '1x' is not a whole number"],
    ["--check=maybe", "--check: 'maybe' is neither true nor false"],
    ["--no-inc-buf=true", "--no-inc-buf takes no value"],
    ["--mode usrspace", "--mode: 'usrspace' is none of tun, userspace; did you mean 'userspace'?"],
    ["--wait 30", "--wait: '30' is not a duration"],
  ])("PG-1: '%s' is one line that says what to do", (line, message) => {
    expect(refusal(() => parse(line))).toContain(message);
  });

  it.each(["--token secret", "--token=secret", "--token"])(
    "PG-8: '%s' is refused without repeating the token",
    (line) => {
      const message = refusal(() => parse(line));
      expect(message).toContain(
        "tokens are not accepted on the command line; use POSTERN_TOKEN or --token-path",
      );
      expect(message).not.toContain("secret");
    },
  );

  it("PG-6: a required option names itself and its variable", () => {
    const table = { url: { kind: "text", value: "U", isRequired: true, help: "" } } as const;
    expect(refusal(() => parseArguments([], {}, table, "client"))).toBe(
      "--url is required; give it, or set POSTERN_URL",
    );
    expect(parseArguments([], { POSTERN_URL: "x" }, table, "client").values["url"]).toBe("x");
  });
});

describe("variables", () => {
  it("PG-3: command line before POSTERN_*, before alias, before default", () => {
    const env = { POSTERN_API_URL: "ws://p", FIREZONE_API_URL: "ws://f" };
    expect(parse("-u ws://c", env).values["apiUrl"]).toBe("ws://c");
    expect(parse("", env).values["apiUrl"]).toBe("ws://p");
    expect(parse("", { FIREZONE_API_URL: "ws://f" }).values["apiUrl"]).toBe("ws://f");
  });

  it("PG-3: a contradiction is one warning that names both variables, never their values", () => {
    const { warnings } = parse("", { POSTERN_API_URL: "ws://p", FIREZONE_API_URL: "ws://f" });
    expect(warnings).toEqual(["POSTERN_API_URL and FIREZONE_API_URL differ; POSTERN_API_URL is used"]);
    expect(parse("", { POSTERN_API_URL: "ws://p", FIREZONE_API_URL: "ws://p" }).warnings).toEqual([]);
  });

  it("PG-3: a former name is taken, and one warning says the new one", () => {
    const table = { cipher: { kind: "text", value: "NAME", former: "kernel", help: "" } } as const;
    const read = (line: string, env: Record<string, string> = {}) =>
      parseArguments(line === "" ? [] : line.split(" "), env, table, "wg");
    const text = (former: string, name: string) =>
      `${former} is called ${name} now; the next release does not know the old name`;
    expect(read("--kernel wide")).toMatchObject({
      values: { cipher: "wide" },
      warnings: [text("--kernel", "--cipher")],
    });
    expect(read("", { POSTERN_KERNEL: "wide" })).toMatchObject({
      values: { cipher: "wide" },
      warnings: [text("POSTERN_KERNEL", "POSTERN_CIPHER")],
    });
    expect(read("--cipher jsc", { POSTERN_CIPHER: "wide" })).toMatchObject({
      values: { cipher: "jsc" },
      warnings: [],
    });
    expect(refusal(() => read("--kernle wide"))).not.toContain("--kernel");
    expect(refusal(() => read("--no-kernel"))).toContain("unknown option");
  });

  it.each(["1", "true", "YES", "On"])("PG-3: '%s' is true", (text) => {
    expect(parse("", { POSTERN_INC_BUF: text }).values["incBuf"]).toBe(true);
  });

  it.each(["0", "false", "NO", "Off"])("PG-3: '%s' is false", (text) => {
    expect(parse("", { POSTERN_INC_BUF: text }).values["incBuf"]).toBe(false);
  });

  it("PG-3: empty is unset, anything else is refused", () => {
    expect(parse("", { POSTERN_INC_BUF: "" }).values["incBuf"]).toBeUndefined();
    expect(refusal(() => parse("", { POSTERN_INC_BUF: "2" }))).toContain("POSTERN_INC_BUF: '2' is neither");
  });

  it("PG-6: a negated alias means the opposite", () => {
    expect(parse("", { FIREZONE_NO_INC_BUF: "1" }).values["incBuf"]).toBe(false);
  });

  it("PG-4: --env-file has no variable", () => {
    expect(parse("", { POSTERN_ENV_FILE: "x" }).values["envFile"]).toEqual([]);
  });
});

/** Every option of every table, by every name it has. */
const ALL: readonly (readonly [string, OptionSpec])[] = [
  ...[options.LOGGING, PLANE, options.PEER, options.CLIENT_ONLY],
  ...[options.GATEWAY_ONLY, options.WG_ONLY, options.PORTAL_ONLY, DEMO_ONLY],
].flatMap((table: OptionTable) => Object.entries(table));

const GOOD: Readonly<Record<string, string>> = {
  "api-url": "wss://portal.example",
  "tun-name": "tun0",
  "egress-interface": "eth0",
  "otlp-endpoint": "http://127.0.0.1:4318",
};

function goodValue(name: string, spec: OptionSpec): string {
  switch (spec.kind) {
    case "integer":
      return String(spec.max);
    case "duration":
      return "10s";
    case "choice":
      return spec.choices.at(-1) ?? "";
    case "flag":
      return "true";
    default:
      return GOOD[name] ?? "word";
  }
}

describe("the tables", () => {
  it.each(ALL)("PG-6: --%s is understood by long and short name, variable and alias", (name, spec) => {
    const table = { [name]: spec };
    const value = goodValue(name, spec);
    const expected = parseArguments([`--${name}=${value}`], {}, table, "test").values[camelCase(name)];
    expect(expected).not.toBeUndefined();
    if (spec.short !== undefined) {
      expect(parseArguments([`-${spec.short}`, value], {}, table, "test").values[camelCase(name)]).toEqual(
        expected,
      );
    }
    if (spec.hasVariable === false) return;
    for (const variable of [variableOf(name), ...(spec.aliases ?? [])]) {
      expect(parseArguments([], { [variable]: value }, table, "test").values[camelCase(name)]).toEqual(
        expected,
      );
    }
  });

  it("PG-2: within a command no two options share a letter or a variable", () => {
    for (const command of COMMANDS) {
      const specs = Object.entries<OptionSpec>(command.options);
      const letters = specs.flatMap(([, spec]) => spec.short ?? []);
      const variables = specs.flatMap(([name, spec]) => [variableOf(name), ...(spec.aliases ?? [])]);
      expect(new Set(letters).size, command.name).toBe(letters.length);
      expect(new Set(variables).size, command.name).toBe(variables.length);
    }
  });
});
