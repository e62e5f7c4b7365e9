/**
 * A client with valid keys, some access and bad intentions: what it sends beyond its access is counted, and no host
 * behind the gateway sees it (TN-3, TN-44, TN-61 to TN-64; issue on names: hostile, from a granted client).
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import { concatBytes, copyOf, ip } from "../../src/base/index.ts";
import { type Capture, startCapture } from "../lib/capture.ts";
import { type Granted, startGranted } from "../lib/granted.ts";
import { type NameOffice, SENTINEL, startNameOffice } from "../lib/name-office.ts";
import {
  counterIn,
  eventually,
  expectAccounted,
  expectCounted,
  type Snapshot,
  statusOf,
  tunnelAddresses,
  warningsOf,
} from "../lib/observe.ts";
import { OFFICE_V4, OFFICE_V6, type Office, VAULT } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";
import { ipPacket, tcp, udp } from "../unit/plane/packets.ts";

const REFUSED = "MAY-NOT-PASS";
const ALLOWED = "MAY-PASS";
/** Behind all of it: captures lag behind what is sent. */
const LAST = "LAST-OF-ALL";
const WARNINGS = 20;
const timeout = 60_000;
const NEEDS = ["root", "netns", "tun", "nft", "ipv6", "build", "unbound", "wireguard-go", "wg"] as const;
/** What a name of the site may not lead to, however it is written in its zone (TN-64 no. 2). */
const TRAPS = {
  "loop.corp.example": "127.0.0.1",
  "metadata.corp.example": "169.254.169.254",
  "peer.corp.example": "100.64.0.1",
  "other-name.corp.example": "100.96.0.1",
} as const;

type Row = readonly [
  what: string,
  packets: (at: Places) => readonly Uint8Array[],
  counted: string,
  by?: number,
];

interface Places {
  readonly own4: Uint8Array;
  readonly own6: Uint8Array;
  readonly gateway4: Uint8Array;
  /** Of a client that means no harm. */
  readonly honest4: Uint8Array;
}

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const datagram = (source: Uint8Array, destination: string | Uint8Array, more: object = {}): Uint8Array => {
  const to = typeof destination === "string" ? ip(destination) : destination;
  const options = { source, destination: to, ports: [4000, 22], ...more } as const;
  return udp(text(REFUSED), { family: source.length === 4 ? 4 : 6, ...options });
};
const withBytes = (packet: Uint8Array, at: number, ...values: readonly number[]): Uint8Array => {
  const copy = copyOf(packet);
  copy.set(values, at);
  return copy;
};
const icmpError = (source: Uint8Array, destination: string, quoted: Uint8Array): Uint8Array =>
  ipPacket(1, concatBytes(Uint8Array.from([3, 1, 0, 0, 0, 0, 0, 0]), quoted), {
    family: 4,
    source,
    destination: ip(destination),
  });

