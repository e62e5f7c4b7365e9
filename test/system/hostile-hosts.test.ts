/**
 * Hosts that lie: the client's own, which puts into the device what no program of it sent (TN-20), and one behind the
 * gateway, whose errors quote what is not ours (TN-70). Without masquerading, so that nothing is sorted out before.
 */
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { concatBytes, ip, toHex } from "../../src/base/index.ts";
import type { Child, Namespace } from "../../src/program/lab/index.ts";
import { type Capture, startCapture } from "../lib/capture.ts";
import { type NameOffice, startNameOffice } from "../lib/name-office.ts";
import {
  counterIn,
  expectAccounted,
  expectCounted,
  type Snapshot,
  statusOf,
  tunnelAddresses,
} from "../lib/observe.ts";
import { OFFICE_V4, type Office, VAULT } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";
import { ipPacket, udp } from "../unit/plane/packets.ts";

const INJECT = join(import.meta.dirname, "../lib/inject.mjs");
const MARK = "MAY-NOT-PASS";
/** Of an echo behind all of it. */
const LAST = "LAST-OF-ALL";
const PROXY = "100.96.0.1";
const STRANGER = "198.51.100.9";
const timeout = 60_000;
const NEEDS = ["root", "netns", "tun", "nft", "ipv6", "build", "dig", "unbound"] as const;

interface Places {
  readonly client4: string;
  readonly client6: string;
  readonly gateway4: string;
}
type Row = readonly [what: string, packets: (at: Places) => readonly Uint8Array[], counted: string];

const text = new TextEncoder().encode(MARK);
const datagram = (
  source: string,
  destination: string,
  ports: readonly [number, number] = [4000, 53],
): Uint8Array =>
  udp(text, {
    family: source.includes(":") ? 6 : 4,
    source: ip(source),
    destination: ip(destination),
    ports,
  });
const error = (source: string, destination: string, quoted: Uint8Array, [type, code] = [3, 3]): Uint8Array =>
  ipPacket(1, sealed(concatBytes(Uint8Array.from([type, code, 0, 0, 0, 0, 0, 0]), quoted)), {
    ...{ family: 4, source: ip(source), destination: ip(destination), hops: 64 },
  });

