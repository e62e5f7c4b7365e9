/** The real programs, asked and commanded over their control sockets (PG-107 to PG-112). */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import {
  openControlClient,
  type PeerStatus,
  type PortalServerStatus,
  type WhyView,
} from "../../src/program/control/index.ts";
import type { Child, Namespace } from "../../src/program/lab/index.ts";
import { BRIEFLY, echo, eventually } from "../lib/observe.ts";
import { createOffice, OFFICE_V4, type Office } from "../lib/office.ts";
import { metricIn, parseMetrics } from "../lib/prometheus.ts";
import { describeWith } from "../lib/requirements.ts";

/** Takes whatever is posted and prints it, a report a line. */
const COLLECTOR = `require("node:http").createServer((request, response) => {
  let body = "";
  request.on("data", (chunk) => { body += chunk; });
  request.on("end", () => { console.log(body); response.end(); });
}).listen(4318, "127.0.0.1")`;

describeWith(["netns", "tun", "nft", "build"], "programs that can be asked", () => {
  let office: Office;
  let portal: Child;
  let gateway: Child;
  let client: Child;
  let collector: Child;

  beforeAll(async () => {
    office = await createOffice();
    office.configure([{ resource: "Office" }]);
    portal = await office.startPortal();
    collector = office.gateway.start({
      name: "collector",
      command: process.execPath,
      args: ["-e", COLLECTOR],
    });
    const startGateway = office.startGateway(
      "--health-addr",
      "8080",
      "--metrics-addr",
      "8080",
      "--otlp-endpoint",
      "http://127.0.0.1:4318",
    );
    const startClient = office.startClient(
      "--metrics-addr",
      "127.0.0.1:9100",
      "--metrics-per-peer",
      "--on-event",
      'echo "$POSTERN_EVENT $(cat)" >> /run/events',
    );
    [gateway, client] = await Promise.all([startGateway, startClient]);
    await eventually(async () => expect(await echo(office.client, OFFICE_V4)).toBe("answered"), 20_000);
  }, 120_000);
  afterAll(() => office.close());

  async function ask(where: Namespace, ...args: readonly string[]) {
    const child = office.postern(where, args);
    const { status } = await child.wait(10_000);
    return { status, stdout: child.stdout(), stderr: child.stderr() };
  }

  async function statusOf<T>(where: Namespace): Promise<T> {
    const { stdout } = await ask(where, "status", "--json");
    return JSON.parse(stdout) as T;
  }

  it("PG-107: each has a socket that only its owner and its group may use", () => {
    for (const [where, name] of [
      [office.client, "client"],
      [office.gateway, "gateway"],
      [office.portal, "portal"],
    ] as const) {
      const path = join(where.runFolder, "postern", `${name}.sock`);
      expect(statSync(path).mode & 0o777).toBe(0o660);
    }
  });

  it("PG-109, PG-110: status --json is the whole of what client and gateway know", async () => {
    const status = await statusOf<PeerStatus>(office.client);
    expect(status).toMatchObject({
      role: "client",
      instance: "client",
      pid: client.pid,
      ready: true,
      id: "lab-client",
      portal: { url: "ws://203.0.113.10:8080", state: "connected", last_error: null },
      tun: { name: "tun-postern", mtu: 1280, stack: "dual" },
      sockets: { v4: 52625, v6: 52625, gso: true },
      egress: { v4: { interface: "wan", gateway: "10.30.0.1", source: "10.30.0.2" } },
      flags: { gso: true, gro: true, tun_offload: true, enobufs_retry: true },
    });
    expect(status.resources.map(({ name, status: is }) => [name, is])).toContainEqual(["Office", "online"]);
    const [connection] = status.connections;
    expect(connection).toMatchObject({ state: "connected", path: "direct", sessions: 1 });
    expect(connection?.tx_bytes).toBeGreaterThan(0);
    expect(connection?.resources).toHaveLength(1);
    const other = await statusOf<PeerStatus>(office.gateway);
    expect(other).toMatchObject({ role: "gateway", account: "lab" });
    expect(other.connections[0]?.authorizations?.[0]).toMatchObject({ name: "Office" });
  });

  it("PT-117: the portal tells who is there and how much is granted", async () => {
    const status = await statusOf<PortalServerStatus>(office.portal);
    expect(status).toMatchObject({ role: "portal", pid: portal.pid, ready: true, live_authorizations: 1 });
    expect(status.clients.map(({ external_id }) => external_id)).toEqual(["lab-client"]);
    expect(status.gateways.map(({ external_id }) => external_id)).toEqual(["lab-gateway"]);
  });

  it("PG-111: for people status is a summary with tables; resources and connections are those alone", async () => {
    const { status, stdout, stderr } = await ask(office.client, "status");
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toMatch(/^client: ready, up /);
    expect(stdout).toMatch(/^Office +172\.20\.0\.0\/16 +Berlin +online$/m);
    expect((await ask(office.client, "resources")).stdout).toMatch(/^Office +172/m);
    expect((await ask(office.client, "connections")).stdout).toMatch(
      / connected +direct +(10\.31\.0\.2|\[fd31::2\]):52625 /,
    );
  });

  it("PG-92: log changes what is logged while the program runs, and back", async () => {
    expect((await ask(office.client, "log", "ice=trace,debug")).stdout).toBe(
      "log filter is 'ice=trace,debug', was 'info'\n",
    );
    client.signal("SIGHUP");
    await client.waitForLine(/ DEBUG /, { withinMs: 10_000 });
    expect((await ask(office.client, "log")).stdout).toContain("is 'info'");
    const wrong = await ask(office.client, "log", "loud");
    expect(wrong.status).toBe(2);
    expect(wrong.stderr).toMatch(/^postern: setLogFilter: unknown level 'loud'/);
  });

  it("PG-75, PG-112: reset connects anew, and who listens hears of it", async () => {
    await eventually(async () => expect(await echo(office.client, OFFICE_V4)).toBe("answered"), 20_000);
    const listener = await openControlClient("client", [join(office.client.runFolder, "postern")]);
    await listener.ask("subscribe", { events: ["reset", "portal", "connection"] });
    expect((await ask(office.client, "reset", "--reason", "a test")).status).toBe(0);
    const heard: string[] = [];
    for await (const { event, data } of listener.events()) {
      heard.push(
        `${event} ${"reason" in data ? data.reason : ""} ${"state" in data ? data.state : ""}`.trim(),
      );
      if (event === "portal" && data.state === "connected") break;
    }
    listener.close();
    expect(heard[0]).toBe("reset a test");
    expect(heard).toContain("connection reset closed");
    await client.waitForLine(/Resetting network state \(a test\)/, { withinMs: 5_000 });
    await eventually(async () => expect(await echo(office.client, OFFICE_V4)).toBe("answered"), 20_000);
  });

  it("PG-114: metrics count what passes, by direction, reason and peer", async () => {
    const at = async (where: Namespace, url: string): Promise<string> =>
      await where.run(process.execPath, [
        "-e",
        `fetch("${url}").then((r) => r.text()).then((t) => process.stdout.write(t))`,
      ]);
    const client = parseMetrics(await at(office.client, "http://127.0.0.1:9100/metrics"));
    expect(metricIn(client, "postern_connections", 'state="connected",path="direct"')).toBe(1);
    expect(metricIn(client, "postern_packets_total", 'direction="in",plane="tun"')).toBeGreaterThan(0);
    expect(metricIn(client, "postern_packets_total", 'direction="out",plane="tun"')).toBeGreaterThan(0);
    expect(metricIn(client, "postern_dropped_total", 'reason="wg_replay",direction="in"')).toBe(0);
    expect(metricIn(client, "postern_handshakes_total", 'result="established"')).toBeGreaterThan(0);
    expect(metricIn(client, "postern_ice_duration_seconds_count", 'path="direct"')).toBeGreaterThan(0);
    expect(metricIn(client, "postern_portal_connected")).toBe(1);
    const [peer] = (await statusOf<PeerStatus>(office.client)).connections;
    expect(metricIn(client, "postern_peer_tx_bytes_total", `peer="${peer?.gid}"`)).toBeGreaterThan(0);
    const gateway = parseMetrics(await at(office.gateway, "http://127.0.0.1:8080/metrics"));
    expect(gateway.filter(({ labels }) => labels.includes("peer="))).toEqual([]);
    expect(await at(office.gateway, "http://127.0.0.1:8080/readyz")).toBe("ok\n");
    expect(await at(office.gateway, "http://127.0.0.1:8080/healthz")).toBe("ok\n");
  });

  it("PG-1: healthcheck is 0 for what is ready, 1 for what is not there", async () => {
    expect((await ask(office.gateway, "healthcheck", "gateway")).status).toBe(0);
    const absent = await ask(office.gateway, "healthcheck", "relay");
    expect(absent.status).toBe(1);
    expect(absent.stderr).toMatch(/^postern: no running instance 'relay'/);
  });

  it("PG-14: nobody there is exit 10, with the place that was looked at", async () => {
    const { status, stderr } = await ask(office.router, "status");
    expect(status).toBe(10);
    expect(stderr).toBe("postern: no running instance 'client' (looked at /run/postern/client.sock)\n");
  });

  it("PG-113: the operator's command was told what happened, in its order", async () => {
    const events = join(office.client.runFolder, "events");
    const names = (): string[] =>
      readFileSync(events, "utf8")
        .split("\n")
        .map((line) => line.split(" ")[0] ?? "");
    await eventually(() => expect(names()).toContain("reset"));
    expect(names().slice(0, 3)).toEqual(["portal", "interface", "ready"]);
    expect(readFileSync(events, "utf8")).toMatch(/^connection .*"state":"connected","path":"direct"/m);
  });

  it("PG-190, PG-192: why tells that the path is direct; then UDP is cut off", async () => {
    const direct = await ask(office.client, "why", "office");
    expect(direct.stdout).toMatch(/^[0-9a-f-]+: connected, direct path$/m);
    expect(direct.stdout).toMatch(/^ {6}in use, \d+ ms; last answer/m);
    expect(direct.stdout).toMatch(/^The path is direct\.$/m);
    const cut = (family: string, from: string, to: string): Promise<string> => {
      const rule = `rule add iif ${from} to ${to} pref 60 blackhole`;
      return office.router.run("ip", [family, ...rule.split(" ")]);
    };
    // From whatever address of the gateway: it has some in the office, too.
    await cut("-4", "client", "10.31.0.2");
    await cut("-4", "gateway", "10.30.0.2");
    await cut("-6", "client", "fd31::2");
    await cut("-6", "gateway", "fd30::2");
    await ask(office.client, "reset");
    // It takes its time to find none.
    await echo(office.client, OFFICE_V4, ...BRIEFLY);
  });

  it("PG-141: doctor examines the host, and the portal of the client that runs here, and leaves nothing", async () => {
    const seen = async (where: Namespace) => [
      await where.run("ip", ["-j", "link"]),
      await where.run("ip", ["-j", "rule"]),
    ];
    const before = await seen(office.client);
    const { status, stdout } = await ask(office.client, "doctor", "client", "--json");
    const { findings } = JSON.parse(stdout) as {
      findings: { check: string; verdict: string; says: string }[];
    };
    expect(findings.filter(({ verdict }) => verdict === "fail")).toEqual([]);
    expect(status).toBe(0);
    const says = Object.fromEntries(findings.map(({ check, says }) => [check, says]));
    expect(says).toMatchObject({
      "TUN offloads": expect.stringMatching(/^TCP/),
      "other tunnels": "a client or gateway runs already, by the device tun-postern",
      "portal name": "ws://203.0.113.10:8080 is 203.0.113.10",
      "portal answer": "healthy",
    });
    expect(says["egress"]).toContain("IPv4 wan by 10.30.0.1 as 10.30.0.2");
    expect(await seen(office.client)).toEqual(before);
    const alone = await ask(office.router, "doctor", "client");
    expect(alone.status).toBe(1);
    expect(alone.stdout).toMatch(/^fail {2}egress +no way into the internet$/m);
  });

  it("PG-190, PG-192: why tells that UDP does not pass, and what to do", async () => {
    const why = async (): Promise<WhyView | undefined> => {
      await echo(office.client, OFFICE_V4, ...BRIEFLY);
      return (JSON.parse((await ask(office.client, "why", "--json")).stdout) as WhyView[])[0];
    };
    await eventually(async () => expect((await why())?.cause).toBe("not-heard"), 60_000);
    const text = (await ask(office.client, "why")).stdout;
    expect(text).toContain("UDP of the other end has never arrived");
    expect(text).toMatch(/never answered in \d+ checks/);
    expect(text).toContain("What to do: allow UDP out at both ends");
    expect((await ask(office.client, "status")).stdout).toContain("UDP does not pass");
  }, 90_000);

  it("PG-15, PG-108: stop ends each cleanly, and the socket is gone", async () => {
    for (const [where, program] of [
      [office.client, client],
      [office.gateway, gateway],
      [office.portal, portal],
    ] as const) {
      expect((await ask(where, "stop")).status).toBe(0);
      expect((await program.wait(10_000)).status).toBe(0);
      expect(readdirSync(join(where.runFolder, "postern"))).toEqual([]);
    }
    expect(readFileSync(join(office.client.runFolder, "events"), "utf8")).toMatch(/^stopping \{/m);
  });

  it("PG-116, PG-26, PT-63: the gateway's last report tells who it is and to which account it belongs", () => {
    const report = JSON.parse(collector.stdout().trim().split("\n").at(-1) ?? "");
    const [{ resource, scopeMetrics }] = report.resourceMetrics;
    const attributes = Object.fromEntries(
      resource.attributes.map(({ key, value }: { key: string; value: { stringValue: string } }) => [
        key,
        value.stringValue,
      ]),
    );
    expect(attributes).toMatchObject({
      "service.name": "postern-gateway",
      "service.instance.id": "lab-gateway",
      "postern.account_slug": "lab",
      "os.type": "linux",
    });
    const names = scopeMetrics[0].metrics.map(({ name }: { name: string }) => name);
    expect(names).toContain("postern_packets_total");
  });
});