/** What the gateway's ingress or its control counts for them (TN-61). */
const ROWS: readonly Row[] = [
  [
    "TN-3: a length beyond the packet",
    ({ own4 }) => [withBytes(datagram(own4, VAULT), 2, 0x05, 0xdc)],
    "drop_ip_length",
  ],
  ["TN-3: a header of 16 bytes", ({ own4 }) => [withBytes(datagram(own4, VAULT), 0, 0x44)], "drop_ip_length"],
  [
    "TN-3: a UDP length beyond the packet",
    ({ own4 }) => [withBytes(datagram(own4, VAULT), 24, 1, 0)],
    "drop_udp_length",
  ],
  [
    "TN-3: TCP options beyond the packet",
    ({ own4: source }) => [
      withBytes(tcp(text(REFUSED), { family: 4, source, destination: ip(VAULT) }), 32, 0xf0),
    ],
    "drop_tcp_length",
  ],
  [
    "TN-3: ICMPv6 in IPv4",
    ({ own4: source }) => [ipPacket(58, text(REFUSED), { family: 4, source, destination: ip(VAULT) })],
    "drop_icmp_family",
  ],
  [
    "TN-3: a loose source route",
    ({ own4 }) => [datagram(own4, VAULT, { options: Uint8Array.from([131, 7, 4, 172, 20, 0, 100, 0]) })],
    "drop_ip_source_route",
  ],
  [
    "PG-48: longer than anything that a client seals",
    ({ own4 }) => [longDatagram(own4)],
    "drop_udp_too_long",
  ],
  [
    "TN-112: a later fragment without its first, to a name",
    ({ own4 }) => [datagram(own4, "100.96.0.1", { fragmentField: 0x0010 })],
    "fragment_unknown",
  ],
  [
    "TN-111: first fragments that hide their header, later ones that lie over it, and an error in pieces",
    ({ own4: source }) => {
      const ends = { family: 4, source, destination: ip(VAULT) } as const;
      const part = (protocol: number, bytes: number, fragmentField: number): Uint8Array =>
        ipPacket(protocol, text(REFUSED.repeat(9)).subarray(0, bytes), { ...ends, fragmentField });
      return [
        ...[part(6, 16, 0x2000), part(6, 16, 0x0002), part(17, 16, 0x1fff)],
        ipPacket(1, Uint8Array.from([3, 1, ...new Uint8Array(14)]), { ...ends, fragmentField: 0x2000 }),
      ];
    },
    "drop_ip_fragment",
  ],
  [
    "TN-61 row 3: multicast and broadcast",
    ({ own4 }) => [datagram(own4, "224.0.0.5"), datagram(own4, "255.255.255.255")],
    "drop_multicast",
  ],
  [
    "TN-61 row 4: an ICMP error that quotes what was never sent",
    ({ own4 }) => [icmpError(own4, VAULT, datagram(ip(VAULT), own4))],
    "drop_icmp_error_out",
  ],
  [
    "TN-61 row 5: in another client's name",
    ({ honest4 }) => [datagram(honest4, VAULT)],
    "drop_not_client_ip",
  ],
  [
    "TN-61 row 5: in the name of the gateway, a resource, the portal, itself",
    ({ gateway4 }) =>
      [gateway4, ip(VAULT), ip("203.0.113.10"), ip("127.0.0.1"), ip(OFFICE_V6)].map((source) =>
        datagram(source, source.length === 4 ? VAULT : OFFICE_V6),
      ),
    "drop_not_client_ip",
  ],
  ["TN-61 row 6: a service of the gateway", ({ own4, gateway4 }) => [datagram(own4, gateway4)], "refused"],
  ["TN-61 row 7: another client", ({ own4, honest4 }) => [datagram(own4, honest4)], "refused"],
  ["TN-61 row 7: a sentinel", ({ own4 }) => [datagram(own4, SENTINEL)], "refused"],
  ["TN-61 row 8: a proxy address of no name", ({ own4 }) => [datagram(own4, "100.96.99.1")], "refused"],
  ["TN-61 row 14: a network that was not granted", ({ own4 }) => [datagram(own4, OFFICE_V4)], "refused"],
  ["TN-61 row 14: the same by IPv6", ({ own6 }) => [datagram(own6, OFFICE_V6)], "refused"],
  [
    "TN-61 row 14: the portal, the world, the gateway's neighbours",
    ({ own4 }) => ["203.0.113.10", "192.0.2.1", "10.31.0.1"].map((to) => datagram(own4, to)),
    "refused",
  ],
  ["TN-44: control events that are none", () => JUNK, "p2p_bad"],
];

const EVENT = { family: 6, source: new Uint8Array(16), destination: new Uint8Array(16), hops: 0 } as const;
const event = (kind: number, body: string): Uint8Array =>
  ipPacket(255, concatBytes(Uint8Array.from([kind, 0, 0, 0, 0, 0, 0, 0]), text(body)), EVENT);
