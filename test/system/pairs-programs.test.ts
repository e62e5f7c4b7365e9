/** Client and gateway with two pairs of workers each (PG-176): what they do with one, they do with two. */
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Child, Namespace } from "../../src/program/lab/index.ts";
import { buildWith, type ChangedBuild } from "../lib/changed-build.ts";
import { captureHost, type HostSnapshot } from "../lib/leftovers.ts";
import { echo, eventually, newest, timesOf } from "../lib/observe.ts";
import { API_URL, createOffice, OFFICE_V4, type Office, VAULT } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";

const THREADS = ["--threads", "2"] as const;
const SINK = "9000";
const OTHER_SINK = "9001";
const WITHIN_MS = 30_000;
const timeout = 90_000;
/** Holds the port of both families on all addresses. */
const HOLD = `
for (const type of ["udp4", "udp6"])
  require("node:dgram").createSocket({ type, ipv6Only: type === "udp6", reusePort: false })
    .bind(52625, () => console.log("held " + type));`;

/** Of nobody: what matters are the sockets. */
const WG = `[Interface]
PrivateKey = yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=
ListenPort = 51821
Address = 10.8.0.1/24
[Peer]
PublicKey = xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=
AllowedIPs = 0.0.0.0/0
`;

describeWith(["netns", "tun", "nft", "ipv6", "build"], "client and gateway with two pairs", () => {
  let office: Office;
  let faulty: ChangedBuild;
  let gateway: Child;
  let client: Child;
  let sinks: readonly Child[];
  let untouched: { readonly client: HostSnapshot; readonly gateway: HostSnapshot };
  const holders: Child[] = [];

  beforeAll(async () => {
    faulty = buildWith("worker", "faulty-library.mjs");
    office = await createOffice();
    await office.gateway.sysctl("net/ipv6/conf/all/forwarding", "1");
    untouched = { client: await captureHost(office.client), gateway: await captureHost(office.gateway) };
    office.configure([{ resource: "Office" }, { resource: "Vault" }]);
    await office.startPortal();
    sinks = [SINK, OTHER_SINK].map((port) => office.traffic(office.resource, "sink", port));
    for (const where of [office.client, office.gateway]) {
      const holder = where.start({ name: "holder", command: process.execPath, args: ["-e", HOLD] });
      holders.push(holder);
      await eventually(() => expect(holder.stdout().match(/held/g)).toHaveLength(2));
    }
    [gateway, client] = await Promise.all([office.startGateway(...THREADS), office.startClient(...THREADS)]);
  }, timeout);
  afterAll(async () => {
    await office?.close();
    faulty?.remove();
  });

  const reaches = (address: string, answer: string) =>
    eventually(async () => expect(await echo(office.client, address)).toBe(answer), WITHIN_MS);
  const portsOf = async (where: Namespace) => (await where.run("ss", ["-Hnul"])).split(":52625").length - 1;

  it("TS-30 no. 41, PG-41: where somebody has the port, another is taken, and all works", {
    timeout,
  }, async () => {
    await reaches(OFFICE_V4, "answered");
    for (const where of [office.client, office.gateway]) expect(await portsOf(where)).toBe(2);
  });

  it("PG-66, PG-75: a reset binds all sockets again, and connections live on", { timeout }, async () => {
    for (const holder of holders) await holder.stop();
    const sources = [SINK, OTHER_SINK].map((port) =>
      office.traffic(office.client, "source", OFFICE_V4, port),
    );
    const advance = async (): Promise<void> => {
      const before = sinks.map((sink) => newest(sink).count);
      await eventually(() => {
        for (const [i, sink] of sinks.entries()) expect(newest(sink).count).toBeGreaterThan(before[i] ?? 0);
      }, WITHIN_MS);
    };
    await advance();
    client.signal("SIGHUP");
    gateway.signal("SIGHUP");
    await eventually(() => expect(timesOf(client, /Resetting network state \(SIGHUP\)/)).toHaveLength(1));
    // Two families, two pairs; now the port is free.
    for (const where of [office.client, office.gateway]) {
      await eventually(async () => expect(await portsOf(where)).toBe(4), WITHIN_MS);
    }
    await eventually(() => expect(timesOf(client, /gateway connected/).length).toBeGreaterThan(1), WITHIN_MS);
    await advance();
    for (const source of sources) await source.stop();
  });

  it("TN-54, TN-82: access that is taken away ends at once, and what stays granted goes on", {
    timeout,
  }, async () => {
    await reaches(VAULT, "answered");
    office.configure([{ resource: "Office" }]);
    await eventually(async () => expect(await echo(office.client, VAULT)).not.toBe("answered"), WITHIN_MS);
    await reaches(OFFICE_V4, "answered");
  });

  it("PG-15: both end by themselves, and nothing of theirs stays", { timeout }, async () => {
    for (const [program, where, before] of [
      [client, office.client, untouched.client],
      [gateway, office.gateway, untouched.gateway],
    ] as const) {
      expect(program.stderr()).not.toMatch(/^\S+Z +ERROR /m);
      await program.stop();
      expect(await program.exited).toMatchObject({ status: 0 });
      expect(await captureHost(where)).toEqual(before);
    }
  });

  it("PG-18: a worker that dies, of whichever pair, ends the program, and everything is undone", {
    timeout,
  }, async () => {
    const args = ["client", "--api-url", API_URL, "--id", "x", "--dns-control", "disabled", ...THREADS];
    const env = { POSTERN_TOKEN: office.tokens.client, POSTERN_TEST_FAULTS: "read:60:0" };
    const child = office.postern(office.client, args, env, faulty.main);
    await child.waitForLine(/INFO postern: ready /, { withinMs: WITHIN_MS });
    const ping = ["-q", "-c", "60", "-i", "0.02", "-W", "1", OFFICE_V4];
    office.client.start({ name: "ping", command: "ping", args: ping });
    expect(await child.exited).toMatchObject({ status: 70 });
    expect(child.stderr()).toMatch(/^postern: the egress worker died/m);
    expect(await captureHost(office.client)).toEqual(untouched.client);
  });

  it("WG-64: with a default route the sockets of every pair of wg are marked", { timeout }, async () => {
    const where = office.resource;
    const file = join(where.runFolder, "wg0.conf");
    writeFileSync(file, WG);
    chmodSync(file, 0o600);
    const wg = office.postern(where, ["wg", "/run/wg0.conf", ...THREADS]);
    await wg.waitForLine(/^ready$/, { withinMs: WITHIN_MS, stream: "stdout" });
    const sockets = (await where.run("ss", ["-Hnuae"])).split("\n").filter((line) => line.includes(":51821"));
    expect(sockets).toHaveLength(4);
    for (const socket of sockets) expect(socket).toContain("fwmark:0xca6c");
    expect(await wg.stop()).toMatchObject({ status: 0 });
  });

  it("PG-176: without a device there are no queues to share out", { timeout }, async () => {
    const args = ["client", "--api-url", API_URL, "--id", "x", "--mode", "userspace", ...THREADS];
    const child = office.postern(office.client, args, { POSTERN_TOKEN: office.tokens.client });
    expect(await child.exited).toMatchObject({ status: 2 });
    expect(child.stderr()).toMatch(/--threads needs the TUN device/);
  });
});
