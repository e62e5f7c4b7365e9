/** Who reached what, and how much went through: flow logs and `postern flows` of the real programs (TN-91). */
import { afterAll, beforeAll, expect, it } from "vitest";
import type { RunningFlowView } from "../../src/program/control/index.ts";
import type { Child } from "../../src/program/lab/index.ts";
import { echo, eventually, tunnelAddresses } from "../lib/observe.ts";
import {
  API_URL,
  createOffice,
  OFFICE_V4,
  OFFICE_V6,
  type Office,
  START_WITHIN_MS,
  VAULT,
} from "../lib/office.ts";
import { metricIn, parseMetrics } from "../lib/prometheus.ts";
import { describeWith } from "../lib/requirements.ts";

const SENTINEL = "100.100.111.1";
const SITE = "wiki.corp.example";
const SINK = "9000";
const METRICS = "9464";
/** Where nobody listens: the flow is one of the client. */
const DATAGRAMS = "9001";
/** What TCP may send again on a busy machine, as a part of the whole. */
const AGAIN = 0.2;
const timeout = 60_000;

type Line = Readonly<Record<string, unknown>>;

describeWith(["netns", "tun", "nft", "ipv6", "build"], "flow logs of a gateway", () => {
  let office: Office;
  let gateway: Child;
  let clientAddresses: readonly string[] = [];

  beforeAll(async () => {
    office = await createOffice();
    office.configure([{ resource: "Wiki" }, { resource: "Office6" }, { resource: "Vault" }]);
    await office.startPortal();
    const server = office.traffic(office.resource, "serve", "80");
    office.traffic(office.resource, "sink", SINK);
    const names = office.traffic(office.resource, "names", OFFICE_V4);
    await names.waitForLine(/^listening$/, { withinMs: 10_000, stream: "stdout" });
    office.useNameServer(office.gateway, OFFICE_V4);
    const args = ["--id", "lab-gateway", "--flow-logs", "--log-format", "json", "--metrics-addr", METRICS];
    gateway = office.postern(office.gateway, ["gateway", "--api-url", API_URL, ...args], {
      POSTERN_TOKEN: office.tokens.gateway,
    });
    await gateway.waitForLine(/"msg":"ready"/, { withinMs: START_WITHIN_MS });
    await office.startClient();
    office.useNameServer(office.client, SENTINEL);
    await server.waitForLine(/^serving (\S+)$/, { withinMs: 10_000 });
    clientAddresses = await tunnelAddresses(office.client);
  }, 120_000);
  afterAll(() => office?.close());

  const lines = (): readonly Line[] =>
    gateway
      .stderr()
      .split("\n")
      .filter((line) => line.includes('"target":"flow_logs.'))
      .map((line) => JSON.parse(line) as Line);
  const lineOf = (fields: Line): Promise<Line> =>
    eventually(() => {
      const found = lines().find((line) =>
        Object.entries(fields).every(([name, value]) => line[name] === value),
      );
      if (found === undefined) throw new Error(`no flow with ${JSON.stringify(fields)}`);
      return found;
    }, 20_000);

  interface Transfer {
    readonly port: number;
    readonly sent: number;
    readonly received: number;
  }

  /** Fetches a page, and says what curl counted of it. */
  async function curl(url: string): Promise<Transfer> {
    const format = "%{local_port} %{size_request} %{size_header} %{size_download}\n";
    const args = ["--silent", "--max-time", "20", "--output", "/dev/null", "--write-out", format, url];
    const child = office.program(office.client, "curl", "-4", ...args);
    expect((await child.wait(30_000)).status).toBe(0);
    const [port = 0, sent = 0, header = 0, body = 0] = child.stdout().trim().split(" ").map(Number);
    return { port, sent, received: header + body };
  }

  function expectBytes(line: Line, { sent, received }: Omit<Transfer, "port">): void {
    const isAbout = (value: unknown, bytes: number): void => {
      expect(value).toBeGreaterThanOrEqual(bytes);
      expect(value).toBeLessThanOrEqual(bytes * (1 + AGAIN));
    };
    isAbout(line["tx_bytes"], sent);
    isAbout(line["rx_bytes"], received);
    expect(line["tx_packets"]).toBeGreaterThanOrEqual(4);
    expect(line["rx_packets"]).toBeGreaterThan(received / 1280);
    const [start, last, end] = ["start", "last_packet", "end"].map((name) => Date.parse(String(line[name])));
    expect(end).toBeGreaterThanOrEqual(start ?? Number.POSITIVE_INFINITY);
    expect(last).toBeGreaterThanOrEqual(start ?? Number.POSITIVE_INFINITY);
    expect(Math.abs((end ?? 0) - Date.now())).toBeLessThan(timeout);
  }

  it("TN-91, PG-104, TS-30 no. 13: a download by name is one line: who, what, by which path, how much", {
    timeout,
  }, async () => {
    const transfer = await curl(`http://${SITE}/`);
    const line = await lineOf({ inner_domain: SITE, inner_src_port: transfer.port });
    expectBytes(line, transfer);
    expect(line).toMatchObject({
      ...{ target: "flow_logs.tcp", resource_name: "Wiki", resource_address: "*.corp.example" },
      ...{ inner_dst_ip: OFFICE_V4, inner_dst_port: 80, actor_name: "ci" },
      outer_src_ip: expect.stringMatching(/^(10\.30\.0\.2|fd30::2)$/),
      outer_dst_ip: expect.stringMatching(/^(10\.31\.0\.2|fd31::2)$/),
    });
    expect(clientAddresses).toContain(line["inner_src_ip"]);
    for (const name of ["client_id", "resource_id", "actor_id"])
      expect(line[name], name).toMatch(/^[0-9a-f-]{36}$/);
  });

  it("TN-91, TN-110: with flow logs a network without filters goes by flows as well, exactly counted", {
    timeout,
  }, async () => {
    const transfer = await curl(`http://${VAULT}/`);
    const line = await lineOf({ inner_dst_ip: VAULT, inner_src_port: transfer.port });
    expectBytes(line, transfer);
    expect(line).toMatchObject({ resource_name: "Vault", resource_address: "172.21.0.0/16" });
    expect(line).not.toHaveProperty("inner_domain");
  });

  it("TN-91: no line for an echo, nor for the gateway's own services", { timeout }, async () => {
    expect(await echo(office.client, OFFICE_V6)).toBe("answered");
    const [own = ""] = await tunnelAddresses(office.gateway);
    expect(await echo(office.client, own)).toBe("answered");
    await curl(`http://${VAULT}/`);
    expect(lines().filter(({ inner_dst_ip: ip }) => ip === OFFICE_V6 || ip === own)).toEqual([]);
  });

  const ask = async (...args: readonly string[]): Promise<string> => {
    const child = office.postern(office.gateway, args);
    expect((await child.wait(10_000)).status, child.stderr()).toBe(0);
    return child.stdout();
  };

  it("TN-91, TN-112: of datagrams in fragments every octet is counted, from the first one on", {
    timeout,
  }, async () => {
    const send = `const socket = require("node:dgram").createSocket("udp4");
      const next = (left) => left === 0 ? socket.close() : socket.send(Buffer.alloc(8000), ${DATAGRAMS}, "${VAULT}",
        () => setTimeout(next, 200, left - 1));
      next(4);`;
    await office.client.run("node", ["-e", send]);
    const found = await eventually(async () => {
      const flows = JSON.parse(await ask("flows", "--json")) as readonly RunningFlowView[];
      const one = flows.find(({ remote }) => remote === `${VAULT}:${DATAGRAMS}`);
      expect(one?.tx_bytes).toBeGreaterThan(0);
      return one;
    }, 20_000);
    // What control has settled is not the record's: of the first datagram there is at least the first fragment.
    expect(found?.tx_bytes).toBeGreaterThan(3 * 8000);
    office.configure([{ resource: "Wiki" }, { resource: "Office6" }]);
    const line = await lineOf({ inner_dst_port: Number(DATAGRAMS) });
    expect(line).toMatchObject({ tx_bytes: 4 * 8000, tx_packets: 4 * 7 });
    office.configure([{ resource: "Wiki" }, { resource: "Office6" }, { resource: "Vault" }]);
    // Who connects before the client knows of it again leaves by another way, and stays there.
    await eventually(async () => expect(await echo(office.client, VAULT)).toBe("answered"), 10_000);
  });

  it("PG-108, PG-114: `postern flows` and the metric show what runs; its end is logged when access ends", {
    timeout,
  }, async () => {
    const source = office.traffic(office.client, "source", VAULT, SINK);
    await source.waitForLine(/^connected$/, { withinMs: 10_000, stream: "stdout" });
    const flow = await eventually(async () => {
      const flows = JSON.parse(await ask("flows", "--json")) as readonly RunningFlowView[];
      const found = flows.find(({ remote }) => remote === `${VAULT}:${SINK}`);
      expect(found?.tx_bytes).toBeGreaterThan(1_000_000);
      return found;
    }, 20_000);
    expect(flow).toMatchObject({ protocol: "tcp", verdict: "pass", real: null, domain: null });
    expect(await ask("flows", "--limit", "1000")).toContain(`${VAULT}:${SINK}`);
    const metrics = await office.gateway.run("curl", ["--silent", `http://127.0.0.1:${METRICS}/metrics`]);
    expect(metricIn(parseMetrics(metrics), "postern_flows")).toBeGreaterThan(0);

    office.configure([{ resource: "Wiki" }, { resource: "Office6" }]);
    const line = await lineOf({ inner_dst_port: Number(SINK) });
    expect(line["tx_bytes"]).toBeGreaterThanOrEqual(flow?.tx_bytes ?? 0);
    expect(line["rx_bytes"]).toBe(0);
    expect(line["client_id"]).toBe(flow?.cid);
    expect(line["resource_id"]).toBe(flow?.rid);
    await source.stop();
  });
});
