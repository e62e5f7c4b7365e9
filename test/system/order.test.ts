/**
 * The order of a flow's packets through control and past it, with real workers that have much to do, counted at the
 * receiver (TN-85 to TN-87).
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import { type NameOffice, SENTINEL, startNameOffice } from "../lib/name-office.ts";
import { counterIn, statusOf } from "../lib/observe.ts";
import { OFFICE_V4, type Office } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";

const HOST = "host.lab.example";
const FLOWS = 100;
const EACH = 400;
const timeout = 90_000;
const NEEDS = ["netns", "tun", "nft", "ipv6", "build", "dig", "unbound"] as const;

describeWith(NEEDS, "the order of packets", () => {
  let office: Office;
  let names: NameOffice;
  let proxy: string;

  beforeAll(async () => {
    names = await startNameOffice((made) => (office = made), { site: [`${HOST}. 60 IN A ${OFFICE_V4}`] });
    const { stdout } = await names.run("dig", "+short", `@${SENTINEL}`, HOST, "A");
    proxy = stdout.split("\n")[0] ?? "";
    expect((await names.run("ping", "-c", "1", "-W", "10", proxy)).stdout).toContain("1 received");
  }, 120_000);
  afterAll(() => office?.close());

  /** How many packets both ends' workers have handed to control. */
  async function punted(): Promise<number> {
    const snapshots = [await statusOf(names.client), await statusOf(names.gateway)];
    return snapshots.reduce(
      (sum, one) =>
        sum + counterIn(one, "egress", "packets_punted") + counterIn(one, "ingress", "packets_punted"),
      0,
    );
  }

  /** Sends and counts what came of it. */
  async function spurt(
    port: string,
    meanwhile: () => Promise<void>,
  ): Promise<{ came: number; behind: number }> {
    const tally = office.traffic(office.resource, "tally", port);
    await tally.waitForLine(/^listening$/, { withinMs: 10_000 });
    const sender = office.traffic(office.client, "spurt", proxy, port, String(FLOWS), String(EACH));
    await meanwhile();
    const [, flows, came, behind] = await tally.waitForLine(/^flows (\d+) came (\d+) behind (\d+)$/, {
      withinMs: 60_000,
    });
    expect(Number(flows)).toBe(FLOWS);
    await Promise.all([sender.stop(), tally.stop()]);
    return { came: Number(came), behind: Number(behind) };
  }

  it("TN-87: a hundred new flows at once: whatever goes through control overtakes nothing, and nothing overtakes it", {
    timeout,
  }, async () => {
    const before = await punted();
    const { came, behind } = await spurt("7300", () => Promise.resolve());
    expect(behind).toBe(0);
    // Of each flow some came (control takes no more than its budget), the first ones by control, at either end.
    expect(came).toBeGreaterThan(5 * FLOWS);
    expect((await punted()) - before).toBeGreaterThan(2 * FLOWS);
  });

  it("TN-82, TN-87: the same while every name that is looked up makes all records stale (TN-64 no. 6)", {
    timeout,
  }, async () => {
    const before = await punted();
    const { came, behind } = await spurt("7400", async () => {
      for (let i = 0; i < 10; i++)
        await names.run("dig", "+short", `@${SENTINEL}`, `new-${i}.lab.example`, "A");
    });
    expect(behind).toBe(0);
    expect(came).toBeGreaterThan(5 * FLOWS);
    expect((await punted()) - before).toBeGreaterThan(2 * FLOWS);
  });
});
