/** The program's own questions and connections go past the tunnel, whatever the tunnel leads to (PG-64). */

import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Child } from "../../src/program/lab/index.ts";
import { BRIEFLY, echo, eventually, timesOf } from "../lib/observe.ts";
import { createOffice, OFFICE_V4, type Office } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";

const timeout = 60_000;

describeWith(["root", "netns", "tun", "nft", "ipv6", "build"], "a name server inside a resource", () => {
  let office: Office;
  let portal: Child;
  let client: Child;

  beforeAll(async () => {
    office = await createOffice();
    // The name server is the client's router, and the client's own network is a resource.
    office.configure([{ resource: "Office" }, { resource: "Home" }]);
    portal = await office.startPortal();
    office.traffic(office.router, "names", "203.0.113.10");
    office.useNameServer(office.client, "10.30.0.1");
    await office.startGateway();
    client = await office.startClient("--api-url", "ws://portal.example:8080");
  });
  afterAll(() => office?.close());

  it("PG-64, PG-151: the client finds a portal that was restarted by its name", { timeout }, async () => {
    await eventually(async () => expect(await echo(office.client, OFFICE_V4)).toBe("answered"), 20_000);
    const way = await office.client.run("ip", ["route", "get", "10.30.0.1"]);
    expect(way, "everybody else asks through the tunnel").toContain("dev tun-postern");
    const connected = (): number => timesOf(client, /portal connected/).length;
    expect(connected()).toBe(1);
    await portal.stop({ signal: "SIGKILL" });
    await client.waitForLine(/portal hiccup/, { withinMs: 10_000 });
    portal = await office.startPortal();
    await eventually(() => expect(connected()).toBe(2), 20_000);
  });

  it("PG-46: a local firewall that drops our datagrams is named, with the port to allow", {
    timeout,
  }, async () => {
    const rules = `table inet closed {
      chain output {
        type filter hook output priority 0; policy accept;
        udp sport 52625 drop
      }
    }`;
    const nft = { name: "nft", command: "nft", args: ["-f", "-"], input: rules };
    expect(await office.client.start(nft).wait(5000)).toEqual({ status: 0, signal: undefined });
    expect(await echo(office.client, OFFICE_V4, ...BRIEFLY)).not.toBe("answered");
    await client.waitForLine(/outbound UDP is blocked by a local firewall.* from_?port=52625/i, {
      withinMs: 10_000,
    });
    await office.client.run("nft", ["delete", "table", "inet", "closed"]);
  });

  it("PG-151: postern wg asks for its endpoint past its own default route", { timeout }, async () => {
    await client.stop();
    office.traffic(office.portal, "names", "203.0.113.10");
    office.useNameServer(office.client, "203.0.113.10");
    const key = (): string => randomBytes(32).toString("base64");
    const file = `[Interface]
PrivateKey = ${key()}
Address = 10.99.0.1/32
[Peer]
PublicKey = ${key()}
Endpoint = peer.example:51820
AllowedIPs = 0.0.0.0/0
`;
    writeFileSync(join(office.client.runFolder, "wgpast.conf"), file, { mode: 0o600 });
    const wg = office.postern(office.client, ["wg", "/run/wgpast.conf"]);
    await wg.waitForLine(/^ready$/, { withinMs: 20_000, stream: "stdout" });
    const way = await office.client.run("ip", ["route", "get", "203.0.113.10"]);
    expect(way, "everybody else asks through the tunnel").toContain("dev wgpast");
    await eventually(() => {
      wg.signal("SIGUSR2");
      expect(wg.stdout()).toContain("203.0.113.10:51820");
    }, 20_000);
    await wg.stop();
  });
});
