/** The internet through a gateway, with the real programs (TN-16, TN-21, TN-23, TN-59, PG-31 to PG-33). */
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Child, Namespace } from "../../src/program/lab/index.ts";
import { echo, eventually, timesOf } from "../lib/observe.ts";
import { createOffice, type Office } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";

/** A server that everybody can reach. */
const WORLD_V4 = "198.51.100.9";
const WORLD_V6 = "2001:db8:9::9";
/** A neighbour of the gateway, on its own network. */
const NEIGHBOUR = "10.31.0.1";

describeWith(["netns", "tun", "nft", "ipv6", "build"], "the internet resource", () => {
  let office: Office;
  let world: Namespace;
  let client: Child;
  let portal: Child;

  beforeAll(async () => {
    office = await createOffice();
    world = await addWorld(office);
    office.configure([{ resource: "Internet" }]);
    portal = await office.startPortal();
    const server = office.traffic(world, "serve", "80");
    [client] = await Promise.all([office.startClient(), office.startGateway()]);
    await server.waitForLine(/^serving /, { withinMs: 10_000 });
  }, 120_000);
  afterAll(() => office?.close());

  async function turn(state: "on" | "off"): Promise<string> {
    const child = office.postern(office.client, ["internet", state]);
    expect((await child.wait(10_000)).status).toBe(0);
    return child.stdout().trim();
  }

  /** As the server saw it: the client's own address, or the gateway's. */
  async function seenFrom(host: string): Promise<string> {
    const { seenFrom: address } = await office.fetch(office.client, `http://${host}/`);
    return address.replace("::ffff:", "");
  }

  it("TN-23: without the switch nothing goes through the tunnel", async () => {
    expect(await seenFrom(WORLD_V4)).toBe("10.30.0.2");
  });

  it("TS-30.40, TN-16, TN-21: with it everything does, in both families", async () => {
    expect(await turn("on")).toBe("the internet resource is on");
    await eventually(async () => expect(await seenFrom(WORLD_V4)).toBe("10.31.0.2"), 20_000);
    expect(await seenFrom(`[${WORLD_V6}]`)).toBe("fd31::2");
  }, 60_000);

  it("PG-31, PG-33: the local network and the portal are reached directly meanwhile", async () => {
    expect(await echo(office.client, "10.30.0.1")).toBe("answered");
    expect(await echo(office.client, "fd30::1")).toBe("answered");
    // Heartbeats go past the tunnel: the portal has not missed one.
    expect(timesOf(client, /portal connection (lost|failed)/)).toEqual([]);
    expect(portal.stderr()).not.toContain("peer left");
  });

  it("TN-59: the gateway's own network is not the internet", async () => {
    expect(await echo(office.client, NEIGHBOUR)).toBe("unreachable");
  });

  it("TN-23, TN-26: turned off, everything goes its own way again", async () => {
    expect(await turn("off")).toBe("the internet resource is off");
    await eventually(async () => expect(await seenFrom(WORLD_V4)).toBe("10.30.0.2"));
    expect(await echo(office.client, NEIGHBOUR)).toBe("answered");
  });
});

async function addWorld({ lab, router }: Office): Promise<Namespace> {
  const world = await lab.add("world");
  await lab.connect(
    { namespace: world, device: "wan", addresses: [`${WORLD_V4}/24`, `${WORLD_V6}/64`] },
    { namespace: router, device: "world", addresses: ["198.51.100.1/24", "2001:db8:9::1/64"] },
  );
  await world.ip("route add default via 198.51.100.1", "route add ::/0 via 2001:db8:9::1");
  return world;
}
