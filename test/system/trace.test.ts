/** `tracepath` and `traceroute` through a name: hops stay hidden, and what the path takes is found (TN-70 to TN-73). */
import { afterAll, beforeAll, expect, it } from "vitest";
import { tunnelAddresses } from "../lib/observe.ts";
import { createOffice, OFFICE_V4, type Office } from "../lib/office.ts";
import { describeWith, missingRequirement } from "../lib/requirements.ts";

const SENTINEL = "100.100.111.1";
const SITE = "wiki.trace.example";
/** IPv4: a router on the way takes no more in one piece. */
const NARROW = 1000;

describeWith(["netns", "tun", "nft", "ipv6", "tracepath", "build"], "tracepath through a name", () => {
  let office: Office;

  beforeAll(async () => {
    office = await createOffice();
    office.configure([], { names: [{ name: "Trace", address: "*.trace.example" }] });
    await office.startPortal();
    const names = office.traffic(office.resource, "names", OFFICE_V4);
    await names.waitForLine(/^listening$/, { withinMs: 10_000, stream: "stdout" });
    office.useNameServer(office.gateway, OFFICE_V4);
    await Promise.all([office.startGateway(), office.startClient()]);
    office.useNameServer(office.client, SENTINEL);
  }, 120_000);
  afterAll(() => office?.close());

  async function trace(): Promise<string> {
    const child = office.program(office.client, "tracepath", "-4", "-n", "-m", "5", SITE);
    await child.wait(40_000);
    return child.stdout();
  }

  it("TN-70, TN-72, TN-73: the gateway's tunnel address, then the proxy address, which is reached", async () => {
    const said = await trace();
    const [own = ""] = await tunnelAddresses(office.gateway);
    expect(said).toMatch(new RegExp(`^ ?1: +${own.replaceAll(".", "\\.")} `, "m"));
    expect(said).toMatch(/^ ?2: +100\.96\.0\.\d+ .*reached/m);
    expect(said).not.toContain("172.20.");
    expect(said).toMatch(/pmtu 1280 hops 2 back 45/);
  }, 60_000);

  it.skipIf(missingRequirement(["root", "traceroute"]) !== undefined)(
    "TN-70, TN-71: traceroute by TCP: the gateway, then the proxy address, whose port is open or closed",
    async () => {
      const server = office.traffic(office.resource, "serve", "80");
      await server.waitForLine(/^serving /, { withinMs: 10_000, stream: "stdout" });
      const [own = ""] = await tunnelAddresses(office.gateway);
      for (const [port, state] of [
        ["80", "<syn,ack"],
        ["81", "<rst,ack"],
      ] as const) {
        const args = ["-4", "-n", "-T", "-O", "info", "-q", "1", "-w", "5", "-m", "4", "-p", port, SITE];
        const child = office.program(office.client, "traceroute", ...args);
        await child.wait(40_000);
        const hops = child.stdout().trim().split("\n").slice(1);
        expect(hops).toHaveLength(2);
        expect(hops[0]).toMatch(new RegExp(`^ 1  ${own.replaceAll(".", "\\.")} `));
        expect(hops[1]).toMatch(/^ 2 {2}100\.96\.0\.\d+ /);
        expect(hops[1]).toContain(state);
      }
      await server.stop();
    },
    60_000,
  );

  it("TN-70, TN-71: a narrow link behind the gateway is found by its error about the real address", async () => {
    await office.gateway.ip(`link set lan mtu ${NARROW}`);
    const said = await trace();
    expect(said).toMatch(new RegExp(`pmtu ${NARROW} hops 2`));
    expect(said).not.toContain("172.20.");
  }, 60_000);
});
