/** Programs without a device: `--mode userspace` at either end, against each other and against a TUN device. */
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Child } from "../../src/program/lab/index.ts";
import { startNameServer } from "../lib/name-server.ts";
import { createOffice, OFFICE_V4, OFFICE_V6, type Office, VAULT } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";

const SOCKS = "127.0.0.1:1080";
const HTTP = "127.0.0.1:8118";
const PROXIES = ["--mode", "userspace", "--socks", SOCKS, "--http-proxy", HTTP];
const WITHIN_MS = 20_000;
/** The client's router. */
const WORLD_SERVER = "10.30.0.1";

describeWith(
  ["netns", "tun", "nft", "ipv6", "unbound", "build"],
  "clients and gateways without a device",
  () => {
    let office: Office;
    let gateway: Child;

    beforeAll(async () => {
      office = await createOffice();
      office.configure([{ resource: "Office" }, { resource: "Office6" }]);
      await office.startPortal();
      const server = office.traffic(office.resource, "serve", "80");
      await server.waitForLine(/^serving (\S+)$/, { withinMs: 10_000 });
      gateway = await office.startGateway();
      office.useNameServer(office.client, WORLD_SERVER);
      await startNameServer(office.router, {
        listen: [WORLD_SERVER],
        records: [`intranet.world.example. 60 IN A ${OFFICE_V4}`, `vault.world.example. 60 IN A ${VAULT}`],
      });
      await office.startClient(...PROXIES);
    });
    afterAll(() => office?.close());

    async function curl(...args: readonly string[]): Promise<string> {
      const child = office.client.start({
        name: "curl",
        command: "curl",
        args: ["-sS", "-g", "-m", "15", ...args],
      });
      await child.wait(WITHIN_MS);
      return child.stdout() + child.stderr();
    }
    const BYTES = ["-o", "/dev/null", "-w", "%{http_code} %{size_download}"];

    /** Through both proxies, both families. */
    async function expectPages(): Promise<void> {
      for (const host of [OFFICE_V4, `[${OFFICE_V6}]`]) {
        const pages = [
          await curl(...BYTES, "--socks5", SOCKS, `http://${host}/`),
          await curl(...BYTES, "--proxytunnel", "--proxy", `http://${HTTP}`, `http://${host}/`),
        ];
        for (const page of pages) expect(page).toMatch(/^200 [1-9]\d*$/);
      }
    }

    it("PG-122, PG-129: a client without a device reaches resources behind a gateway with one", {
      timeout: 60_000,
    }, async () => {
      expect(await curl(...BYTES, `http://${OFFICE_V4}/`)).toMatch(/^000/);
      await expectPages();
    });

    it("PG-123: what is no resource is refused by either proxy", async () => {
      expect(await curl("--socks5", SOCKS, `http://${VAULT}/`)).toMatch(/SOCKS5|Can't complete/);
      expect(await curl("--proxytunnel", "--proxy", `http://${HTTP}`, `http://${VAULT}/`)).toMatch(/403/);
      expect(await curl("--proxy", `http://${HTTP}`, `http://${OFFICE_V4}/`)).toMatch(/CONNECT only/);
    });

    it("PG-129, PG-123: a name that no resource has is the host's; where it leads is reached only in a resource", async () => {
      const [inside, outside] = ["http://intranet.world.example/", "http://vault.world.example/"];
      expect(await curl(...BYTES, "--socks5-hostname", SOCKS, inside)).toMatch(/^200 [1-9]\d*$/);
      expect(await curl(...BYTES, "--proxytunnel", "--proxy", `http://${HTTP}`, inside)).toMatch(
        /^200 [1-9]\d*$/,
      );
      expect(await curl("--socks5-hostname", SOCKS, outside)).toMatch(/SOCKS5|Can't complete/);
    });

    it("PG-107, PG-109: it can be asked as any other", async () => {
      const status = office.postern(office.client, ["status", "--json"]);
      await status.wait(WITHIN_MS);
      expect(JSON.parse(status.stdout())).toMatchObject({
        role: "client",
        ready: true,
        tun: { name: "userspace" },
      });
    });

    it("PG-129: a gateway without a device serves by the host's sockets", { timeout: 60_000 }, async () => {
      await gateway.stop();
      gateway = await office.startGateway("--mode", "userspace");
      await expectPages();
    });

    it("PG-122: the programs take the grade of sockets that they are told", { timeout: 60_000 }, async () => {
      const places = { plain: "packet plane in this thread", fast: "packet plane in workers" };
      for (const [sockets, place] of Object.entries(places)) {
        await gateway.stop();
        gateway = await office.startGateway("--mode", "userspace", "--sockets", sockets);
        expect(gateway.stdout() + gateway.stderr()).toContain(place);
      }
      await expectPages();
    });

    it("PG-15: ends in order, and a proxy for everybody wants a password", async () => {
      expect(await gateway.stop()).toEqual({ status: 0, signal: undefined });
      const token = { POSTERN_TOKEN: office.tokens.client };
      const args = ["client", "--api-url", "ws://203.0.113.10:8080", "--mode", "userspace", "--id", "open"];
      const open = office.postern(office.portal, [...args, "--socks", "0.0.0.0:1080"], token);
      expect((await open.wait(WITHIN_MS)).status).toBe(2);
      expect(open.stderr()).toMatch(/everybody on the network/);
    });
  },
);
