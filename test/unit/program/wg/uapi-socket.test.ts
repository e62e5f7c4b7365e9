/** The status socket itself (WG-65, WG-67), in a folder of the test's own. */
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { SILENT } from "../../../../src/base/index.ts";
import {
  openUapiServer,
  requireUnused,
  type UapiServer,
  uapiPath,
} from "../../../../src/program/wg/uapi-socket.ts";

let folder: string;
let vanished: Promise<void>;
const servers: UapiServer[] = [];
const sockets: Socket[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "uapi-"));
});
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const server of servers.splice(0)) server.close();
  rmSync(folder, { recursive: true, force: true });
});

async function serve(): Promise<void> {
  let tell: () => void = () => {};
  vanished = new Promise((resolve) => {
    tell = resolve;
  });
  const server = await openUapiServer({
    name: "wg0",
    folder,
    answer: async (request) => (request.kind === "get" ? "errno=0\n\n" : `lines=${request.lines.length}\n\n`),
    vanished: tell,
    log: SILENT,
  });
  servers.push(server);
}

function dial(): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path: uapiPath("wg0", folder) }, () => resolve(socket));
    socket.setEncoding("utf8").once("error", reject);
    sockets.push(socket);
  });
}

/** What a connection says until `characters` have come or it is closed. */
function hear(socket: Socket, characters: number): Promise<string> {
  return new Promise((resolve) => {
    let text = "";
    socket.on("data", (data) => {
      text += String(data);
      if (text.length >= characters) resolve(text);
    });
    socket.once("close", () => resolve(text));
  });
}

it("WG-65: only its owner may use it", async () => {
  await serve();
  expect(statSync(uapiPath("wg0", folder)).mode & 0o777).toBe(0o600);
});

it("WG-66: several requests follow each other on a connection, answered in order", async () => {
  await serve();
  const socket = await dial();
  const answers = "errno=0\n\nlines=2\n\nerrno=0\n\n";
  const heard = hear(socket, answers.length);
  socket.write("get=1\n\nset=1\na=1\nb=2\n\nget=1\n\n");
  expect(await heard).toBe(answers);
});

it("WG-66: an unknown first line closes the connection without answer", async () => {
  await serve();
  const socket = await dial();
  const heard = hear(socket, 1);
  socket.write("hello\n");
  expect(await heard).toBe("");
});

it("WG-67: sixteen connections are served, the next is closed", async () => {
  await serve();
  const open = await Promise.all(Array.from({ length: 16 }, dial));
  for (const socket of open) {
    const heard = hear(socket, 9);
    socket.write("get=1\n\n");
    expect(await heard).toBe("errno=0\n\n");
  }
  expect(await hear(await dial(), 1)).toBe("");
  open[0]?.destroy();
  await new Promise((resolve) => open[0]?.once("close", resolve));
  // The server hears of it a moment later.
  for (let i = 0; ; i++) {
    const socket = await dial();
    const heard = hear(socket, 9);
    socket.on("error", () => {});
    socket.write("get=1\n\n");
    if ((await heard) === "errno=0\n\n") break;
    expect(i).toBeLessThan(100);
  }
});

it("WG-65: a socket that answers is in use, a left-over file is not", async () => {
  await requireUnused("wg0", folder);
  writeFileSync(uapiPath("wg0", folder), "");
  await requireUnused("wg0", folder);
  await serve();
  await expect(requireUnused("wg0", folder)).rejects.toMatchObject({ code: "in-use" });
});

it("WG-65: it is unlinked at the end, and its loss is noticed", async () => {
  await serve();
  servers.pop()?.close();
  expect(existsSync(uapiPath("wg0", folder))).toBe(false);
  await serve();
  rmSync(uapiPath("wg0", folder));
  await vanished;
});
