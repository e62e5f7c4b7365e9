/** Tokens in files that are replaced while a program runs (PG-144); `test/system/token-rotation.test.ts` has all roles. */
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type Log, SILENT, secret } from "../../../src/base/index.ts";
import { createToken } from "../../../src/portal/derive.ts";
import { tokenOf } from "../../../src/program/stored-token.ts";
import { eventually } from "../../lib/observe.ts";
import { startCommand } from "./command-in-process.ts";
import { createIo, RANDOM, startPortal } from "./portal-peer.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "postern-token-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

function write(path: string, token: string, mode = 0o600): void {
  writeFileSync(`${path}.new`, `${token}\n`, { mode });
  renameSync(`${path}.new`, path);
}

const ANOTHER = "info the portal refuses the token; its file holds another one, which is tried";
const THE_SAME = "info the portal refuses the token, and its file holds no other one";
const UNREADABLE = "warn the portal refuses the token, and its file cannot be read";

function access(env: Readonly<Record<string, string>>, variable?: string) {
  const said: string[] = [];
  const log: Log = {
    ...SILENT,
    info: (event) => said.push(`info ${event}`),
    warn: (event) => said.push(`warn ${event}`),
  };
  const io = { ...createIo(env), log, token: variable === undefined ? undefined : secret(variable) };
  const { token, askToken } = tokenOf(io, "gateway", join(folder, "token"));
  return { token: token.reveal(), said, ask: async () => (await askToken?.(token))?.reveal() };
}

it("PG-144: a file is read again, once for each refusal, and the log says what was found", async () => {
  const path = join(folder, "token");
  write(path, "first");
  const { token, said, ask } = access({});
  expect(token).toBe("first");
  expect(await ask()).toBe("first");
  write(path, "second");
  expect(await ask()).toBe("second");
  rmSync(path);
  await expect(ask()).rejects.toMatchObject({ code: "token-missing" });
  write(path, "third", 0o644);
  await expect(ask()).rejects.toMatchObject({ code: "token-file" });
  expect(said).toEqual([THE_SAME, ANOTHER, UNREADABLE, UNREADABLE]);
});

it("PG-144, PG-19: so is a file that the variable names, or a credential; a value of its own is all there is", async () => {
  const named = join(folder, "named");
  write(named, "first");
  const byVariable = access({}, named);
  // It is a file's name, also when there is no such file any more.
  rmSync(named);
  await expect(byVariable.ask()).rejects.toMatchObject({ code: "token-missing" });
  const credentials = join(folder, "credentials");
  mkdirSync(credentials);
  write(join(credentials, "POSTERN_TOKEN"), "first");
  const byCredential = access({ CREDENTIALS_DIRECTORY: credentials });
  write(join(credentials, "POSTERN_TOKEN"), "second");
  expect(await byCredential.ask()).toBe("second");
  expect(await access({}, "value").ask()).toBeUndefined();
});

it("PG-144, PT-93: a client whose token ends goes on with what its file holds by then, else it ends", async () => {
  const [config, taken, path] = ["portal.yaml", "taken", "token"].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  writeFileSync(
    config,
    `version: 1\nactors: [{ name: ci, type: service_account, tokens: [{ name: ci, file: ${taken} }] }]\n`,
  );
  const [first, second, third] = [1, 2, 3].map(() => createToken("client", RANDOM));
  write(taken, first ?? "");
  write(path, first ?? "");
  const portal = await startPortal({ config });
  const words = ["--api-url", portal.url, "--token-path", path, "--mode", "userspace", "--sockets", "plain"];
  const client = startCommand("client", [...words, "--socks", "127.0.0.1:0"], { folder });
  const times = (event: string): number => client.logged.filter((one) => one.event === event).length;
  await eventually(() => expect(times("portal connected")).toBe(1));
  write(path, second ?? "");
  write(taken, second ?? "");
  await eventually(() => expect(times("portal connected")).toBe(2));
  write(taken, third ?? "");
  expect(await client.ended).toBe("auth");
  expect(client.logged.map(({ level, event }) => `${level} ${event}`)).toContain(THE_SAME);
  await portal.stop();
});
