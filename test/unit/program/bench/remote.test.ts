import { connect } from "node:net";
import { afterEach, describe, expect, it, vi } from "vitest";
import { measureAgainst } from "../../../../src/program/bench/remote-client.ts";
import { readLines, sign } from "../../../../src/program/bench/remote-protocol.ts";
import { serveOnce } from "../../../../src/program/bench/remote-server.ts";

const ends: AbortController[] = [];
afterEach(() => {
  for (const end of ends.splice(0)) end.abort();
});

interface Served {
  readonly port: number;
  readonly secret: string;
  readonly ended: Promise<void>;
  readonly said: string[];
}

async function serve(): Promise<Served> {
  const stop = new AbortController();
  ends.push(stop);
  const printed: string[] = [];
  const said: string[] = [];
  const print = (line: string) => printed.push(line);
  const ended = serveOnce({
    listen: "127.0.0.1:0",
    print,
    say: (line) => said.push(line),
    signal: stop.signal,
  });
  await expect.poll(() => printed.length).toBe(2);
  const port = Number(/:(\d+)$/.exec(printed[0] ?? "")?.[1]);
  return { port, secret: (printed[1] ?? "").replace("POSTERN_BENCH_SECRET=", ""), ended, said };
}

function plan(port: number, secret: string) {
  const stop = new AbortController();
  ends.push(stop);
  const size = { seconds: 0.2, pairs: 1, streams: [1, 3] };
  return { host: `127.0.0.1:${port}`, secret, ...size, say: () => {}, signal: stop.signal };
}

describe("PG-204: a run against a remote end", () => {
  it("measures both directions, datagrams and round trips, and then the far end is over", async () => {
    const { port, secret, ended, said } = await serve();
    const cells = await measureAgainst(plan(port, secret));
    await ended;
    expect(cells.map(({ name }) => name)).toEqual([
      "tcp-up-1",
      "tcp-down-1",
      "tcp-up-3",
      "tcp-down-3",
      "udp-1200",
      "ping-idle",
      "ping-loaded",
    ]);
    for (const cell of cells.filter(({ name }) => name !== "udp-1200")) {
      expect(cell.samples[0]?.value, cell.name).toBeGreaterThan(0);
    }
    expect(said.at(-1)).toBe("ended: the run is over");
  });

  it("refuses another secret, and waits on", async () => {
    const { port, said } = await serve();
    await expect(measureAgainst(plan(port, "0".repeat(32)))).rejects.toThrow("it refuses this secret");
    expect(said).toEqual([expect.stringMatching(/^refused .*: it has another secret$/)]);
    const again = connect(port, "127.0.0.1");
    await new Promise((resolve) => again.once("data", resolve));
    again.destroy();
  });

  it("answers nothing but its greeting to who says nothing useful", async () => {
    const { port } = await serve();
    const socket = connect(port, "127.0.0.1");
    let heard = "";
    socket.on("data", (bytes) => {
      heard += bytes.toString();
    });
    socket.on("error", () => {});
    socket.write("x".repeat(1000));
    await new Promise((resolve) => socket.on("close", resolve));
    expect(heard).toMatch(/^postern-bench\/1 [0-9a-f]{32}\n$/);
  });

  it("says that nobody is there", async () => {
    const { port, ended } = await serve();
    for (const end of ends.splice(0)) end.abort();
    await ended;
    await expect(measureAgainst(plan(port, "x"))).rejects.toThrow(
      /no benchmark with 127\.0\.0\.1, port \d+: .*ECONNREFUSED/,
    );
  });

  it.each([0, 65_536])("takes port %i for none", async (port) => {
    await expect(measureAgainst(plan(port, "x"))).rejects.toThrow(`127.0.0.1:${port} is no host`);
  });

  it("ends a run a quarter of an hour behind its beginning, however long it waited for it", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    try {
      const { port, secret, ended, said } = await serve();
      vi.advanceTimersByTime(9 * 60_000);
      const socket = connect(port, "127.0.0.1");
      const lines = readLines(socket);
      const nonce = (await lines.next()).split(" ")[1] ?? "";
      socket.write(`control ${sign(secret, nonce, "control")}\nping\n`);
      expect(await lines.next()).toBe("pong");
      vi.advanceTimersByTime(15 * 60_000 - 1);
      expect(said).toHaveLength(1);
      vi.advanceTimersByTime(1);
      await ended;
      expect(said.at(-1)).toBe("ended: a run may take 15 minutes");
      socket.destroy();
    } finally {
      vi.useRealTimers();
    }
  });

  it.each(["0.0.0.0:5202", "192.0.2.1:5202", "[2001:db8::1]:0"])(
    "listens at no address like %s",
    async (listen) => {
      const nothing = { print: () => {}, say: () => {}, signal: new AbortController().signal };
      await expect(serveOnce({ listen, ...nothing })).rejects.toThrow("is no address of a tunnel");
    },
  );
});
