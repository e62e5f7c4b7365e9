import { describe, expect, it } from "vitest";
import { formatStatus } from "../../../src/program/ask/format-status.ts";
import { formatBytes, formatSeconds, formatTable, WIDTH } from "../../../src/program/ask/table.ts";
import type { ConnectionView, PeerStatus, PortalServerStatus } from "../../../src/program/control/index.ts";

const CONNECTION: ConnectionView = {
  gid: "5f0e9d7c-1111-4222-8333-944455556666",
  name: null,
  state: "connected",
  path: "direct",
  local: "[fd30::2]:52625",
  remote: "[2001:db8:1234:5678:9abc:def0:1234:5678]:52625",
  relay: null,
  mtu: 1340,
  mtu_inside: 1280,
  rtt_ms: 12.4,
  rx_bytes: 1_234_567_890,
  tx_bytes: 999,
  rx_packets: 1,
  tx_packets: 1,
  handshake_age_s: 75,
  last_activity_s: 0,
  sessions: 1,
  resources: [],
  since: "2026-01-27T10:00:00.000Z",
  why: null,
};

const CLIENT: PeerStatus = {
  version: "0.1.0",
  role: "client",
  instance: "client",
  pid: 42,
  uptime_s: 3_725,
  ready: true,
  id: "lab-client",
  name: "laptop",
  account: null,
  portal: {
    url: "wss://portal.example.com",
    state: "connecting",
    since: "2026-01-27T10:00:00.000Z",
    last_error: "ECONNREFUSED",
    hiccups: 3,
  },
  tun: {
    name: "tun-postern",
    mtu: 1280,
    ipv4: "100.64.0.5",
    ipv6: "fd00:2021:1111::5",
    stack: "dual",
    offloads: "0x67",
  },
  sockets: { v4: 52625, v6: 52625, gso: true, gro: true, rcvbuf: 1, sndbuf: 1 },
  cipher: "x86",
  egress: { v4: null, v6: null },
  dns: { method: "none", sentinels: [], upstreams: [] },
  relays: [],
  resources: [
    {
      rid: "1",
      type: "cidr",
      name: "The office in Berlin with a name that does not end where anybody would expect it",
      address: "2001:db8:1234:5678::/64",
      description: null,
      sites: [{ id: "s", name: "Berlin" }],
      status: "online",
      enabled: true,
    },
  ],
  connections: [CONNECTION],
  counters: { egress: {}, ingress: {}, control: {} },
  plane: {
    batches: {
      egress: { bounds: [1, 2], counts: [1, 0, 2], sum: 85 },
      ingress: { bounds: [1, 2], counts: [0, 0, 0], sum: 0 },
    },
    waits_us: {
      egress: { bounds: [16], counts: [4, 1], sum: 900 },
      ingress: { bounds: [16], counts: [0, 2], sum: 900 },
    },
    queues: {},
  },
  flags: {},
  rss_mib: 100,
};

describe("what status prints", () => {
  it("PG-111: summary, portal, interface, resources and connections, within 80 columns", () => {
    const lines = formatStatus(CLIENT);
    expect(lines[0]).toBe("client: ready, up 1h02m (postern 0.1.0, process 42)");
    expect(lines[1]).toBe("portal     wss://portal.example.com connecting (ECONNREFUSED)");
    expect(lines[2]).toMatch(/^interface {2}tun-postern 100\.64\.0\.5 fd00:2021:1111::5, MTU 1280/);
    expect(lines).toContainEqual(
      expect.stringMatching(/^The office .*… {2}2001:db8:1234:5678::\/64 {2}Berlin {2}online$/),
    );
    expect(lines.at(-1)).toMatch(/^5f0e9d.*… +connected +direct +\[2001.*… +12 ms +1\.2 GB +999 B +1m15s$/);
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(WIDTH);
  });

  it("PG-111, PG-114: how many datagrams go at a time, and whether any have come", () => {
    expect(formatStatus(CLIENT)).toContain(
      "batches    28.3 datagrams a send, none yet a receive; slept 7 times",
    );
  });

  it("PG-111, RL-212: the longest name of a path leaves the lines within 80 columns", () => {
    const lines = formatStatus({ ...CLIENT, connections: [{ ...CONNECTION, path: "relayed-tls" }] });
    expect(lines.at(-1)).toMatch(/ +connected +relayed-tls +\[2001.*… +12 ms /);
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(WIDTH);
  });

  it("PG-111: what the program does not have is said in words", () => {
    const lines = formatStatus({ ...CLIENT, resources: [], connections: [], ready: false });
    expect(lines[0]).toContain("client: starting");
    expect(lines).toContain("no resources");
    expect(lines).toContain("no connections");
  });

  it("PG-9, PG-111: the internet resource is off where its switch is", () => {
    const internet = (enabled: boolean) =>
      formatStatus({
        ...CLIENT,
        resources: CLIENT.resources.map((one) => ({ ...one, type: "internet", address: null, enabled })),
      });
    expect(internet(false)).toContainEqual(expect.stringMatching(/ internet +Berlin +off$/));
    expect(internet(true)).toContainEqual(expect.stringMatching(/ internet +Berlin +online$/));
  });

  it("PG-111: of a portal who is there, and how much is granted", () => {
    const portal: PortalServerStatus = {
      version: "0.1.0",
      role: "portal",
      instance: "portal",
      pid: 7,
      uptime_s: 5,
      ready: true,
      listen: "127.0.0.1:8080",
      clients: [],
      gateways: [{ id: "i", name: "berlin-1", external_id: "e" }],
      relays: 0,
      live_authorizations: 2,
      counters: {},
    };
    const text = formatStatus(portal).join("\n");
    expect(text).toContain("0 clients, 1 gateways, 0 relays");
    expect(text).toMatch(/^gateway +berlin-1 +e +i$/m);
  });

  it("PG-111: a name from outside brings no control character to the terminal", () => {
    const [resource] = CLIENT.resources;
    if (resource === undefined) throw new Error("there is one");
    const lines = formatStatus({ ...CLIENT, resources: [{ ...resource, name: "a\x1b[2Jb" }] });
    expect(lines.join("\n")).not.toContain("\x1b");
  });

  it("PG-115: bytes by factors of 1000, durations by their two largest units", () => {
    expect([0, 999, 1000, 99_949, 99_950, 955_330_000, 1e12].map(formatBytes)).toEqual([
      "0 B",
      "999 B",
      "1.0 kB",
      "99.9 kB",
      "100 kB",
      "955 MB",
      "1.0 TB",
    ]);
    expect([0, 59, 60, 3_599, 3_600, 90_000].map(formatSeconds)).toEqual([
      "0s",
      "59s",
      "1m00s",
      "59m59s",
      "1h00m",
      "1d01h",
    ]);
  });

  it("PG-111: a table without columns that may be cut stays whole", () => {
    const wide = "w".repeat(100);
    expect(formatTable([{ title: "A" }], [[wide]])).toEqual(["A", wide]);
  });
});
