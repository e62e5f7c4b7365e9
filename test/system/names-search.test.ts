/**
 * Names as a person types them, with the host's DNS in Postern's hands: by the search domain, with the portal gone,
 * with the gateway gone (TS-30, 20 and 26; dns.md §17, scripts `dns` and `dns-portal-down`).
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type NameOffice, startNameOffice, WORLD_SERVER } from "../lib/name-office.ts";
import { eventually } from "../lib/observe.ts";
import { OFFICE_V4, type Office } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";

const OUTSIDE = "outside.example";
const timeout = 60_000;

describeWith(
  ["root", "netns", "tun", "nft", "ipv6", "build", "dig", "unbound"],
  "names as people type them",
  () => {
    let office: Office;
    let names: NameOffice;

    beforeAll(async () => {
      names = await startNameOffice((made) => (office = made), {
        site: ["wiki", "later", "last"].map((name) => `${name}.corp.example. 60 IN A ${OFFICE_V4}`),
        world: [`${OUTSIDE}. 60 IN A 203.0.113.10`],
        searchDomain: "corp.example",
        clientArgs: ["--dns-control", "etc-resolv-conf"],
      });
      const server = office.traffic(office.resource, "serve", "80");
      await server.waitForLine(/^serving /, { withinMs: 10_000 });
      await eventually(() => expect(resolvConf()).toContain("search corp.example"));
    }, 120_000);
    afterAll(() => office?.close());

    const resolvConf = (): string => readFileSync(join(office.client.runFolder, "resolv.conf"), "utf8");

    /** All that a person does with a name and with one of the world. */
    async function use(short: string): Promise<void> {
      for (const name of [short, `${short}.corp.example`]) {
        const { stdout } = await names.run("getent", "ahostsv4", name);
        expect(stdout, name).toMatch(/^100\.96\.0\.\d+ /);
        expect((await names.run("ping", "-4", "-c", "1", "-W", "5", name)).stdout, name).toContain(
          "1 received",
        );
        const page = await names.run(
          "curl",
          "-sS",
          "-m",
          "20",
          "-o",
          "/dev/null",
          "-w",
          "%{http_code}",
          `http://${name}/`,
        );
        expect(page, name).toMatchObject({ status: 0, stdout: "200" });
      }
      expect((await names.run("nslookup", short)).stdout).toMatch(
        /Name:\s+\S+\.corp\.example\nAddress: 100\.96\.0\.\d+/,
      );
      expect((await names.run("dig", "+short", "+tcp", "+search", short)).stdout).toMatch(
        /^100\.96\.0\.\d+\n/,
      );
      expect((await names.run("getent", "ahostsv4", OUTSIDE)).stdout).toMatch(/^203\.0\.113\.10 /);
    }

    it("TS-30.26: by the search domain and in full; what no resource has is as it was", {
      timeout,
    }, async () => {
      await use("wiki");
    });

    it("TS-30.20, DN-40: all of that with the portal stopped, also by a name that is new", {
      timeout,
    }, async () => {
      await names.portal.stop();
      await eventually(() => expect(names.client.stderr()).toMatch(/portal hiccup/));
      await use("wiki");
      await use("later");
    });

    it("TS-30.26: with the gateway stopped too, its names fail, and soon", { timeout }, async () => {
      await names.gateway.stop();
      const page = await names.run("curl", "-sS", "-m", "4", "http://last/");
      expect(page.status).not.toBe(0);
      expect((await names.run("getent", "ahostsv4", OUTSIDE)).stdout).toMatch(/^203\.0\.113\.10 /);
    });

    it("TS-30, DN-105: the client's end puts resolv.conf back", { timeout }, async () => {
      expect(await names.client.stop()).toMatchObject({ status: 0 });
      expect(resolvConf()).toBe(`nameserver ${WORLD_SERVER}\n`);
    });
  },
);
