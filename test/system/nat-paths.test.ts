/** The path that is found between two NATs, with the real programs and a relay (TS-30). */
import { expect, it } from "vitest";
import { eventually } from "../lib/observe.ts";
import { createOffice, OFFICE_V4, type Office, type OfficeOptions } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";

type Nats = NonNullable<OfficeOptions["nats"]>;

interface Scenario {
  readonly name: string;
  readonly client: Nats["client"];
  readonly gateway: Nats["gateway"];
  readonly path: "direct" | "relayed";
}

/** From the first packet to the first answer (TS-30). */
const FIRST_ANSWER_WITHIN_MS = 6000;
/** What is not known to work at first may be found a little later. */
const PATH_WITHIN_MS = 20_000;
const timeout = 90_000;

const SCENARIOS: readonly Scenario[] = [
  {
    name: "2: both behind port-restricted cones: direct",
    client: { kind: "port-restricted" },
    gateway: { kind: "port-restricted" },
    path: "direct",
  },
  {
    name: "3: both behind full cones: direct",
    client: { kind: "full-cone" },
    gateway: { kind: "full-cone" },
    path: "direct",
  },
  {
    name: "3: both behind address-restricted cones: direct",
    client: { kind: "address-restricted" },
    gateway: { kind: "address-restricted" },
    path: "direct",
  },
  {
    name: "3: ports not kept on either side: direct",
    client: { kind: "port-not-kept" },
    gateway: { kind: "port-not-kept" },
    path: "direct",
  },
  {
    name: "4: symmetric against an address-restricted cone: direct",
    client: { kind: "symmetric" },
    gateway: { kind: "address-restricted" },
    path: "direct",
  },
  {
    name: "4: symmetric against a port-restricted cone: relayed",
    client: { kind: "symmetric" },
    gateway: { kind: "port-restricted" },
    path: "relayed",
  },
  {
    name: "5: both symmetric: relayed",
    client: { kind: "symmetric" },
    gateway: { kind: "symmetric" },
    path: "relayed",
  },
  {
    name: "6: symmetric on one side, 52625 forwarded on the other: direct",
    client: { kind: "symmetric" },
    gateway: { kind: "symmetric", forwardTo: "172.31.0.100" },
    path: "direct",
  },
];

describeWith(["root", "netns", "tun", "nft", "ipv6", "build"], "paths between NATs", () => {
  for (const { name, client, gateway, path } of SCENARIOS) {
    it(`TS-30.${name}`, { timeout }, async () => {
      const office = await createOffice({ nats: { client, gateway, families: ONLY_IPV4 }, relays: 1 });
      try {
        const sha256 = await start(office);
        const begun = performance.now();
        const page = await office.fetch(office.client, `http://${OFFICE_V4}/`);
        expect(performance.now() - begun, "first answer").toBeLessThan(FIRST_ANSWER_WITHIN_MS);
        expect(page.sha256).toBe(sha256);
        await eventually(async () => expect(await pathOf(office)).toBe(path), PATH_WITHIN_MS);
        expect(await office.fetch(office.client, `http://${OFFICE_V4}/`)).toMatchObject({ sha256 });
      } finally {
        await office.close();
      }
    });
  }
});

/** Otherwise both ends would have public IPv6 addresses and need no NAT to be overcome. */
const ONLY_IPV4 = { client: "ipv4", gateway: "ipv4" } as const;

/** Portal, relay, both ends and a server. @returns the hash of its page */
async function start(office: Office): Promise<string> {
  office.configure([{ resource: "Office" }]);
  await office.startPortal();
  await office.startRelay(0);
  const server = office.traffic(office.resource, "serve", "80");
  await Promise.all([office.startGateway(), office.startClient()]);
  return (await server.waitForLine(/^serving (\S+)$/, { withinMs: 10_000 }))[1] ?? "";
}

/** As the client's status has it (PG-110). */
async function pathOf(office: Office): Promise<string | undefined> {
  const args = ["connections", "--json"];
  const child = office.postern(office.client, args);
  await child.wait(10_000);
  const connections = JSON.parse(child.stdout()) as readonly { readonly path: string }[];
  return connections[0]?.path;
}
