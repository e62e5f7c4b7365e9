/** The little HTTP server, over real sockets: what it answers, and what strangers can do to it. */
import { connect } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { formatSocketAddress, type Log, SILENT } from "../../../../src/base/index.ts";
import { openHttpService, parseServiceAddress } from "../../../../src/program/http-service.ts";
import { openServices, sample } from "../../../../src/program/metrics/index.ts";
import { plainTcp } from "../../../../src/program/portal-transport.ts";

const opened: { close(): void | Promise<void> }[] = [];
afterEach(async () => {
  for (const one of opened.splice(0)) await one.close();
});

/** A log that notes the addresses which are served, and warnings. */
function listen() {
  const addresses: string[] = [];
  const warnings: string[] = [];
  const log: Log = {
    ...SILENT,
    info: (_event, fields) => addresses.push(String(fields?.["address"])),
    warn: (event) => warnings.push(event),
  };
  return { addresses, warnings, log };
}

async function serve(options: Parameters<typeof openServices>[0], trouble: string | undefined = undefined) {
  const heard = listen();
  const services = await openServices(options, {
    samples: () => [sample("postern_ready", 1)],
    unhealthy: () => undefined,
    unready: () => trouble,
    push: { attributes: () => ({}), openTcp: plainTcp, caFile: undefined, env: {} },
    log: heard.log,
  });
  opened.push(services);
  return heard;
}

const get = async (address: string | undefined, path: string, init: RequestInit = {}) => {
  const response = await fetch(`http://${address}${path}`, init);
  return { status: response.status, type: response.headers.get("content-type"), body: await response.text() };
};

/** What comes back for these bytes, until the connection ends. */
function talk(address: string | undefined, bytes: string, withinMs = 15_000): Promise<string> {
  const port = Number(address?.split(":").at(-1));
  return new Promise((resolve, reject) => {
    let text = "";
    const socket = connect({ host: "127.0.0.1", port }, () => socket.write(bytes));
    const timer = setTimeout(() => reject(new Error("the connection stays open")), withinMs);
    socket.on("data", (chunk) => {
      text += String(chunk);
    });
    socket.on("error", () => socket.destroy());
    socket.once("close", () => {
      clearTimeout(timer);
      resolve(text);
    });
  });
}

describe("addresses of services", () => {
  it("PG-114: a port alone means loopback; an address is taken as it is; the rest is exit 2", () => {
    const text = (given: string) => formatSocketAddress(parseServiceAddress("--metrics-addr", given));
    expect(text("9100")).toBe("127.0.0.1:9100");
    expect(text("0.0.0.0:9100")).toBe("0.0.0.0:9100");
    expect(text("[::1]:9100")).toBe("[::1]:9100");
    for (const wrong of ["", "localhost:9100", "127.0.0.1", "127.0.0.1:70000", "99999"]) {
      expect(() => parseServiceAddress("--metrics-addr", wrong), wrong).toThrow(
        expect.objectContaining({ code: "usage" }),
      );
    }
  });

  it("PG-114: beyond loopback metrics are served with a warning", async () => {
    expect((await serve({ metricsAddr: "127.0.0.1:0" })).warnings).toEqual([]);
    expect((await serve({ metricsAddr: "0.0.0.0:0" })).warnings).toHaveLength(1);
  });
});

describe("metrics and health over HTTP", () => {
  it("PG-114: /metrics is text format 0.0.4, for GET and HEAD", async () => {
    const { addresses } = await serve({ metricsAddr: "127.0.0.1:0" });
    const answer = await get(addresses[0], "/metrics?x=1");
    expect(answer).toMatchObject({ status: 200, type: "text/plain; version=0.0.4; charset=utf-8" });
    expect(answer.body).toContain("\npostern_ready 1\n");
    expect(await get(addresses[0], "/metrics", { method: "HEAD" })).toMatchObject({ status: 200, body: "" });
  });

  it("PG-85: ok, or 503 with the reason; other paths 404, other methods 405", async () => {
    const healthy = await serve({ healthAddr: "127.0.0.1:0" });
    expect(await get(healthy.addresses[0], "/readyz")).toMatchObject({ status: 200, body: "ok\n" });
    expect(await get(healthy.addresses[0], "/healthz")).toMatchObject({ status: 200, body: "ok\n" });
    expect(await get(healthy.addresses[0], "/metrics")).toMatchObject({ status: 404 });
    expect(await get(healthy.addresses[0], "/constructor")).toMatchObject({ status: 404 });
    expect(await get(healthy.addresses[0], "/readyz", { method: "POST" })).toMatchObject({ status: 405 });
    const starting = await serve({ healthAddr: "127.0.0.1:0" }, "starting");
    expect(await get(starting.addresses[0], "/readyz")).toMatchObject({ status: 503, body: "starting\n" });
  });

  it("PG-85, PG-114: both may have one address", async () => {
    const probe = await serve({ metricsAddr: "127.0.0.1:0" });
    for (const one of opened.splice(0)) one.close();
    const address = probe.addresses[0] ?? "";
    await serve({ metricsAddr: address, healthAddr: address });
    expect((await get(address, "/metrics")).status).toBe(200);
    expect((await get(address, "/healthz")).status).toBe(200);
  });

  it("PG-14: an address that is taken is said, with the option to change", async () => {
    const { addresses } = await serve({ metricsAddr: "127.0.0.1:0" });
    await expect(serve({ metricsAddr: addresses[0] ?? "" })).rejects.toMatchObject({
      code: "socket-listen",
      hint: "choose another address with --metrics-addr",
    });
  });

  it("PG-85: a head beyond 4 KiB, or what is no HTTP, ends the connection", async () => {
    const { addresses } = await serve({ healthAddr: "127.0.0.1:0" });
    const long = `GET /healthz HTTP/1.1\r\nHost: x\r\nX: ${"x".repeat(5000)}\r\n\r\n`;
    expect(await talk(addresses[0], long)).not.toContain("200");
    expect(await talk(addresses[0], "\0\0\0\r\n\r\n")).not.toContain("200");
    expect((await get(addresses[0], "/healthz")).status).toBe(200);
  });

  it("PG-18: a document that cannot be made ends its own request only", async () => {
    const { log, addresses } = listen();
    opened.push(
      await openHttpService(
        "--metrics-addr",
        parseServiceAddress("--metrics-addr", "0"),
        {
          "/broken": () => {
            throw new Error("ours");
          },
          "/fine": () => ({ body: "fine" }),
        },
        log,
      ),
    );
    await expect(get(addresses[0], "/broken")).rejects.toThrow();
    expect((await get(addresses[0], "/fine")).body).toBe("fine");
  });
});
