/** Files that hold tokens: the portal follows them as it follows its own (PT-114). */
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createToken } from "../../../src/portal/derive.ts";
import { connectPeer, RANDOM, startPortal, type TestPortal } from "./portal-peer.ts";

let folder: string;
let portal: TestPortal;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "reload-"));
});
afterEach(async () => {
  await portal.stop();
  rmSync(folder, { recursive: true });
});

const configOf = (file: string): string => `version: 1
sites: [{ name: berlin, gateway_tokens: [{ name: first, file: ${file} }] }]
`;

async function start(tokenFile: string): Promise<void> {
  const config = join(folder, "portal.yaml");
  writeFileSync(config, configOf(tokenFile));
  portal = await startPortal({ config, dev: true });
}

const connect = (token: string, id: string) => connectPeer(portal.url, { role: "gateway", token, id });

/** Whoever had the token that has gone is disconnected; the new one lets in. */
async function expectRotation(before: string, after: string, rotate: () => void): Promise<void> {
  const old = await connect(before, "old");
  await old.next("init");
  rotate();
  expect(await old.closed()).toBeGreaterThanOrEqual(1000);
  const fresh = await connect(after, "fresh");
  await fresh.next("init");
  fresh.socket.terminate();
}

describe("a file that holds a token", () => {
  it("PT-114: is read again when it changes, in a folder of its own too", async () => {
    const [before, after] = [createToken("gateway", RANDOM), createToken("gateway", RANDOM)];
    mkdirSync(join(folder, "secrets"));
    const path = join(folder, "secrets", "berlin");
    writeFileSync(path, `${before}\n`);
    await start(path);
    await expectRotation(before, after, () => {
      writeFileSync(`${path}.new`, `${after}\n`);
      renameSync(`${path}.new`, path);
    });
  });

  it("PT-114: is read again when it is a secret that Kubernetes mounts", async () => {
    const [before, after] = [createToken("gateway", RANDOM), createToken("gateway", RANDOM)];
    const secrets = join(folder, "secrets");
    for (const [version, token] of [
      ["one", before],
      ["two", after],
    ] as const) {
      mkdirSync(join(secrets, version), { recursive: true });
      writeFileSync(join(secrets, version, "berlin"), token);
    }
    symlinkSync("one", join(secrets, "..data"));
    symlinkSync("..data/berlin", join(secrets, "berlin"));
    await start(join(secrets, "berlin"));
    await expectRotation(before, after, () => {
      symlinkSync("two", join(secrets, "..next"));
      renameSync(join(secrets, "..next"), join(secrets, "..data"));
    });
  });
});
