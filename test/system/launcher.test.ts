import { spawnSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { type Child, startChild } from "../../src/program/lab/index.ts";
import { eventually } from "../lib/observe.ts";

const ROOT = join(import.meta.dirname, "../..");
const DAY_S = 86_400;
const NOBODY = 65_534;

/** Stands for scripts/build.mjs: leaves a program that prints its arguments, and counts its calls. */
const BUILD = `import { appendFileSync, mkdirSync, utimesSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
const root = dirname(import.meta.dirname);
const started = new Date();
appendFileSync(join(root, "builds"), process.argv.slice(2).join(" ") + "\\n");
await new Promise((resolve) => setTimeout(resolve, 500));
mkdirSync(join(root, "build/program"), { recursive: true });
writeFileSync(join(root, "build/program/main.js"), "console.log(process.argv.slice(2).join())");
writeFileSync(join(root, "build/.stamp"), "");
utimesSync(join(root, "build/.stamp"), started, started);
`;

const LOCK = { name: "clone", version: "0.0.0", lockfileVersion: 3, requires: true, packages: { "": {} } };

interface Outcome {
  readonly status: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

interface Clone {
  readonly path: string;
  /** Starts the launcher; \`node\` is the one that runs this test, behind a script that keeps a list of its calls. */
  start(...args: string[]): Child;
  run(...args: string[]): Promise<Outcome>;
  runWith(variables: Readonly<Record<string, string>>, ...args: string[]): Promise<Outcome>;
  /** Lines of a file that a stand-in wrote. */
  lines(name: "builds" | "node-calls"): readonly string[];
}

const clones: Clone[] = [];

/** The real launcher in a clone without packages and with nothing to compile; its npm is the real one. */
function createClone(): Clone {
  const path = mkdtempSync(join(tmpdir(), "postern-clone-"));
  chmodSync(path, 0o755);
  for (const folder of ["scripts", "src", "runtime", "bin"]) mkdirSync(join(path, folder));
  copyFileSync(join(ROOT, "postern"), join(path, "postern"));
  copyFileSync(join(ROOT, ".npmrc"), join(path, ".npmrc"));
  const files = {
    "package.json": JSON.stringify({ name: "clone", version: "0.0.0", type: "module" }),
    "package-lock.json": JSON.stringify(LOCK),
    // Without a lock npm ci fails, and fast.
    "runtime/package.json": JSON.stringify({ name: "clone-runtime", version: "0.0.0" }),
    "scripts/build.mjs": BUILD,
    "scripts/debian-packages.sh": 'echo "packages for $1" >&2\n',
    "bin/node": `#!/bin/sh\necho "$*" >>"${path}/node-calls"\nexec "${process.execPath}" "$@"\n`,
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(path, name), text);
  chmodSync(join(path, "bin/node"), 0o755);
  const env = { ...process.env, PATH: [join(path, "bin"), process.env["PATH"]].join(delimiter) };
  const start = (...args: string[]) =>
    startChild({ name: "launcher", command: join(path, "postern"), args, env });
  const clone: Clone = {
    path,
    start,
    run: (...args) => outcomeOf(start(...args)),
    runWith: (variables, ...args) =>
      outcomeOf(
        startChild({ name: "launcher", command: join(path, "postern"), args, env: { ...env, ...variables } }),
      ),
    lines(name) {
      const file = join(path, name);
      return existsSync(file) ? readFileSync(file, "utf8").trimEnd().split("\n") : [];
    },
  };
  clones.push(clone);
  return clone;
}

async function outcomeOf(child: Child): Promise<Outcome> {
  const { status } = await child.wait(60_000);
  return { status, stdout: child.stdout(), stderr: child.stderr() };
}

afterEach(() => {
  for (const { path } of clones.splice(0)) rmSync(path, { recursive: true, force: true });
});

const isOldNode = Number(process.versions.node.split(".")[0]) < 24;

describe("the first start in a clone", { timeout: 90_000 }, () => {
  it("PG-170: says what it will do and how long it takes, then starts the command; later starts say nothing", async () => {
    const clone = createClone();
    const first = await clone.run("client", "--check");
    expect(first.stdout).toBe("client,--check\n");
    expect(first.stderr).toMatch(/^postern: first start: installing and building takes about half a minute/);
    expect(clone.lines("builds")).toEqual(["--first"]);
    expect(await clone.run("client")).toEqual({ status: 0, stdout: "client\n", stderr: "" });
    expect(clone.lines("builds")).toHaveLength(1);
  });

  it("PG-171: of three starts at once one installs and builds, the others wait", async () => {
    const clone = createClone();
    const starts = await Promise.all([clone.run("a"), clone.run("b"), clone.run("c")]);
    expect(starts.map(({ status, stdout }) => [status, stdout])).toEqual([
      [0, "a\n"],
      [0, "b\n"],
      [0, "c\n"],
    ]);
    expect(clone.lines("builds")).toHaveLength(1);
    const said = starts.map(({ stderr }) => stderr);
    expect(said.filter((text) => text.includes("npm ci, once"))).toHaveLength(1);
    expect(said.filter((text) => text.includes("postern: waiting for another start\n"))).toHaveLength(2);
  });

  it("PG-171: an npm that installs in the clone is waited for, and its packages are taken", async () => {
    const clone = createClone();
    const script = 'process.title = "npm cit now"; setTimeout(() => {}, 60_000)';
    const npm = startChild({ name: "npm", command: process.execPath, args: ["-e", script], cwd: clone.path });
    await eventually(() => expect(readFileSync(`/proc/${npm.pid}/cmdline`, "utf8")).toMatch(/^npm cit now/));
    const start = clone.start("help");
    await start.waitForLine(/^postern: waiting for npm, which installs packages here$/, { withinMs: 20_000 });
    mkdirSync(join(clone.path, "node_modules"));
    writeFileSync(join(clone.path, "node_modules/.package-lock.json"), "by the other");
    const { status } = await start.wait(60_000);
    await npm.stop();
    expect(status).toBe(0);
    expect(start.stderr()).not.toContain("npm ci, once");
    expect(readFileSync(join(clone.path, "node_modules/.package-lock.json"), "utf8")).toBe("by the other");
  });

  it("PG-170: the demo's Debian packages are looked after beside the installation", async () => {
    const clone = createClone();
    const { stderr } = await clone.run("demo");
    expect(stderr).toContain("packages for demo\n");
    const { stderr: others } = await createClone().run("client");
    expect(others).not.toContain("packages for");
  });
});

describe.skipIf(!isOldNode)("the pinned Node", { timeout: 120_000 }, () => {
  const versionCalls = (clone: Clone) =>
    clone.lines("node-calls").filter((call) => call === "--version").length;
  const isTried = ({ stderr }: { stderr: string }) => stderr.includes("installing the faster Node 24");

  it("D-28: the choice is remembered, so that a start asks no Node for its version", async () => {
    const clone = createClone();
    await clone.run("help");
    const asked = versionCalls(clone);
    expect(asked).toBeGreaterThan(0);
    await clone.run("help");
    expect(versionCalls(clone)).toBe(asked);
    expect(clone.lines("node-calls").at(-1)).toMatch(/^-- .*main\.js help$/);
  });

  it("PG-172: a failed installation shows npm's reason and how to retry, and is not repeated", async () => {
    const clone = createClone();
    const first = await clone.run("help");
    expect(first.status).toBe(0);
    expect(first.stderr).toMatch(/npm (error|ERR!)[\s\S]*package-lock\.json/);
    const mark = join(clone.path, ".cache/node-24-failed");
    expect(first.stderr).toContain(`at once after: rm ${mark}\n`);
    expect(await clone.run("help")).toMatchObject({ status: 0, stderr: "" });

    rmSync(mark);
    expect(isTried(await clone.run("help"))).toBe(true);
    expect(isTried(await clone.run("help"))).toBe(false);
  });

  it("PG-172: it is tried again after a day, and when package, lock or npmrc have changed", async () => {
    const clone = createClone();
    await clone.run("help");
    const mark = join(clone.path, ".cache/node-24-failed");
    const ago = (seconds: number) => new Date(Date.now() - 1000 * seconds);

    utimesSync(mark, ago(DAY_S - 120), ago(DAY_S - 120));
    expect(isTried(await clone.run("help"))).toBe(false);
    utimesSync(mark, ago(DAY_S + 120), ago(DAY_S + 120));
    expect(isTried(await clone.run("help"))).toBe(true);

    for (const name of ["package.json", ".npmrc"]) {
      writeFileSync(join(clone.path, "runtime", name), name === ".npmrc" ? "fund=false\n" : "{}");
      expect(isTried(await clone.run("help"))).toBe(true);
      expect(isTried(await clone.run("help"))).toBe(false);
    }
  });
});

/** Stands for a runtime that is installed below `runtime/`: prints its words, and Deno's variable. */
function installStandIn({ path }: Clone, name: string, program: string): void {
  const file = join(path, "runtime", name, "node_modules", program);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, '#!/bin/sh\n[ "$1" = --version ] || echo "$@" $DENO_NO_UPDATE_CHECK\n');
  chmodSync(file, 0o755);
}

describe("POSTERN_RUNTIME", { timeout: 90_000 }, () => {
  const arch = process.arch === "arm64" ? "aarch64" : "x64";
  const npmArch = process.arch === "arm64" ? "arm64" : "x64";

  it.each([
    ["deno", `@deno/linux-${npmArch}-glibc/deno`, "run --allow-all --no-lock MAIN client --env-file x 1\n"],
    ["bun", `@oven/bun-linux-${arch}/bin/bun`, "--no-env-file --no-install MAIN client --env-file x\n"],
    ["node26", `node-linux-${npmArch}/bin/node`, "-- MAIN client --env-file x\n"],
  ])("D-28: %s starts the pinned one; Node builds", async (name, program, words) => {
    const clone = createClone();
    installStandIn(clone, name, program);
    if (name === "node26") await clone.run("help");
    const variables = { POSTERN_RUNTIME: name, DENO_NO_UPDATE_CHECK: "" };
    const { status, stdout } = await clone.runWith(variables, "client", "--env-file", "x");
    expect({ status, stdout }).toEqual({
      status: 0,
      stdout: words.replace("MAIN", join(clone.path, "build/program/main.js")),
    });
    expect(clone.lines("builds")).toHaveLength(1);
  });

  it("D-28: one that cannot be installed ends the start with npm's reason; nothing else is taken for it", async () => {
    const clone = createClone();
    mkdirSync(join(clone.path, "runtime/deno"));
    writeFileSync(
      join(clone.path, "runtime/deno/package.json"),
      JSON.stringify({ name: "d", version: "0.0.0" }),
    );
    const { status, stdout, stderr } = await clone.runWith({ POSTERN_RUNTIME: "deno" }, "client");
    expect([status, stdout]).toEqual([1, ""]);
    expect(stderr).toMatch(/npm (error|ERR!)[\s\S]*package-lock\.json/);
    expect(stderr).toContain("postern: Deno could not be installed: see above");
  });

  it("D-28: a name that is not known ends it with 2 and the known ones", async () => {
    const { status, stderr } = await createClone().runWith({ POSTERN_RUNTIME: "deno1" }, "client");
    expect(status).toBe(2);
    expect(stderr).toBe("postern: POSTERN_RUNTIME is 'deno1'; known: system, node, node26, deno, bun\n");
  });
});

const isTunClosed =
  spawnSync("test", ["-w", "/dev/net/tun"], { timeout: 60_000, uid: NOBODY, gid: NOBODY }).status === 1;

describe.skipIf(process.geteuid?.() !== 0 || !isTunClosed)("as an ordinary user", () => {
  it("PG-88: a TUN device that is closed to the user is said before anything is installed or built", () => {
    const { path } = createClone();
    const run = (...args: string[]) =>
      spawnSync(join(path, "postern"), args, { timeout: 60_000, uid: NOBODY, gid: NOBODY, encoding: "utf8" });
    const { status, stderr } = run("demo");
    expect(stderr).toBe("postern: no access to /dev/net/tun; run as root, or chmod 0666 /dev/net/tun\n");
    expect(status).toBe(5);
    expect(existsSync(join(path, "builds"))).toBe(false);
  });
});