const JUNK = [
  ipPacket(255, Uint8Array.from([0, 0, 0]), EVENT),
  event(9, "{}"),
  event(0, ""),
  event(0, "[".repeat(500)),
  event(0, '{"resource":"x","domain":"wiki.corp.example","proxy_ips":["100.96.0.1"]}'),
  event(0, '{"resource":7,"domain":{},"proxy_ips":"all"}'),
  event(1, '{"resource":"00000000-0000-0000-0000-000000000065","domain":"a.example","status":"Active"}'),
] as const;

/** Over what the gateway carries, not over what WireGuard does. */
function longDatagram(source: Uint8Array): Uint8Array {
  return udp(text(REFUSED.repeat(110)), { family: 4, source, destination: ip(VAULT), ports: [4000, 22] });
}

describeWith(NEEDS, "a granted client that means harm", () => {
  let office: Office;
  let names: NameOffice;
  let granted: Granted;
  let places: Places;
  let captures: { readonly behind: Capture; readonly around: Capture; readonly own: Capture };

  beforeAll(async () => {
    names = await startNameOffice((made) => (office = made), {
      site: [
        `wiki.corp.example. 60 IN A ${OFFICE_V4}`,
        ...Object.entries(TRAPS).map(([name, address]) => `${name}. 60 IN A ${address}`),
      ],
      names: [],
    });
    granted = await startGranted(office, "Wiki", "Vault");
    captures = {
      behind: await startCapture(office.resource),
      around: await startCapture(office.router),
      own: await startCapture(granted.where),
    };
    const [honest = ""] = await tunnelAddresses(office.client);
    const { own4, own6, gateway4 } = granted;
    places = { own4: ip(own4), own6: ip(own6), gateway4: ip(gateway4), honest4: ip(honest) };
  }, 120_000);
  afterAll(() => office?.close());

  const assign = (resource: string, domain: string, proxies: readonly string[]): Uint8Array =>
    event(0, JSON.stringify({ resource: granted.resources[resource], domain, proxy_ips: proxies }));
  /** Answers of the gateway to set-ups, as they came out of the tunnel. */
  const answers = (status: string): number =>
    captures.own.bytes().toString("latin1").split(`"status":"${status}"`).length - 1;
  const seen = (marker: string): boolean => captures.behind.bytes().includes(marker);
  const countOf = (snapshot: Snapshot, name: string): number =>
    ["ingress", "control"].reduce((sum, line) => sum + counterIn(snapshot, line, name), 0);

  it("TN-61 row 12: what it may send passes, and is seen behind the gateway", { timeout }, async () => {
    const options = { family: 4, source: places.own4, destination: ip(VAULT) } as const;
    await eventually(async () => {
      await granted.send([udp(text(ALLOWED), options)]);
      expect(seen(ALLOWED)).toBe(true);
    });
  });

  it("TN-63: a name that it was granted is set up", { timeout }, async () => {
    await granted.send([
      assign("Wiki", "wiki.corp.example", ["100.96.0.1", "100.96.0.2", "100.96.0.3", "100.96.0.4"]),
    ]);
    await eventually(() => expect(answers("Active")).toBe(1));
    const request = Uint8Array.from([8, 0, 0, 0, 0, 7, 0, 1, ...text(`${ALLOWED}-BY-NAME`)]);
    await granted.send([
      ipPacket(1, withChecksum(request), { family: 4, source: places.own4, destination: ip("100.96.0.2") }),
    ]);
    await eventually(() => expect(seen(`${ALLOWED}-BY-NAME`)).toBe(true));
  });

  for (const [what, packetsOf, counted] of ROWS) {
    it(what, { timeout }, async () => {
      const packets = packetsOf(places);
      const count = async () => countOf(await statusOf(names.gateway), counted);
      await expectCounted(packets.length, count, () => granted.send(packets));
    });
  }

  it("TN-63: set-ups that nobody granted are answered Inactive and change nothing", { timeout }, async () => {
    const before = answers("Inactive");
    const proxies = ["100.96.50.1", "100.96.50.2"];
    const setups = [
      // Not granted, not a name at all, no name of that resource.
      event(
        0,
        JSON.stringify({
          resource: "00000000-0000-0000-0000-000000000065",
          domain: "wiki.corp.example",
          proxy_ips: proxies,
        }),
      ),
      assign("Vault", "wiki.corp.example", proxies),
      assign("Wiki", "wiki.lab.example", proxies),
      // Addresses of others as if they were proxies of its name.
      assign("Wiki", "wiki.corp.example", [OFFICE_V4]),
      assign("Wiki", "wiki.corp.example", ["203.0.113.10", "100.96.50.1"]),
      assign("Wiki", "wiki.corp.example", [granted.gateway4]),
      assign("Wiki", "wiki.corp.example", [SENTINEL]),
      assign("Wiki", "wiki.corp.example", ["100.96.50.1", "100.96.50.1"]),
      assign("Wiki", "wiki.corp.example", []),
      assign(
        "Wiki",
        "wiki.corp.example",
        Array.from({ length: 9 }, (_, i) => `100.96.50.${i + 1}`),
      ),
    ];
    await granted.send(setups);
    await eventually(() => expect(answers("Inactive") - before).toBe(setups.length));
    const refused = countOf(await statusOf(names.gateway), "refused");
    const behind = [OFFICE_V4, "203.0.113.10", ...proxies].map((to) => datagram(places.own4, to));
    await granted.send(behind);
    await eventually(async () =>
      expect(countOf(await statusOf(names.gateway), "refused") - refused).toBe(behind.length),
    );
  });

  it("TN-64: a zone that leads to the gateway, to metadata or to another client gives no address", {
    timeout,
  }, async () => {
    const [inactive, active] = [answers("Inactive"), answers("Active")];
    const traps = Object.keys(TRAPS).map((name, i) => assign("Wiki", name, [`100.96.60.${i + 1}`]));
    await granted.send(traps);
    await eventually(() => expect(answers("Inactive") - inactive).toBe(traps.length));
    expect(answers("Active")).toBe(active);
    const knocks = traps.map((_, i) =>
      tcp(text(REFUSED), {
        family: 4,
        source: places.own4,
        destination: ip(`100.96.60.${i + 1}`),
        ports: [4000, 80],
        flags: 2,
      }),
    );
    const refused = countOf(await statusOf(names.gateway), "refused");
    await granted.send(knocks);
    await eventually(async () =>
      expect(countOf(await statusOf(names.gateway), "refused") - refused).toBe(knocks.length),
    );
  });

  it("D-8, PG-106: nothing of it was seen by any host, every packet is accounted for, and few lines were written", {
    timeout,
  }, async () => {
    const options = { family: 4, source: places.own4, destination: ip(VAULT) } as const;
    await eventually(async () => {
      await granted.send([udp(text(LAST), options)]);
      expect(seen(LAST)).toBe(true);
    });
    for (const capture of [captures.behind, captures.around]) {
      expect(capture.bytes().length).toBeGreaterThan(1_000);
      expect(capture.bytes().includes(REFUSED)).toBe(false);
    }
    expect(captures.own.bytes().includes(REFUSED), "it was sent, and what is sent is captured").toBe(true);
    const snapshot = await statusOf(names.gateway);
    for (const worker of ["egress", "ingress"]) expectAccounted(snapshot, worker);
    expect(warningsOf(names.gateway).length).toBeLessThan(WARNINGS);
    for (const program of [names.gateway, names.client, names.portal])
      expect(program.stderr()).not.toMatch(/ ERROR |^\s+at /m);
    // Whoever means no harm notices nothing.
    expect((await names.run("ping", "-4", "-c", "1", "-W", "5", "wiki.corp.example")).stdout).toContain(
      "1 received",
    );
  });
});

function withChecksum(icmp: Uint8Array): Uint8Array {
  const copy = copyOf(icmp);
  let sum = 0;
  for (let i = 0; i < copy.length; i += 2) sum += ((copy[i] ?? 0) << 8) | (copy[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  copy.set([(~sum >>> 8) & 255, ~sum & 255], 2);
  return copy;
}
