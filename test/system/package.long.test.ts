/**
 * The package as people get it: packed, installed from the tarball by an ordinary user into an empty folder, and
 * used there (PG-133, PG-134). Its dependencies come from the registry.
 */
import { type SpawnOptions, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type EmbeddedOffice, openEmbeddedOffice, SERVER, WIKI } from "../lib/embedded.ts";
import { describeWith } from "../lib/requirements.ts";

const NOBODY = 65_534;
const AS_NOBODY = ["--reuid", `${NOBODY}`, "--regid", `${NOBODY}`, "--clear-groups"];
const WITHIN_MS = 100_000;

interface Finished {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The portal runs in this process, so nothing may hold it up. */
function finish(command: string, args: readonly string[], options: SpawnOptions): Promise<Finished> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { ...options, stdio: ["ignore", "pipe", "pipe"], timeout: WITHIN_MS });
    let [stdout, stderr] = ["", ""];
    child.stdout?.on("data", (chunk) => {
      stdout += chunk;
    });
    child.stderr?.on("data", (chunk) => {
      stderr += chunk;
    });
    child.on("close", (status) => resolve({ status, stdout, stderr }));
  });
}

describeWith(["build", "users", "registry"], "the package from its tarball", () => {
  let folder: string;
  let user: string;
  let office: EmbeddedOffice;
  let server: Server;

  /** As an ordinary user, in the folder. */
  const run = (command: string, args: readonly string[], env: Record<string, string> = {}) =>
    finish("setpriv", [...AS_NOBODY, command, ...args], {
      cwd: user,
      env: { ...process.env, HOME: user, npm_config_cache: join(user, ".npm"), ...env },
    });

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "postern-package-"));
    user = join(folder, "user");
    spawnSync("install", ["-d", "-o", `${NOBODY}`, "-g", `${NOBODY}`, user], { timeout: 60_000 });
    spawnSync("chmod", ["755", folder], { timeout: 60_000 });
    const packed = spawnSync("npm", ["pack", "--pack-destination", folder], {
      timeout: 60_000,
      encoding: "utf8",
    });
    expect(packed.status, packed.stderr).toBe(0);
    server = createServer((_, response) => response.end("the page"));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    office = await openEmbeddedOffice({
      resolver: async (_, family) => (family === 4 ? [SERVER] : []),
      onFlow: (flow) => flow.forward({ host: "127.0.0.1", port }),
    });
    // With npm's defaults, which run the scripts of packages: there are none that matter.
    const [tarball = ""] = readdirSync(folder).filter((name) => name.endsWith(".tgz"));
    const installed = await run("npm", ["install", "--no-audit", "--no-fund", join(folder, tarball)]);
    expect(installed.status, installed.stderr).toBe(0);
  }, WITHIN_MS);
  afterAll(async () => {
    await office?.close();
    server?.closeAllConnections();
    server?.close();
    rmSync(folder, { recursive: true });
  });

  it("PG-133, PG-134: has the plane and no install script", async () => {
    const home = join(user, "node_modules/postern");
    const { scripts = {} } = JSON.parse(readFileSync(join(home, "package.json"), "utf8"));
    const hooks = ["preinstall", "install", "postinstall", "prepare", "prepublish"];
    expect(Object.keys(scripts).filter((name) => hooks.includes(name))).toEqual([]);
    const modules = readdirSync(join(home, "build")).filter((name) => name.endsWith(".wasm"));
    expect(modules).toEqual(
      ["jsc", "turbofan", "turboshaft", "wide"].map((name) => `plane-${name}.wasm`).concat("relay.wasm"),
    );
    expect((await run("npx", ["--no", "--", "postern", "--version"])).stdout).toMatch(/^postern \d/);
  });

  it("PG-120: the README's ten lines work", async () => {
    const readme = readFileSync("README.md", "utf8");
    const lines = /```js\n(import \{ connectClient \}[\s\S]*?)```/.exec(readme)?.[1] ?? "";
    const { apiUrl = "", tokens } = office.portal;
    const text = lines
      .replace(/"wss:[^"]*"/, "process.env.URL")
      .replace("token,", "token: process.env.TOKEN,");
    writeFileSync(join(user, "ten-lines.mjs"), text);
    const { status, stdout, stderr } = await run(process.execPath, ["ten-lines.mjs"], {
      URL: apiUrl,
      TOKEN: tokens?.client ?? "",
    });
    expect([status, stderr]).toEqual([0, ""]);
    expect(stdout).toBe("the page\n");
    expect(lines).toContain(WIKI);
  }, 30_000);

  it(
    "PG-86, PG-87: npx postern demo",
    async () => {
      // A device of the usual mode 0666, seen only by this process and its children.
      const tun = join(folder, "tun");
      const script = `mknod ${tun} c 10 200 && chmod 666 ${tun} && mount --bind ${tun} /dev/net/tun &&
      exec setpriv ${AS_NOBODY.join(" ")} env HOME=${user} "$@"`;
      const demo = ["npx", "--no", "postern", "demo", "--json", "--seconds", "1"];
      const { status, stdout, stderr } = await finish("unshare", ["-m", "sh", "-c", script, "sh", ...demo], {
        cwd: user,
      });
      if (stderr.includes("allowed to make user namespaces")) return;
      expect(status, stderr).toBe(0);
      expect(JSON.parse(stdout.trimEnd().split("\n").at(-1) ?? "")).toMatchObject({ v: 1, ok: true });
    },
    WITHIN_MS,
  );
});
