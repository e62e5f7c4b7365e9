/** Datagrams in fragments through client and gateway, from the first one of a flow on (TN-112). */
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Child } from "../../src/program/lab/index.ts";
import { counterIn, statusOf, warningsOf } from "../lib/observe.ts";
import { createOffice, OFFICE_V4, OFFICE_V6, type Office, VAULT } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";

const SENTINEL = "100.100.111.1";
const SITE = "wiki.corp.example";

describeWith(["netns", "tun", "nft", "ipv6", "iperf3", "build"], "datagrams in fragments", () => {
  let office: Office;
  let gateway: Child;
  let client: Child;

  beforeAll(async () => {
    office = await createOffice();
    office.configure([...(["Wiki", "Office", "Bench", "Bench6"] as const).map((resource) => ({ resource }))]);
    await office.startPortal();
    const names = office.traffic(office.resource, "names", OFFICE_V4);
    await names.waitForLine(/^listening$/, { withinMs: 10_000, stream: "stdout" });
    office.useNameServer(office.gateway, OFFICE_V4);
    // In IPv6 nobody but the sender makes fragments: it knows what fits into the tunnel.
    await office.resource.ip("link set lan mtu 1280");
    [gateway, client] = await Promise.all([office.startGateway(), office.startClient()]);
    office.useNameServer(office.client, SENTINEL);
  }, 120_000);
  afterAll(() => office?.close());

  it.each([
    ["a network", "-4", OFFICE_V4],
    ["a name", "-4", SITE],
    ["a network with filters", "-4", VAULT],
    ["a network with filters, by IPv6", "-6", OFFICE_V6],
  ])(
    "TN-112: the first echo of 3,000 bytes to %s is answered",
    async (_, family, address) => {
      const args = [family, "-s", "3000", "-W", "10"];
      const ping = office.program(office.client, "ping", ...args, "-c", "1", address);
      await ping.wait(25_000);
      expect(ping.stdout()).toContain("1 received");
      // Another identifier is another flow, whose access is there by now.
      const again = office.program(office.client, "ping", ...args, "-c", "3", "-i", "0.2", address);
      await again.wait(25_000);
      expect(again.stdout()).toContain("3 received");
    },
    60_000,
  );

  it.each([VAULT, OFFICE_V6])(
    "TN-112: iperf3 with datagrams of 8,192 bytes to %s loses none, in its order",
    async (address) => {
      const server = office.resource.start({
        name: "iperf3",
        command: "iperf3",
        args: ["-s", "-1", "--forceflush"],
      });
      await server.waitForLine(/listening/i, { withinMs: 10_000, stream: "stdout" });
      const args = ["-u", "-l", "8192", "-b", "8M", "-t", "2", "--json", "-c", address];
      const sender = office.client.start({ name: "iperf3", command: "iperf3", args });
      const { status } = await sender.wait(40_000);
      expect(status, sender.stdout()).toBe(0);
      const { end } = JSON.parse(sender.stdout()) as {
        end: { sum: { packets: number; lost_packets: number }; streams: { udp: { out_of_order: number } }[] };
      };
      expect(end.sum.packets).toBeGreaterThan(100);
      expect(end.sum.lost_packets).toBe(0);
      expect(end.streams[0]?.udp.out_of_order).toBe(0);
      await server.stop();
    },
    60_000,
  );

  it("TN-112, PG-99: nothing was lost on the way, nor a warning written", async () => {
    for (const program of [client, gateway]) {
      const status = await statusOf(program);
      for (const line of ["egress", "ingress"])
        expect(counterIn(status, line, "drop_fragment_unknown")).toBe(0);
      expect(counterIn(status, "control", "fragment_unknown")).toBe(0);
      expect(warningsOf(program)).toEqual([]);
    }
  });
});
