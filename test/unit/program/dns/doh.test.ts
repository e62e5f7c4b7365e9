import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createSecureServer, type Http2SecureServer } from "node:http2";
import { createServer as createHttpsServer, type Server } from "node:https";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { fromBase64, ip, SILENT, toHex } from "../../../../src/base/index.ts";
import { createDohClient, type DohClient } from "../../../../src/program/dns/doh.ts";
import { plainTcp } from "../../../../src/program/portal-transport.ts";
import { hasOpenssl, makeCertificate } from "../../../lib/certificate.ts";

/** Whether it is told late that a connection has been closed, as Deno does. */
const runtime = vi.hoisted(() => ({ isLate: false }));
vi.mock("node:http2", async (original) => {
  const http2 = await original<typeof import("node:http2")>();
  const connect = (...args: Parameters<typeof http2.connect>) => {
    const session = http2.connect(...args);
    const on = session.on.bind(session);
    const later = (handle: () => void) => () => (runtime.isLate ? void setTimeout(handle, 200) : handle());
    const onLater = (name: string, handle: () => void) => on(name, name === "close" ? later(handle) : handle);
    return Object.assign(session, { on: onLater });
  };
  return { ...http2, connect };
});

/** The query of RFC 8484 §4.1.1. */
const QUERY = fromBase64("AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQAB") ?? new Uint8Array(0);

interface Answer {
  readonly status?: number;
  readonly type?: string;
  readonly age?: string;
  readonly body?: Uint8Array;
}

