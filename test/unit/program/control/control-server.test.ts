/** The control socket itself, in a folder of the test's own: limits, hostile input, events. */
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { PosternError, SILENT } from "../../../../src/base/index.ts";
import { commonMethods } from "../../../../src/program/control/common-methods.ts";
import {
  type ControlServer,
  createEventBus,
  type EventBus,
  findInstances,
  groupNumber,
  method,
  openControlClient,
  openControlServer,
} from "../../../../src/program/control/index.ts";

let folder: string;
let events: EventBus;
let stops: number;
const servers: ControlServer[] = [];
const sockets: Socket[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "control-"));
  events = createEventBus();
  stops = 0;
});
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const server of servers.splice(0)) server.close();
  rmSync(folder, { recursive: true, force: true });
});

async function serve(instance = "client"): Promise<ControlServer | undefined> {
  const status = {
    version: "0.0.0",
    role: "client",
    instance,
    pid: 1,
    uptime_s: 0,
    ready: true,
  } as const;
  let filter = "info";
  const logControl = {
    filter: () => filter,
    setFilter(text: string) {
      if (text === "loud") return { ok: false, reason: "unknown level" } as const;
      filter = text;
      return { ok: true, value: text } as const;
    },
    resetFilter() {
      filter = "info";
    },
    counters: () => ({ suppressed: 0, dropped: 0 }),
    reopen() {},
  };
  const server = await openControlServer({
    instance,
    folders: [join(folder, "nobody\0here"), folder],
    methods: {
      ...commonMethods({
        status: () => status,
        metrics: () => "",
        logControl,
        stop() {
          stops++;
        },
      }),
      big: method({}, () => "x".repeat(4 << 20)),
      defect: method({}, () => {
        throw new Error("ours");
      }),
    },
    events,
    log: SILENT,
  });
  if (server !== undefined) servers.push(server);
  return server;
}

function dial(instance = "client"): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path: join(folder, `${instance}.sock`) }, () => resolve(socket));
    socket.setEncoding("utf8").once("error", reject);
    sockets.push(socket);
  });
}

/** Lines that a connection says, until there are `count` or it is closed. */
function hear(socket: Socket, count: number): Promise<readonly unknown[]> {
  return new Promise((resolve) => {
    let text = "";
    const done = (): void => {
      socket.off("data", take);
      socket.off("close", done);
      const lines = text.split("\n").slice(0, -1);
      resolve(lines.map((line) => JSON.parse(line) as unknown));
    };
    const take = (data: unknown): void => {
      text += String(data);
      if (text.split("\n").length > count) done();
    };
    socket.on("data", take);
    socket.once("close", done);
  });
}

const isClosed = (socket: Socket): Promise<void> =>
  new Promise((resolve) => {
    if (socket.destroyed) resolve();
    else socket.once("close", () => resolve());
    socket.resume();
  });

