/** Programs whose tokens are replaced while they run, on loopback, as an ordinary user (PG-144). */
import { createSocket } from "node:dgram";
import { chmodSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Portal, startPortal } from "../../src/index.ts";
import { createToken } from "../../src/portal/derive.ts";
import { type Child, startChild } from "../../src/program/lab/index.ts";
import { systemRandom } from "../../src/program/system-random.ts";
import { eventually } from "../lib/observe.ts";
import { posternCommand } from "../lib/program.ts";
import { describeWith } from "../lib/requirements.ts";

const WITHIN_MS = 20_000;
const ROLES = ["client", "gateway", "relay"] as const;
type Role = (typeof ROLES)[number];

describeWith(["build"], "a token that is replaced while it is used", () => {
  let folder: string;
  let portal: Portal;
  const children: Child[] = [];

  /** What the portal takes, and where the program finds its own. */
  const takenFile = (role: Role): string => join(folder, `taken-${role}`);
  const tokenFile = (role: Role): string => join(folder, `token-${role}`);
  const newToken = (role: Role): string => createToken(role, systemRandom);
  const write = (path: string, text: string): void => {
    writeFileSync(`${path}.new`, `${text}\n`);
    chmodSync(`${path}.new`, 0o600);
    renameSync(`${path}.new`, path);
  };

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "postern-rotation-"));
    const config = join(folder, "portal.yaml");
    writeFileSync(
      config,
      `version: 1
sites: [{ name: Berlin, gateway_tokens: [{ name: gw, file: ${takenFile("gateway")} }] }]
relay_tokens: [{ name: relay, file: ${takenFile("relay")} }]
actors: [{ name: ci, type: service_account, tokens: [{ name: ci, file: ${takenFile("client")} }] }]
`,
    );
    for (const role of ROLES) {
      const token = newToken(role);
      write(takenFile(role), token);
      write(tokenFile(role), token);
    }
    portal = await startPortal({ dev: true, config, listen: "127.0.0.1:0" });
  });
  afterAll(async () => {
    for (const child of children) await child.stop();
    await portal?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Only what it is told: the environment has no token. */
  function start(role: Role, ownWords: readonly string[]): Child {
    const words = [role, "--api-url", portal.apiUrl ?? "", "--token-path", tokenFile(role), "--name", role];
    const state = { RUNTIME_DIRECTORY: join(folder, role), STATE_DIRECTORY: join(folder, role) };
    const { command, args } = posternCommand([...words, ...ownWords]);
    const env = { ...process.env, ...state };
    const child = startChild({ name: role, command, args, env });
    children.push(child);
    return child;
  }

  const WORDS: Readonly<Record<Role, () => Promise<readonly string[]>>> = {
    client: async () => ["--mode", "userspace", "--socks", "127.0.0.1:0"],
    gateway: async () => ["--mode", "userspace"],
    relay: async () => ["--public-ip4", "127.0.0.1", "--turn-port", String(await freePort())],
  };

  for (const role of ROLES) {
    it(`PG-144, PT-93: the ${role} goes on with what its file holds by then, and ends where that is the same`, {
      timeout: 60_000,
    }, async () => {
      const child = start(role, await WORDS[role]());
      await child.waitForLine(/INFO postern: ready /, { withinMs: WITHIN_MS });
      const next = newToken(role);
      write(tokenFile(role), next);
      write(takenFile(role), next);
      await child.waitForLine(/its file holds another one/, { withinMs: WITHIN_MS });
      const output = (): string => child.stdout() + child.stderr();
      await eventually(() => expect(output().match(/portal connected/g)).toHaveLength(2), WITHIN_MS);
      write(takenFile(role), newToken(role));
      expect(await child.wait(WITHIN_MS)).toEqual({ status: 4, signal: undefined });
      expect(output()).toMatch(/its file holds no other one/);
    });
  }
});

function freePort(): Promise<number> {
  const socket = createSocket("udp4");
  return new Promise((resolve) => {
    socket.bind(0, "127.0.0.1", () => {
      const { port } = socket.address();
      socket.close(() => resolve(port));
    });
  });
}