describe.skipIf(!hasOpenssl)("DNS over HTTPS (needs openssl)", () => {
  let folder: string;
  let cert: string;
  let key: string;
  let server: Http2SecureServer | Server;
  let client: DohClient;
  let paths: string[];
  const open = new Set<Socket>();

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "postern-doh-"));
    makeCertificate(folder, "dns.example", "DNS:dns.example");
    cert = readFileSync(join(folder, "crt"), "utf8");
    key = readFileSync(join(folder, "key"), "utf8");
  });
  afterAll(() => rmSync(folder, { recursive: true }));
  afterEach(() => {
    client.close();
    for (const socket of open) socket.destroy();
    server.close();
  });

  /** A server that answers all with the same; resolves to its URL. */
  async function serve(answer: Answer, { isOld = false, roots = [cert] } = {}): Promise<string> {
    paths = [];
    const { status = 200, type = "application/dns-message", age, body = Uint8Array.of(1, 2, 3) } = answer;
    const listener = (path: string, respond: (headers: Record<string, string>) => void): void => {
      paths.push(path);
      respond({ "content-type": type, ...(age !== undefined && { age }) });
    };
    server = isOld
      ? createHttpsServer({ cert, key }, (request, response) =>
          listener(request.url ?? "", (headers) => response.writeHead(status, headers).end(body)),
        )
      : createSecureServer({ cert, key }, (request, response) =>
          listener(request.url, (headers) => {
            response.writeHead(status, headers);
            response.end(body);
          }),
        );
    server.on("connection", (socket: Socket) => open.add(socket));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    client = createDohClient({
      openTcp: plainTcp,
      resolve: (host) => Promise.resolve(host === "dns.example" ? [ip("127.0.0.9"), ip("127.0.0.1")] : []),
      roots,
      log: SILENT,
    });
    return `https://dns.example:${(server.address() as AddressInfo).port}/dns-query`;
  }

  const ask = async (url: string): Promise<string> => {
    const result = await client
      .ask(url, QUERY, AbortSignal.timeout(10_000))
      .catch((error: Error) => ({ kind: "failed", reason: error.message }) as const);
    return result.kind === "failed" ? result.reason : `${toHex(result.message)} age ${result.ageS}`;
  };

  it("DN-71: the query is part of the URL, as in the example of RFC 8484", async () => {
    const url = await serve({ type: "Application/DNS-message; x=y", age: "30" });
    expect(await ask(url)).toBe("010203 age 30");
    expect(paths).toEqual(["/dns-query?dns=AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQAB"]);
  });

  it("DN-71: a server without HTTP/2 is asked by HTTP/1.1", async () => {
    const url = await serve({}, { isOld: true });
    expect(await ask(url)).toBe("010203 age 0");
    expect(await ask(url)).toBe("010203 age 0");
    expect(paths).toHaveLength(2);
  });

  it("DN-73: queries share a connection, and a lost one is opened anew", async () => {
    const url = await serve({});
    let connections = 0;
    server.on("secureConnection", () => connections++);
    client.want([url]);
    expect(await Promise.all([ask(url), ask(url), ask(url)])).toEqual(Array(3).fill("010203 age 0"));
    expect(connections).toBe(1);
    client.reset();
    expect(await ask(url)).toBe("010203 age 0");
    expect(connections).toBe(2);
    client.want([]);
    expect(await ask(url)).toBe("010203 age 0");
    expect(connections).toBe(3);
  });

  it.each<[string, Answer]>([
    ["status 204", { status: 204 }],
    ["status 302", { status: 302 }],
    ["status 500", { status: 500 }],
    ["media type text/html", { type: "text/html" }],
    ["the answer is too long", { body: new Uint8Array(1 << 20) }],
  ])("DN-72: %s is a failure", async (reason, answer) => {
    expect(await ask(await serve(answer))).toBe(reason);
  });

  it("DN-71: a certificate of nobody we trust is a failure", async () => {
    expect(await ask(await serve({}, { roots: [] }))).toMatch(/self-signed|issuer|verify/);
  });

  it("DN-71: a certificate for another name is a failure", async () => {
    const url = (await serve({})).replace("dns.example", "127.0.0.1");
    expect(await ask(url)).toMatch(/does not match|altnames/i);
  });

  it("DN-74: a server that is not reached is a failure, and the next query tries again", async () => {
    const url = await serve({});
    expect(await ask(url.replace("dns.example", "nowhere.example"))).not.toContain("age");
    expect(await ask(url)).toBe("010203 age 0");
  });

  it("DN-74: nothing stays open of a server that takes connections and does not go on", async () => {
    await serve({});
    const taken = new Set<Socket>();
    const silent = createServer((socket) => {
      taken.add(socket);
      // Reading is what tells that the other end has closed.
      socket.on("error", () => {}).resume();
      socket.on("close", () => taken.delete(socket));
    });
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const url = `https://dns.example:${(silent.address() as AddressInfo).port}/dns-query`;
    const asked = ask(url);
    await vi.waitFor(() => expect(taken.size).toBe(1), 10_000);
    expect(await asked).toBe("the server did not answer in time");
    await vi.waitFor(() => expect(taken.size).toBe(0), 10_000);
    silent.close();
  });

  it("DN-74: a connection that comes too late is closed", async () => {
    const url = await serve({});
    let release: (() => void) | undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    client = createDohClient({
      openTcp: async (...args) => {
        await held;
        return await plainTcp(...args);
      },
      resolve: () => Promise.resolve([ip("127.0.0.1")]),
      roots: [cert],
      log: SILENT,
    });
    expect(await ask(url)).toBe("the server did not answer in time");
    const came = once(server, "connection");
    release?.();
    const [socket] = (await came) as [Socket];
    await once(socket, "close");
  });

  it("DN-73: a connection that answers no ping is closed, and asked no more from that moment", async () => {
    const origin = await serve({});
    const [name = "", port = ""] = new URL(origin).host.split(":");
    const halves: Socket[] = [];
    const wire = createServer((near) => {
      const far = connect(Number(port), "127.0.0.1");
      halves.push(
        near.on("error", () => {}),
        far.on("error", () => {}),
      );
      near.pipe(far).pipe(near);
    });
    await new Promise<void>((resolve) => wire.listen(0, "127.0.0.1", resolve));
    const url = origin.replace(`${name}:${port}`, `${name}:${(wire.address() as AddressInfo).port}`);
    runtime.isLate = true;
    vi.useFakeTimers({
      toFake: ["setInterval", "setTimeout", "clearInterval", "clearTimeout"],
      shouldAdvanceTime: true,
    });
    try {
      expect(await ask(url)).toBe("010203 age 0");
      for (const half of halves) half.unpipe();
      const lost = ask(url);
      await vi.advanceTimersByTimeAsync(6_000);
      expect(await lost).not.toContain("age");
      expect(await ask(url)).toBe("010203 age 0");
    } finally {
      vi.useRealTimers();
      runtime.isLate = false;
      for (const half of halves) half.destroy();
      wire.close();
    }
  });
});
