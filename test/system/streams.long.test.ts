/** What takes longer without UDP (TS-30.7, RL-208, RL-209). */
import { afterEach, expect, it } from "vitest";
import { connectionsOf, whyOf } from "../lib/ask.ts";
import { block, NO_TLS, NO_UDP, startBlocked } from "../lib/blocked-office.ts";
import { eventually, newest } from "../lib/observe.ts";
import { OFFICE_V4, type Office } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";
import { transfer } from "../lib/transfer.ts";

const timeout = 90_000;
const SINK = "9000";
/** A TCP connection with a user time-out of 30 s lives on (RL-89). */
const SURVIVES_WITHIN_MS = 30_000;

describeWith(["root", "netns", "tun", "nft", "ipv6", "build"], "without UDP", () => {
  let office: Office;
  afterEach(() => office?.close());
  const keep = (one: Office) => (office = one);
  const fetchPage = () => office.fetch(office.client, `http://${OFFICE_V4}/`);

  it("TS-30.7, RL-209: with TCP blocked as well it fails, and says why once", { timeout }, async () => {
    const { client } = await startBlocked(keep, ({ router }) => block(router, NO_UDP, NO_TLS));
    await expect(fetchPage()).rejects.toThrow();
    await eventually(async () => {
      const [why] = await whyOf(office, office.client);
      expect(why?.cause).toBe("nothing-passes");
      expect(why?.sentence).toContain("ECONNREFUSED");
    }, 20_000);
    const warnings = client.stderr().match(/WARN .*no relay is reached, neither by UDP nor by stream/g);
    expect(warnings).toHaveLength(1);
  });

  it("RL-208: UDP that stops to pass under a TCP connection: it goes on over TLS", { timeout }, async () => {
    await startBlocked(keep, async () => {});
    const sink = office.traffic(office.resource, "sink", SINK);
    const source = office.traffic(office.client, "source", OFFICE_V4, SINK);
    await source.waitForLine(/^connected$/, { withinMs: 20_000 });
    await eventually(async () => {
      const [connection] = await connectionsOf(office, office.client);
      expect(connection?.path).toBe("direct");
    }, 20_000);
    await block(office.router, NO_UDP);
    const { count } = newest(sink);
    await eventually(() => expect(newest(sink).count).toBeGreaterThan(count + 1_000_000), SURVIVES_WITHIN_MS);
    const [connection] = await connectionsOf(office, office.client);
    expect(connection?.path).toBe("relayed-tls");
    expect(source.stdout()).not.toMatch(/error/);
  });

  it.each(["gateway", "both"])(
    "RL-206, RL-208: where UDP is blocked for %s, 20 MiB arrive whole",
    {
      timeout,
    },
    async (whom) => {
      await startBlocked(keep, async ({ router, gatewayRouter }) => {
        await block(gatewayRouter, NO_UDP);
        if (whom === "both") await block(router, NO_UDP);
      });
      await fetchPage();
      const [connection] = await connectionsOf(office, office.gateway);
      expect(connection?.path).toBe("relayed-tls");
      const bulk = { protocol: "tcp", to: OFFICE_V4, bytes: 20 << 20 } as const;
      const { sent, received } = await transfer(office.client, office.resource, bulk);
      expect(received).toBe(sent);
    },
  );
});
