/** A client with two uplinks, between which the way out changes under traffic (PG-72 to PG-75). */
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import type { Child } from "../../src/program/lab/index.ts";
import { longestGapMs, type Pinging, startPinging } from "../lib/gaps.ts";
import { echo, eventually, timesOf } from "../lib/observe.ts";
import { createOffice, OFFICE_V4, type Office } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";

const UPLINKS = ["via 10.30.0.1 dev wan", "via 10.40.0.1 dev spare"] as const;
/** Beside the client that runs, and with an interface that is not there. */
const OTHER = ["--instance", "other", "--tun-name", "other", "--egress-interface", "nowhere"];
const SWITCHES = 20;
/** A reset does not begin within a second after another one (PG-76). */
const SWITCH_EVERY_MS = 2_500;
/** 500 ms until the change has settled (PG-73), and a second for the portal, a path and a session. */
const OUTAGE_MS_MAX = 1_500;

describeWith(["netns", "tun", "nft", "build"], "two uplinks", () => {
  let office: Office;
  let client: Child;
  let pinging: Pinging;

  beforeAll(async () => {
    office = await createOffice();
    await office.lab.connect(
      { namespace: office.client, device: "spare", addresses: ["10.40.0.2/24"] },
      { namespace: office.router, device: "spare", addresses: ["10.40.0.1/24"] },
    );
    // One family: an IPv6 route that stays would be a way out, too.
    await office.client.ip("addr del fd30::2/64 dev wan");
    office.configure([{ resource: "Office" }]);
    await office.startPortal();
    [, client] = await Promise.all([office.startGateway(), office.startClient()]);
    await eventually(async () => expect(await echo(office.client, OFFICE_V4)).toBe("answered"), 15_000);
    pinging = startPinging(office.client, OFFICE_V4);
    await pinging.answered();
  });
  afterAll(() => office?.close());
  afterEach(async () => {
    await pinging.answered();
  });

  const resets = (): number => timesOf(client, /Resetting network state/).length;

  /** Makes a change; the longest time without an answer in the seconds after it. */
  async function outageAfter(change: () => Promise<void>): Promise<number> {
    const from = Date.now();
    await change();
    await new Promise((resolve) => setTimeout(resolve, SWITCH_EVERY_MS));
    await pinging.answered();
    return longestGapMs(pinging.answers(), from, Date.now() - 200);
  }

  it("PG-72, PG-73, PG-75: the default route moves twenty times, each outage is below 1.5 s", {
    timeout: 150_000,
  }, async () => {
    const before = resets();
    const outages: number[] = [];
    for (let i = 1; i <= SWITCHES; i++) {
      const uplink = UPLINKS[i % 2];
      outages.push(await outageAfter(() => office.client.ip(`route replace default ${uplink}`)));
    }
    expect(resets() - before).toBe(SWITCHES);
    expect(Math.max(...outages), `outages: ${outages.map(Math.round)} ms`).toBeLessThan(OUTAGE_MS_MAX);
  });

  it("PG-72, PG-73: a link that goes down takes its route along; the other uplink serves, and it comes back", {
    timeout: 60_000,
  }, async () => {
    await office.client.ip(`route add default ${UPLINKS[1]} metric 200`);
    const outages = [
      await outageAfter(() => office.client.ip("link set wan down")),
      await outageAfter(() => office.client.ip("link set wan up", `route add default ${UPLINKS[0]}`)),
    ];
    expect(Math.max(...outages), `outages: ${outages.map(Math.round)} ms`).toBeLessThan(OUTAGE_MS_MAX);
  });

  it("PG-62: with --egress-interface everything goes by the spare uplink, whatever the better route", {
    timeout: 60_000,
  }, async () => {
    client.signal("SIGTERM");
    await client.wait(10_000);
    client = await office.startClient("--egress-interface", "spare");
    await eventually(async () => expect(await echo(office.client, OFFICE_V4)).toBe("answered"), 15_000);
    const asked = office.postern(office.client, ["status", "--json"]);
    await asked.wait(10_000);
    expect(JSON.parse(asked.stdout())).toMatchObject({
      egress: { v4: { interface: "spare", gateway: "10.40.0.1", source: "10.40.0.2" }, v6: null },
      connections: [{ path: "direct", local: "10.40.0.2:52625" }],
    });
    const tcp = await office.portal.run("ss", ["-Htn", "state", "established", "sport = :8080"]);
    expect(tcp).toContain("10.40.0.2:");
    expect(tcp).not.toContain("10.30.0.2:");
    const wrong = office.postern(office.client, ["client", "-u", "ws://203.0.113.10:8080", ...OTHER], {
      POSTERN_TOKEN: office.tokens.client,
    });
    const { status } = await wrong.wait(15_000);
    expect([status, wrong.stderr()]).toEqual([8, expect.stringContaining("there is no interface nowhere")]);
  });
});
