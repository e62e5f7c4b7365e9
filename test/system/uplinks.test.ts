/** A client with two uplinks, between which the way out changes under traffic (PG-72 to PG-75). */

import { afterAll, beforeAll, expect, it } from "vitest";
import { patient } from "../../src/program/lab/index.ts";
import { echo, eventually } from "../lib/observe.ts";
import { OFFICE_V4 } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";
import { createTwoUplinks, OUTAGE_MS_MAX, route, type TwoUplinks } from "../lib/uplinks.ts";

/** A hundred of them are switched by `uplinks.long.test.ts`. */
const SWITCHES = 2;
/** Beside the client that runs, and with an interface that is not there. */
const OTHER = ["--instance", "other", "--tun-name", "other", "--egress-interface", "nowhere"];

describeWith(["netns", "tun", "nft", "build"], "two uplinks", () => {
  let uplinks: TwoUplinks;
  beforeAll(async () => {
    uplinks = await createTwoUplinks();
  });
  afterAll(() => uplinks?.office.close());

  it("PG-72, PG-73, PG-75: the default route moves twice, each outage is below 1.5 s", {
    timeout: 90_000,
  }, async () => {
    const before = uplinks.resets();
    const outages = await uplinks.switchRoutes(SWITCHES);
    expect(uplinks.resets() - before).toBe(SWITCHES);
    expect(Math.max(...outages), `outages: ${outages} ms`).toBeLessThan(patient(OUTAGE_MS_MAX));
  });

  it("PG-72, PG-73: a link that goes down takes its route along; the other uplink serves, and it comes back", {
    timeout: 60_000,
  }, async () => {
    const { office, outageAfter } = uplinks;
    await office.client.ip(`route add ${route(1)} metric 200`);
    const outages = [
      await outageAfter(() => office.client.ip("link set wan down")),
      await outageAfter(() => office.client.ip("link set wan up", `route add ${route(0)}`)),
    ];
    expect(Math.max(...outages), `outages: ${outages.map(Math.round)} ms`).toBeLessThan(
      patient(OUTAGE_MS_MAX),
    );
  });

  it("PG-62, PG-41: with --egress-interface everything goes by the spare uplink, whatever the better route", {
    timeout: 60_000,
  }, async () => {
    const { office, client } = uplinks;
    client.signal("SIGTERM");
    await client.wait(10_000);
    await office.client.ip(`route replace ${route(1)} metric 200`);
    const bound = await office.startClient("--egress-interface", "spare");
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
    // Without the interface there is no socket; with it all is as before.
    await office.client.ip("link set spare down", "link set spare name gone", "link set gone up");
    bound.signal("SIGHUP");
    await bound.waitForLine(/ERROR .*no UDP sockets available/, { withinMs: 10_000 });
    await office.client.ip(
      "link set gone down",
      "link set gone name spare",
      "link set spare up",
      `route add ${route(1)} metric 200`,
    );
    await bound.waitForLine(/UDP sockets are there again/, { withinMs: 10_000 });
    await eventually(async () => expect(await echo(office.client, OFFICE_V4)).toBe("answered"), 15_000);
    const wrong = office.postern(office.client, ["client", "-u", "ws://203.0.113.10:8080", ...OTHER], {
      POSTERN_TOKEN: office.tokens.client,
    });
    const { status } = await wrong.wait(15_000);
    expect([status, wrong.stderr()]).toEqual([8, expect.stringContaining("there is no interface nowhere")]);
  });
});