function sealed(icmp: Uint8Array): Uint8Array {
  let sum = 0;
  for (let i = 0; i < icmp.length; i += 2) sum += ((icmp[i] ?? 0) << 8) | (icmp[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  icmp.set([(~sum >>> 8) & 255, ~sum & 255], 2);
  return icmp;
}

/** Into the client's device; what its egress or its control counts. */
const FROM_THE_CLIENT: readonly Row[] = [
  [
    "TN-20 row 3: in a stranger's, the gateway's, a resource's, its own LAN's and its own loopback's name",
    ({ gateway4 }) =>
      [STRANGER, gateway4, VAULT, "10.30.0.2", "127.0.0.1", "0.0.0.0"].map((from) => datagram(from, VAULT)),
    "drop_bad_source",
  ],
  [
    "TN-20 row 3: the same by IPv6, to a network and to a name",
    () => ["fd30::2", "2001:db8::9", "::1"].map((from) => datagram(from, "fd00:2021:1111:8000::1")),
    "drop_bad_source",
  ],
  [
    "TN-20 row 1: a control event that only the program may make",
    () => [
      ipPacket(255, new Uint8Array(60), {
        family: 6,
        source: new Uint8Array(16),
        destination: new Uint8Array(16),
      }),
    ],
    "drop_p2p_on_tun",
  ],
  ["TN-20 row 2: multicast", ({ client4 }) => [datagram(client4, "224.0.0.5")], "drop_multicast"],
  ["TN-20 row 5: to itself", ({ client4 }) => [datagram(client4, client4)], "drop_to_self"],
  [
    "TN-20 row 7: to a peer that is none",
    ({ client4 }) => [datagram(client4, "100.64.0.77")],
    "drop_unknown_peer",
  ],
  [
    "TN-20 row 8: to what no resource has",
    ({ client4 }) => [datagram(client4, STRANGER)],
    "drop_unknown_resource",
  ],
  [
    "TN-20 row 6: an error to a network, which never answers by one",
    ({ client4 }) => [error(client4, VAULT, datagram(VAULT, client4))],
    "drop_icmp_error_out",
  ],
  [
    "TN-111: a first fragment that hides its header, and a later one that lies over it",
    ({ client4 }) => {
      const ends = { family: 4, source: ip(client4), destination: ip(VAULT) } as const;
      return [
        ipPacket(6, new Uint8Array(8), { ...ends, fragmentField: 0x2000 }),
        ipPacket(6, new Uint8Array(16), { ...ends, fragmentField: 0x0001 }),
      ];
    },
    "drop_ip_fragment",
  ],
];

/** Sent by the host behind the gateway; what the gateway's egress or its control counts. */
const FROM_BEHIND: readonly Row[] = [
  [
    "TN-70: an error whose quote is not the client's packet",
    ({ client4 }) => [
      error(OFFICE_V4, client4, datagram(STRANGER, OFFICE_V4)),
      error(OFFICE_V4, client4, datagram(OFFICE_V4, client4)),
    ],
    "drop_icmp_quote",
  ],
  [
    "TN-7: an error whose quote is too short to name anybody's",
    ({ client4 }) => [error(OFFICE_V4, client4, datagram(client4, OFFICE_V4).subarray(0, 22))],
    "drop_icmp_quote",
  ],
  [
    "TN-7: a redirect, and a source quench",
    ({ client4 }) => [
      error(OFFICE_V4, client4, datagram(client4, OFFICE_V4), [5, 1]),
      error(OFFICE_V4, client4, datagram(client4, OFFICE_V4), [4, 0]),
    ],
    "drop_icmp_type",
  ],
  [
    "TN-62 row 10: a datagram that nobody asked for",
    ({ client4 }) => [datagram(OFFICE_V4, client4, [53, 4000])],
    "not_allowed",
  ],
  ["TN-62 row 3: to a client that is none", () => [datagram(OFFICE_V4, "100.64.0.77")], "drop_no_peer_state"],
];

describeWith(NEEDS, "hosts that lie", () => {
  let office: Office;
  let names: NameOffice;
  let places: Places;
  let captures: { readonly behind: Capture; readonly client: Capture };

  beforeAll(async () => {
    names = await startNameOffice((made) => (office = made), {
      site: [`wiki.corp.example. 60 IN A ${OFFICE_V4}`],
      gatewayArgs: ["--masquerade", "off"],
    });
    await office.gateway.sysctl("net/ipv4/ip_forward", "1");
    await office.resource.ip("route add 100.64.0.0/11 via 172.20.0.1");
    const [client4 = "", client6 = ""] = await tunnelAddresses(office.client);
    const [gateway4 = ""] = await tunnelAddresses(office.gateway);
    places = { client4, client6, gateway4 };
    // There is a connection, a network and a translation.
    for (const to of ["wiki.corp.example", VAULT])
      expect((await names.run("ping", "-4", "-c", "1", "-W", "10", to)).stdout).toContain("1 received");
    captures = { behind: await startCapture(office.resource), client: await startCapture(office.client) };
  }, 120_000);
  afterAll(() => office?.close());

  const countOf = (snapshot: Snapshot, name: string): number =>
    ["egress", "control"].reduce((sum, line) => sum + counterIn(snapshot, line, name), 0);

  async function expectRow(
    program: Child,
    from: Namespace,
    device: string,
    [, packetsOf, counted]: Row,
  ): Promise<void> {
    const packets = packetsOf(places);
    const count = async () => countOf(await statusOf(program), counted);
    const inject = () => from.run(process.execPath, [INJECT, device, ...packets.map(toHex)]);
    await expectCounted(packets.length, count, inject);
  }

  for (const row of FROM_THE_CLIENT)
    it(row[0], { timeout }, () => expectRow(names.client, office.client, "tun-postern", row));

  it("TN-20: nothing of it was seen behind the gateway", { timeout }, async () => {
    const pattern = Buffer.from(LAST).toString("hex");
    const { stdout } = await names.run("ping", "-c", "1", "-p", pattern, "-W", "10", VAULT);
    expect(stdout).toContain("1 received");
    for (const capture of [captures.behind, captures.client]) await capture.hasComeTo(LAST);
    expect(captures.behind.bytes().includes(MARK)).toBe(false);
    expect(captures.client.bytes().includes(MARK), "it was sent, and what is sent is captured").toBe(true);
  });

  for (const row of FROM_BEHIND)
    it(row[0], { timeout }, () => expectRow(names.gateway, office.resource, "by-routes", row));

  it("TN-70: an error about a translation that is none passes as it came, and means nothing to the host", {
    timeout,
  }, async () => {
    const quoted = datagram(places.client4, OFFICE_V4, [4_444, 9]);
    const before = countOf(await statusOf(names.client), "drop_bad_source");
    await office.resource.run(process.execPath, [
      INJECT,
      "by-routes",
      toHex(error(OFFICE_V4, places.client4, quoted)),
    ]);
    expect((await names.run("ping", "-4", "-c", "1", "-W", "10", PROXY)).stdout).toContain("1 received");
    expect(countOf(await statusOf(names.client), "drop_bad_source")).toBe(before);
  });

  it("D-8: every packet is accounted for, and no program complained", { timeout }, async () => {
    for (const program of [names.client, names.gateway]) {
      const snapshot = await statusOf(program);
      for (const worker of ["egress", "ingress"]) expectAccounted(snapshot, worker);
      expect(program.stderr()).not.toMatch(/ ERROR |^\s+at /m);
    }
  });
});
