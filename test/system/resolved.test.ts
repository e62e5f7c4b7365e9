/** DNS control by a real systemd-resolved (DN-98 to DN-102, DN-108). */
import { existsSync } from "node:fs";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import type { Child } from "../../src/program/lab/index.ts";
import { startNameServer } from "../lib/name-server.ts";
import { eventually } from "../lib/observe.ts";
import { createOffice, type Office } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";
import { type Resolved, startResolved } from "../lib/resolved.ts";

const timeout = 60_000;
const TUN = "tun-postern";
const NAME = "wiki.corp.example";
/** The client's router, whose name server knows all names at one address. */
const LAN_SERVER = "10.30.0.1";
const ELSEWHERE = "203.0.113.10";

describeWith(
  ["root", "netns", "tun", "nft", "ipv6", "build", "unbound", "resolved"],
  "DNS control by systemd-resolved",
  () => {
    let office: Office;
    let resolved: Resolved;
    let started: Child[] = [];
    const path = process.env["PATH"];

    beforeAll(async () => {
      office = await createOffice();
      office.configure([{ resource: "Wiki" }]);
      await office.startPortal();
      const names = [NAME, "printer.example", "elsewhere.test"];
      await startNameServer(office.router, {
        listen: [LAN_SERVER],
        records: names.map((name) => `${name}. 60 IN A ${ELSEWHERE}`),
      });
      resolved = await startResolved(office.client);
      // The programs find resolvectl by their path.
      process.env["PATH"] = `${resolved.bin}:${path}`;
      // As a DHCP client does it: the LAN has a server and a domain, below which the resource lies.
      await resolved.resolvectl("dns", "wan", LAN_SERVER);
      await resolved.resolvectl("domain", "wan", "example");
      await resolved.resolvectl("default-route", "wan", "true");
    }, 60_000);
    // A client that a failed test left running would refuse the next one, which would fail for that reason only.
    afterEach(async ({ task }) => {
      if (task.result?.state === "fail") explain();
      for (const client of started) await client.stop();
      started = [];
    });
    afterAll(async () => {
      process.env["PATH"] = path;
      await office?.close();
    });

    /** What a failure alone does not tell: whether anything of the machine was still there. */
    function explain(): void {
      const clients = started.map((client) => `${client.name}: ${client.stderr()}`);
      const folder = `/run of the client ${existsSync(office.client.runFolder) ? "is there" : "is gone"}`;
      console.error([folder, resolved.state(), ...clients].join("\n"));
    }
    /** Resolves when all of its settings are made. */
    async function start(): Promise<Child> {
      const client = await office.startClient("--dns-control", "systemd-resolved");
      started.push(client);
      await client.waitForLine(/DNS control applied/, { withinMs: 20_000 });
      return client;
    }
    /** What resolved says a name is, and by which link. */
    async function query(name: string): Promise<string> {
      await resolved.resolvectl("flush-caches");
      const said = await resolved.resolvectl("-4", "query", name);
      return said.split("\n")[0]?.replace(/\s+/g, " ").replace(`${name}: `, "") ?? "";
    }
    const linkOf = async (what: string): Promise<string> => {
      const said = await resolved.resolvectl(what, TUN);
      return said.trim().replace(/^Link \d+ \([^)]*\):\s*/, "");
    };

    it("DN-98 to DN-100: the client's server is asked, although the LAN has a domain for the name", {
      timeout,
    }, async () => {
      expect(await query(NAME)).toBe(`${ELSEWHERE} -- link: wan`);
      const client = await start();
      await eventually(async () => expect(await linkOf("dns")).toBe("100.100.111.1"));
      await eventually(async () =>
        expect((await linkOf("domain")).split(" ").sort()).toEqual(["~.", "~corp.example"]),
      );
      expect(await linkOf("default-route")).toBe("yes");
      expect(await query(NAME)).toBe(`100.96.0.1 -- link: ${TUN}`);
      // The LAN's own domain goes on being the LAN's.
      expect(await query("printer.example")).toBe(`${ELSEWHERE} -- link: wan`);
      expect(await query("elsewhere.test")).toBe(`${ELSEWHERE} -- link: ${TUN}`);
      const lookup = office.postern(office.client, ["lookup", "elsewhere.test"]);
      await lookup.wait(10_000);
      expect(lookup.stdout()).toContain(`${LAN_SERVER} is asked past the tunnel`);
      await client.stop();
      expect(await query(NAME)).toBe(`${ELSEWHERE} -- link: wan`);
      expect(client.stderr()).toContain("DNS control reverted");
    });

    it("DN-101, DN-108: a crash leaves nothing, the next start sets it again, --revert-dns takes it back", {
      timeout,
    }, async () => {
      const killed = await start();
      await eventually(async () => expect(await query(NAME)).toMatch(/^100\.96\./));
      await killed.stop({ signal: "SIGKILL" });
      await eventually(async () => expect(await query(NAME)).toBe(`${ELSEWHERE} -- link: wan`));
      const next = await start();
      await eventually(async () => expect(await query(NAME)).toMatch(/^100\.96\./));
      const revert = office.postern(office.client, [
        ...["client", "--revert-dns", "--api-url", "ws://unused.example"],
      ]);
      expect(await revert.wait(10_000)).toMatchObject({ status: 0 });
      expect(await linkOf("dns")).toBe("");
      expect(await query(NAME)).toBe(`${ELSEWHERE} -- link: wan`);
      await next.stop();
    });

    it("DN-102, DN-21: other servers of the LAN are followed, by a new sentinel", { timeout }, async () => {
      await resolved.resolvectl("domain", "wan", "");
      const client = await start();
      const upstream = async (): Promise<string> => {
        const status = office.postern(office.client, ["status", "--json"]);
        await status.wait(10_000);
        return JSON.stringify(JSON.parse(status.stdout()).dns);
      };
      await eventually(async () => expect(await upstream()).toContain(`"${LAN_SERVER}"`));
      await resolved.resolvectl("dns", "wan", "10.30.0.9");
      await eventually(async () => expect(await upstream()).toContain('"10.30.0.9"'));
      await eventually(async () => expect(await linkOf("dns")).toBe("100.100.111.2"));
      await client.stop();
      await resolved.resolvectl("dns", "wan", LAN_SERVER);
    });
  },
);