describe("the control socket", () => {
  it("PG-107: stands in the first folder that can be written, mode 0660, and is gone after the end", async () => {
    const server = await serve();
    const path = join(folder, "client.sock");
    expect(server?.path).toBe(path);
    expect(statSync(path).mode & 0o777).toBe(0o660);
    server?.close();
    expect(existsSync(path)).toBe(false);
  });

  it("PG-107: a leftover is replaced, the socket of a program that answers is not", async () => {
    writeFileSync(join(folder, "client.sock"), "");
    expect(await serve()).toBeDefined();
    expect(await serve()).toBeUndefined();
    const socket = await dial();
    socket.write('{"id":1,"method":"status"}\n');
    expect(await hear(socket, 1)).toMatchObject([{ id: 1, result: { ready: true } }]);
  });

  it("PG-107: belongs to the group postern, if there is one", () => {
    expect(groupNumber("root:x:0:\npostern:x:987:alice\n")).toBe(987);
    expect(groupNumber("root:x:0:\npostern2:x:987:\n")).toBeUndefined();
    expect(groupNumber("postern:x::\n")).toBeUndefined();
  });

  it("PG-108: answers come in the order of the requests, each with its number", async () => {
    await serve();
    const socket = await dial();
    const lines = hear(socket, 4);
    socket.write('{"id":3,"method":"status"}\n{"id":1,"method":"nonsense"}\n');
    socket.write('{"id":2,"method":"setLogFilter","params":{"filter":"loud"}}\n{"id":9,"method":"defect"}\n');
    expect(await lines).toMatchObject([
      { id: 3, result: { role: "client" } },
      {
        id: 1,
        error: {
          code: "unknown_method",
          message: expect.stringMatching(/^[^,]*(, (?!subscribe)\w+)*, subscribe$/),
        },
      },
      { id: 2, error: { code: "bad_params", message: "unknown level" } },
      { id: 9, error: { code: "internal" } },
    ]);
  });

  it("PG-108: a parameter that the method does not know is refused", async () => {
    await serve();
    const socket = await dial();
    const lines = hear(socket, 1);
    socket.write('{"id":1,"method":"setLogFilter","params":{"filtre":"debug"}}\n');
    expect(await lines).toMatchObject([{ id: 1, error: { code: "bad_params" } }]);
  });

  it("PG-108: the third line that is no request ends the connection, the second does not", async () => {
    await serve();
    const socket = await dial();
    const lines = hear(socket, 5);
    socket.write('a\nb\n{"id":1,"method":"status"}\nc\n{"id":2,"method":"status"}\n');
    const said = await lines;
    expect(said).toHaveLength(4);
    expect(said[2]).toMatchObject({ id: 1, result: {} });
    expect(said[3]).toMatchObject({ id: null, error: { code: "bad_request" } });
  });

  it("PG-107: a line beyond 64 KiB ends the connection without an answer", async () => {
    await serve();
    const socket = await dial();
    const lines = hear(socket, 1);
    socket.write(Buffer.alloc(64 * 1024 + 1, 0x61));
    expect(await lines).toEqual([]);
  });

  it("PG-107: sixteen connections are served, the seventeenth is closed, and a place is free again", async () => {
    await serve();
    const held = await Promise.all(Array.from({ length: 16 }, () => dial()));
    await isClosed(await dial());
    held[0]?.destroy();
    await expect
      .poll(async () => {
        const socket = await dial();
        socket.write('{"id":1,"method":"status"}\n');
        return (await hear(socket, 1)).length;
      })
      .toBe(1);
  });

  it("PG-107: who asks and does not read holds one answer in memory, not all", async () => {
    await serve();
    const socket = await dial();
    socket.pause();
    const before = process.memoryUsage().rss;
    socket.write('{"id":1,"method":"big"}\n'.repeat(2000));
    const other = await dial();
    for (let id = 1; id <= 20; id++) {
      const answered = hear(other, 1);
      other.write(`{"id":${id},"method":"status"}\n`);
      expect(await answered).toMatchObject([{ id }]);
    }
    expect(process.memoryUsage().rss - before).toBeLessThan(200 << 20);
  });

  it("PG-112: after subscribe the wanted events follow, and no others", async () => {
    await serve();
    const socket = await dial();
    const lines = hear(socket, 3);
    socket.write('{"id":1,"method":"subscribe","params":{"events":["reset"]}}\n');
    await expect.poll(() => socket.bytesRead).toBeGreaterThan(0);
    events.emit({ event: "portal", data: { state: "connected" } });
    events.emit({ event: "reset", data: { reason: "a" } });
    events.emit({ event: "reset", data: { reason: "b" } });
    expect(await lines).toEqual([
      { id: 1, result: { events: ["reset"] } },
      { event: "reset", data: { reason: "a" } },
      { event: "reset", data: { reason: "b" } },
    ]);
  });

  it("PG-112: an event that does not exist cannot be subscribed to", async () => {
    await serve();
    const socket = await dial();
    const lines = hear(socket, 1);
    socket.write('{"id":1,"method":"subscribe","params":{"events":["rest"]}}\n');
    expect(await lines).toMatchObject([{ error: { code: "bad_params" } }]);
  });

  it("PG-112: a subscriber that does not read loses events, and is told how many", async () => {
    await serve();
    const socket = await dial();
    socket.write('{"id":1,"method":"subscribe"}\n');
    await expect.poll(() => socket.bytesRead).toBeGreaterThan(0);
    socket.pause();
    const reason = "r".repeat(10_000);
    for (let n = 0; n < 2_000; n++) events.emit({ event: "reset", data: { reason } });
    let text = "";
    socket.on("data", (data) => {
      text += String(data);
    });
    socket.resume();
    await expect.poll(() => text).toMatch(/{"event":"lost","data":{"count":\d+}}/);
  });

  it("PG-15: once the program stops, requests are refused and the end is told", async () => {
    const server = await serve();
    const socket = await dial();
    const lines = hear(socket, 2);
    socket.write('{"id":1,"method":"stop"}\n');
    await expect.poll(() => stops).toBe(1);
    server?.refuse("the program is stopping");
    socket.write('{"id":2,"method":"status"}\n');
    expect(await lines).toMatchObject([
      { id: 1, result: {} },
      { id: 2, error: { code: "not_ready" } },
    ]);
    server?.close();
    await isClosed(socket);
  });
});

describe("asking a running program", () => {
  it("PG-111: whoever answers is found; a leftover is not", async () => {
    await serve("one");
    await serve("two");
    writeFileSync(join(folder, "dead.sock"), "");
    expect(await findInstances([join(folder, "absent"), folder])).toEqual(["one", "two"]);
  });

  it("PG-111: answers and refusals arrive; nobody there is no instance, with the places looked at", async () => {
    await serve();
    const client = await openControlClient("client", [folder]);
    expect(await client.ask("status")).toMatchObject({ ready: true });
    expect(await client.ask("setLogFilter", { filter: "debug" })).toEqual({
      previous: "info",
      filter: "debug",
    });
    expect(await client.ask("setLogFilter")).toEqual({ previous: "debug", filter: "info" });
    await expect(client.ask("nonsense")).rejects.toThrow(PosternError);
    client.close();
    await expect(openControlClient("other", [folder])).rejects.toMatchObject({
      code: "no-instance",
      message: `no running instance 'other' (looked at ${join(folder, "other.sock")})`,
    });
  });

  it("PG-112: events are heard until the program ends", async () => {
    const server = await serve();
    const client = await openControlClient("client", [folder]);
    await client.ask("subscribe");
    events.emit({ event: "stopping", data: {} });
    server?.close();
    const heard: unknown[] = [];
    for await (const event of client.events()) heard.push(event);
    expect(heard).toEqual([{ event: "stopping", data: {} }]);
  });
});
