/** What comes back to and from a name's address by unusual ways, with the gateway's masquerading and without (TN-67, TN-120). */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type NameOffice, startNameOffice } from "../lib/name-office.ts";
import { eventually } from "../lib/observe.ts";
import { OFFICE_V4, OFFICE_V6, type Office } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";

const HOST = "host.lab.example";
const timeout = 60_000;
const NEEDS = ["netns", "tun", "nft", "ipv6", "build", "dig", "unbound"] as const;

describeWith(NEEDS, "masquerading and names", () => {
  describe.each(["auto", "off"])("--masquerade %s", (mode) => {
    let office: Office;
    let names: NameOffice;
    let proxies: Readonly<Record<"A" | "AAAA", string>>;

    beforeAll(async () => {
      names = await startNameOffice((made) => (office = made), {
        site: [`${HOST}. 60 IN A ${OFFICE_V4}`, `${HOST}. 60 IN AAAA ${OFFICE_V6}`],
        gatewayArgs: ["--masquerade", mode],
      });
      if (mode === "off") {
        await office.gateway.sysctl("net/ipv4/ip_forward", "1");
        await office.gateway.sysctl("net/ipv6/conf/all/forwarding", "1");
        await office.resource.ip(
          "route add 100.64.0.0/11 via 172.20.0.1",
          "route add fd00:2021:1111::/107 via fd20::1",
        );
      }
      const proxyOf = async (type: string): Promise<string> =>
        // Not the first one: Linux takes the address of a whole route for anycast, and sends no error to it.
        (await names.run("dig", "+short", HOST, type)).stdout.split("\n")[1] ?? "";
      proxies = { A: await proxyOf("A"), AAAA: await proxyOf("AAAA") };
    }, 120_000);
    afterAll(() => office?.close());

    it(`TN-67: an answer from another port ${mode === "auto" ? "ends at the gateway" : "arrives, as from the name"}`, {
      timeout,
    }, async () => {
      const server = office.traffic(office.resource, "elsewhere", "7000");
      await server.waitForLine(/^listening$/, { withinMs: 10_000 });
      const shout = office.traffic(office.client, "shout", proxies.A, "7000");
      const heard = () => [...shout.stdout().matchAll(/^answered from (.+)$/gm)].map(([, from]) => from);
      // Each is sent behind the one from elsewhere.
      await eventually(
        () => expect(heard().filter((from) => from === `${proxies.A}:7000`).length).toBeGreaterThan(5),
        20_000,
      );
      const both = [`${proxies.A}:7000`, `${proxies.A}:7001`];
      expect(new Set(heard())).toEqual(new Set(mode === "auto" ? both.slice(0, 1) : both));
      await Promise.all([shout.stop(), server.stop()]);
    });

    it.each(["A", "AAAA"] as const)(
      "TN-120: a server is told that the client's port is closed (%s)",
      {
        timeout,
      },
      async (type) => {
        const port = type === "A" ? "7100" : "7200";
        const server = office.traffic(office.resource, "pursue", port);
        await server.waitForLine(/^listening$/, { withinMs: 10_000 });
        const client = office.traffic(office.client, "shout", proxies[type], port);
        await client.waitForLine(/^answered from /, { withinMs: 20_000 });
        expect(server.stdout()).not.toContain("refused");
        await client.stop();
        await server.waitForLine(/^refused$/, { withinMs: 10_000 });
      },
    );
  });
});
