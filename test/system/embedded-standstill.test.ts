/** Clients and gateways of the library that got no processor for a while (PG-74), in both grades of sockets (PG-122). */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Portal, startPortal } from "../../src/index.ts";
import { type Child, startChild } from "../../src/program/lab/index.ts";
import { GRADES, type Grade, SERVER } from "../lib/embedded.ts";
import { eventually } from "../lib/observe.ts";
import { describeWith } from "../lib/requirements.ts";

const CONFIG = `
version: 1
resources: [{ name: Office, type: cidr, address: 10.77.0.0/16, site: default }]
policies: [{ group: dev, resource: Office }]
`;
const STOPPED_MS = 11_000;
const WITHIN_MS = 20_000;
const timeout = 60_000;

describeWith(["build"], "peers without a device that stood still", () => {
  let folder: string;
  const pairs: { portal: Portal; gateway: Child; client: Child }[] = [];

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "postern-standstill-"));
    const config = join(folder, "portal.yaml");
    writeFileSync(config, CONFIG);
    for (const grade of GRADES) pairs.push(await openPair(config, grade));
  }, timeout);
  afterAll(async () => {
    for (const { client, gateway, portal } of pairs) {
      await client.stop();
      await gateway.stop();
      await portal.close();
    }
    rmSync(folder, { recursive: true });
  });

  async function openPair(config: string, grade: Grade) {
    const portal = await startPortal({ dev: true, config, listen: "127.0.0.1:0" });
    const start = (role: "client" | "gateway"): Child =>
      startChild({
        name: `${role}, ${grade}`,
        command: process.execPath,
        args: ["test/lib/standstill-probe.mjs", role, grade, SERVER],
        env: { ...process.env, API_URL: portal.apiUrl, TOKEN: portal.tokens?.[role] },
      });
    const gateway = start("gateway");
    await gateway.waitForLine(/^serving$/, { withinMs: WITHIN_MS });
    const client = start("client");
    await client.waitForLine(/^echo$/, { withinMs: WITHIN_MS });
    return { portal, gateway, client };
  }

  const times = (child: Child, pattern: RegExp): number =>
    child
      .stdout()
      .split("\n")
      .filter((line) => pattern.test(line)).length;
  const echoes = (child: Child): number => times(child, /^echo$/);
  const resets = (child: Child): number => times(child, /^network state is reset .*resume from suspend/);

  async function standStill(children: readonly Child[]): Promise<void> {
    for (const child of children) child.signal("SIGSTOP");
    await new Promise((resolve) => setTimeout(resolve, STOPPED_MS));
    for (const child of children) child.signal("SIGCONT");
  }

  async function expectEchoes(): Promise<void> {
    for (const { client } of pairs) {
      const before = echoes(client);
      await eventually(() => expect(echoes(client)).toBeGreaterThan(before + 2), WITHIN_MS);
    }
  }

  it("PG-74, SN-153, PT-34: a gateway that was stopped for 11 s has forgotten nobody, and TCP goes on", {
    timeout,
  }, async () => {
    const gateways = pairs.map(({ gateway }) => gateway);
    await standStill(gateways);
    for (const gateway of gateways) await gateway.waitForLine(/^stood still/, { withinMs: 2_000 });
    await expectEchoes();
    for (const { gateway, client } of pairs) {
      expect([resets(gateway), resets(client)]).toEqual([0, 0]);
      expect(times(client, /^gateway connected/), "the connection that was there").toBe(1);
    }
  });

  it("PG-74: a client that was stopped for 11 s takes that for a suspend, and its TCP goes on", {
    timeout,
  }, async () => {
    await standStill(pairs.map(({ client }) => client));
    for (const { client } of pairs) await eventually(() => expect(resets(client)).toBe(1), 2_000);
    await expectEchoes();
    for (const { gateway, client } of pairs) {
      expect(resets(gateway), "nobody else was stopped").toBe(0);
      expect(times(client, /^gateway connected/)).toBe(2);
    }
  });

  it("PG-41, PG-75, PG-122: a client that gets no sockets at its reset tries again, and its TCP goes on", {
    timeout,
  }, async () => {
    const clients = pairs.map(({ client }) => client);
    const before = clients.map(resets);
    // Whoever has none left may keep those that are open.
    for (const { pid } of clients) limitOpenFiles(pid, 3);
    await standStill(clients);
    for (const client of clients) await client.waitForLine(/^no UDP sockets available/, { withinMs: 5_000 });
    for (const { pid } of clients) limitOpenFiles(pid, 1_024);
    for (const client of clients) {
      await client.waitForLine(/^UDP sockets are there again/, { withinMs: WITHIN_MS });
    }
    await expectEchoes();
    expect(clients.map((client, i) => resets(client) - (before[i] ?? 0))).toEqual([1, 1]);
  });
});

function limitOpenFiles(pid: number | undefined, soft: number): void {
  const { status, stderr } = spawnSync("prlimit", [`--pid=${pid}`, `--nofile=${soft}:`], {
    encoding: "utf8",
    timeout: 10_000,
  });
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
}
