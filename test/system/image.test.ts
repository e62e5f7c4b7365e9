/**
 * What the container image holds is enough (PG-84): the last stage's COPY lines are followed into an empty folder,
 * and an ordinary user runs from there. The base image, its packages and a container engine are not tried.
 */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type Child, runCommand, startChild } from "../../src/program/lab/index.ts";
import { describeWith } from "../lib/requirements.ts";

const ROOT = join(import.meta.dirname, "../..");
const LINES = readFileSync(join(ROOT, "Dockerfile"), "utf8").replaceAll("\\\n", " ").split("\n");
const NOBODY = "65534";

/** `COPY --from=build SOURCE… TARGET`, relative to the clone and to the image's root. */
function copies(): readonly { readonly sources: readonly string[]; readonly target: string }[] {
  return LINES.filter((line) => line.startsWith("COPY --from=build ")).map((line) => {
    const words = line.split(" ").slice(2);
    const target = words.pop() ?? "";
    return { sources: words.map((word) => word.replace("/src/", "")), target };
  });
}

describeWith(["build", "root"], "the container image", () => {
  let image: string;
  const children: Child[] = [];

  beforeEach(async () => {
    image = mkdtempSync(join(tmpdir(), "postern-image-"));
    for (const { sources, target } of copies()) {
      for (const path of sources.flatMap((source) => expand(source))) {
        const isInto = target.endsWith("/");
        const to = join(image, isInto ? join(target, basename(path)) : target);
        mkdirSync(dirname(to), { recursive: true });
        cpSync(join(ROOT, path), to, { recursive: true });
      }
    }
    const [, link = "", name = ""] =
      LINES.map((line) => /^RUN ln -s (\S+) (\S+)$/.exec(line)).find((found) => found !== null) ?? [];
    mkdirSync(dirname(join(image, name)), { recursive: true });
    symlinkSync(link, join(image, name));
    mkdirSync(join(image, "own/run"), { recursive: true });
    // Made by root, with whatever umask: the image's files are readable by all, the run folder is the user's.
    const script = `chmod -R a+rX "$0" && chown -R ${NOBODY}:${NOBODY} "$0/own"`;
    await runCommand({ name: "chmod", command: "sh", args: ["-c", script, image] });
  });
  afterEach(async () => {
    for (const child of children.splice(0)) await child.stop();
    rmSync(image, { recursive: true });
  });

  /** Runs `postern` of the image, as nobody and far from the clone. */
  function postern(...args: readonly string[]): Child {
    const user = ["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--no-new-privs"];
    const program = [process.execPath, "--", join(image, "usr/bin/postern")];
    const child = startChild({
      name: `postern ${args[0]}`,
      command: "setpriv",
      args: [...user, ...program, ...args],
      cwd: "/",
      env: { PATH: process.env["PATH"], RUNTIME_DIRECTORY: join(image, "own/run") },
    });
    children.push(child);
    return child;
  }

  it("PG-84: a portal serves an ordinary user from these files alone, and the health check says so", async () => {
    expect((await postern("healthcheck").wait(30_000)).status).toBe(1);
    const portal = postern("portal", "--dev", "--listen", "127.0.0.1:0");
    await portal.waitForLine(/^ready$/, { withinMs: 30_000, stream: "stdout" });
    const check = postern("healthcheck");
    expect(await check.wait(30_000), check.stderr()).toEqual({ status: 0, signal: undefined });
    expect((await portal.stop()).status).toBe(0);
  }, 120_000);

  it("PG-84: system calls and the packet plane's modules are there, for client, gateway and relay", async () => {
    const doctor = postern("doctor", "relay", "--json");
    await doctor.wait(60_000);
    const { findings } = JSON.parse(doctor.stdout());
    expect(findings).toContainEqual(expect.objectContaining({ check: "system calls", verdict: "ok" }));
    const modules = copies().flatMap(({ sources }) => sources.filter((source) => source.endsWith("*.wasm")));
    expect(modules.flatMap(expand).map((path) => basename(path))).toContain("relay.wasm");
  }, 90_000);

  it("PG-84: nothing runs as root that needs not, and the health check is ours", () => {
    expect(LINES).toContain("USER postern");
    expect(LINES.find((line) => line.startsWith("HEALTHCHECK"))).toMatch(/CMD \["postern", "healthcheck"\]$/);
    expect(LINES).toContain("ENV POSTERN_HEALTH_ADDR=0.0.0.0:8080");
  });
});

function expand(source: string): readonly string[] {
  if (!source.includes("*")) return [source];
  const [folder, suffix] = [dirname(source), basename(source).slice(1)];
  return readdirSync(join(ROOT, folder))
    .filter((name) => name.endsWith(suffix))
    .map((name) => join(folder, name));
}
