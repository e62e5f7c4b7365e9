import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Child, createLab, type Lab, type Namespace } from "../../src/program/lab/index.ts";
import { captureHost, type HostSnapshot } from "../lib/leftovers.ts";
import { postern, posternCommand } from "../lib/program.ts";
import { describeWith, missingRequirement } from "../lib/requirements.ts";

const KEY = "aEFXZG0ig3ohmMU2yQ0vL1g5AqfKQH2xSg3Jc0Dm2Ek=";
const PORTAL = "ws://127.0.0.1:8080";
const WITHIN_MS = 25_000;

/** A file in the namespace's `/run`, readable by its owner only. */
function writeFile(end: Namespace, name: string, text: string): string {
  const path = join(end.runFolder, name);
  writeFileSync(path, text);
  chmodSync(path, 0o600);
  return `/run/${name}`;
}

describeWith(["netns", "tun", "build"], "what cannot be started says so in one line", () => {
  let lab: Lab;
  let end: Namespace;
  let portal: Child;
  let clean: HostSnapshot;

  const start = (args: readonly string[], env: Record<string, string> = {}): Child =>
    end.start({
      name: args[0] ?? "postern",
      ...posternCommand(args),
      env: { PATH: process.env["PATH"], ...env },
    });

  /** Runs a command line to its end: its status and the line that begins with `postern:`. */
  const refusal = async (args: readonly string[], env: Record<string, string> = {}) => {
    const child = start(args, env);
    const { status } = await child.wait(WITHIN_MS);
    const lines = child
      .stderr()
      .split("\n")
      .filter((line) => line.startsWith("postern: "));
    return { status, lines };
  };

  beforeAll(async () => {
    lab = createLab();
    end = await lab.add("host");
    portal = start(["portal", "--dev"]);
    await portal.waitForLine(/^ready$/, { withinMs: WITHIN_MS });
    clean = await captureHost(end);
  });
  afterAll(() => lab.close());

  it.each([
    [
      "no token",
      3,
      ["client", "-u", PORTAL],
      {},
      /no token in POSTERN_TOKEN and none in \/etc\/postern\/client-token/,
    ],
    [
      "a wrong token, client",
      4,
      ["client", "-u", PORTAL, "--id", "x"],
      { POSTERN_TOKEN: "w" },
      /portal refused the token/,
    ],
    [
      "a wrong token, gateway",
      4,
      ["gateway", "-u", PORTAL, "--id", "x"],
      { POSTERN_TOKEN: "w" },
      /portal refused the token/,
    ],
    ["no URL", 2, ["client"], {}, /--api-url is required/],
    [
      "a URL of another kind",
      2,
      ["gateway", "-u", "ftp://x"],
      {},
      /'ftp:\/\/x' is not a ws, wss, http or https URL/,
    ],
    [
      "a taken portal port",
      8,
      ["portal", "--dev"],
      {},
      /127\.0\.0\.1:8080.*address already in use.*--listen/,
    ],
    ["no file, portal", 3, ["portal", "--dev", "--config", "/run/none"], {}, /cannot read \/run\/none/],
    ["no file, wg", 3, ["wg", "/run/none.conf"], {}, /cannot read \/run\/none\.conf/],
  ] as const)("PG-14: %s: exit %i", async (_, status, args, env, line) => {
    const result = await refusal(args, env);
    expect(result.lines).toEqual([expect.stringMatching(line)]);
    expect(result.status).toBe(status);
  });

  it("PG-14: files that are wrong name the line: exit 2", async () => {
    const conf = writeFile(end, "bad.conf", "[Interface]\nPrivateKey = nonsense\n");
    expect(await refusal(["wg", conf])).toEqual({
      status: 2,
      lines: [expect.stringMatching(/\/run\/bad\.conf:2: PrivateKey/)],
    });
    const yaml = writeFile(end, "bad.yaml", "version: 1\nresorces: []\n");
    expect(await refusal(["portal", "--dev", "--config", yaml])).toEqual({
      status: 2,
      lines: ["postern: /run/bad.yaml:2:1: unknown key 'resorces'; did you mean 'resources'?"],
    });
  });

  it.skipIf(missingRequirement(["users"]) !== undefined)("PG-14: no privilege: exit 5", async () => {
    const conf = writeFile(end, "open.conf", `[Interface]\nPrivateKey = ${KEY}\n`);
    chmodSync(join(end.runFolder, "open.conf"), 0o644);
    chmodSync(join(end.runFolder, ".."), 0o755);
    const child = end.start({
      name: "wg as nobody",
      command: "setpriv",
      args: ["--reuid", "65534", "--regid", "65534", "--clear-groups", ...postern("wg", conf)],
    });
    const { status } = await child.wait(WITHIN_MS);
    // Where others cannot read the clone, it is node that cannot start.
    if (child.stderr().includes("MODULE_NOT_FOUND") || child.stderr().includes("EACCES")) return;
    expect(child.stderr()).toMatch(/^postern: .*needs root or CAP_NET_ADMIN/m);
    expect(status).toBe(5);
  });

  it("PG-14: a port, a name and a socket that are taken: exit 8, 8, 9; and nothing is left", async () => {
    const conf = writeFile(
      end,
      "one.conf",
      `[Interface]\nPrivateKey = ${KEY}\nListenPort = 7777\nAddress = 10.7.0.1/24\n`,
    );
    const holder = start(["wg", conf]);
    await holder.waitForLine(/^ready$/, { withinMs: WITHIN_MS });
    const other = writeFile(end, "two.conf", `[Interface]\nPrivateKey = ${KEY}\nListenPort = 7777\n`);
    expect(await refusal(["wg", other])).toEqual({
      status: 8,
      lines: [expect.stringMatching(/cannot bind UDP port 7777: address in use.*ListenPort/)],
    });
    const again = await refusal(["wg", conf]);
    expect([8, 9]).toContain(again.status);
    expect(again.lines).toEqual([expect.stringMatching(/one.*in use|in use.*one/)]);
    expect(await holder.stop()).toEqual({ status: 0, signal: undefined });

    await end.ip("link add two type veth peer name three");
    const named = await refusal(["wg", other]);
    expect(named.status).toBe(8);
    expect(named.lines).toEqual([expect.stringMatching(/two/)]);
    await end.ip("link del two");
    const after = await captureHost(end);
    const withoutFiles = ({ runFiles: _, ...rest }: HostSnapshot) => rest;
    expect(withoutFiles(after)).toEqual(withoutFiles(clean));
    const sockets = ({ runFiles }: HostSnapshot) => runFiles.filter((path) => path.endsWith(".sock"));
    expect(sockets(after)).toEqual(sockets(clean));
  });
});
