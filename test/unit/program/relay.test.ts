import { describe, expect, it } from "vitest";
import { ip, type LogFields, prefix, SILENT } from "../../../src/base/index.ts";
import {
  parsePortalUrl,
  parseRelayJoin,
  relayChannel,
  socketUrlOf,
} from "../../../src/portal/protocol/index.ts";
import { joinPayloadOf } from "../../../src/portal/protocol/login.ts";
import type { RelayServerStatus } from "../../../src/program/control/index.ts";
import type { RelayOptions } from "../../../src/program/options.ts";
import { relaySamples } from "../../../src/program/relay/relay-samples.ts";
import { fitLimit, loopbackAddress, readSettings } from "../../../src/program/relay/relay-settings.ts";
import {
  createStatistics,
  formatRate,
  type RelayFigures,
} from "../../../src/program/relay/relay-statistics.ts";

const OPTIONS: RelayOptions = {
  apiUrl: undefined,
  tokenPath: undefined,
  name: undefined,
  maxPartitionTime: undefined,
  check: false,
  exit: false,
  caFile: undefined,
  instance: undefined,
  publicIp4: "198.51.100.7",
  publicIp6: undefined,
  bindIp4: undefined,
  bindIp6: undefined,
  turnPort: 3478,
  lowestPort: 49_152,
  highestPort: 65_535,
  tlsListen: undefined,
  tlsCert: undefined,
  tlsKey: undefined,
  tlsName: undefined,
  tcpListen: undefined,
  devInsecure: false,
  realm: "firezone",
  standAlone: true,
  stampSecretPath: undefined,
  privatePeers: "auto",
  deniedPeers: [],
  allowLoopbackPeers: false,
  maxAllocations: 10_000,
  allocationsPerUser: 1,
  drain: 10_000,
  healthAddr: undefined,
  metricsAddr: undefined,
  otlpEndpoint: undefined,
  seed: undefined,
};

describe("the relay's options", () => {
  it("RL-63: with one public address only that family is served", () => {
    expect(readSettings(OPTIONS)).toMatchObject({
      publicIp4: ip("198.51.100.7"),
      bind: { 4: ip("0.0.0.0") },
    });
    expect(readSettings(OPTIONS).bind[6]).toBeUndefined();
    const both = readSettings({ ...OPTIONS, publicIp6: "2001:db8::7", bindIp6: "2001:db8::8" });
    expect(both.bind).toEqual({ 4: ip("0.0.0.0"), 6: ip("2001:db8::8") });
  });

  it("RL-206: streams come in by IPv4, also where only IPv6 is served", () => {
    const only6 = { ...OPTIONS, publicIp4: undefined, publicIp6: "2001:db8::7" };
    expect(readSettings(only6).bind[4]).toBeUndefined();
    const settings = readSettings({ ...only6, tcpListen: "127.0.0.1:1" });
    expect(settings.bind[4]).toEqual(ip("127.0.0.1"));
    expect(loopbackAddress(settings)).toEqual({ address: ip("127.0.0.1"), port: 3478 });
    const bound = readSettings({ ...OPTIONS, bindIp4: "198.51.100.8" });
    expect(loopbackAddress(bound).address).toEqual(ip("198.51.100.8"));
  });

  it.each([
    ["no public address", { publicIp4: undefined }, "needs --public-ip4"],
    ["an IPv6 address as IPv4", { publicIp4: "2001:db8::7" }, "--public-ip4 2001:db8::7 is no IPv4 address"],
    ["a name", { bindIp4: "localhost" }, "--bind-ip4 localhost is no IPv4 address"],
    ["a range that ends before it begins", { lowestPort: 2, highestPort: 1 }, "--lowest-port 2 is above"],
    ["a network that is none", { deniedPeers: ["10.0.0.0/8,x"] }, "--denied-peers x is no network"],
    ["an empty realm", { realm: "" }, "--realm is not"],
    ["a realm with a line break", { realm: "a\nb" }, "--realm is not"],
  ])("RL-64: %s is refused", (_, changes, message) => {
    expect(() => readSettings({ ...OPTIONS, ...changes })).toThrow(message);
  });

  it("RL-57, RL-64: denied networks may stand together or apart", () => {
    const { policy } = readSettings({
      ...OPTIONS,
      deniedPeers: ["203.0.113.0/24, 2001:db8::/32", "192.0.2.1"],
    });
    expect(policy.deniedPeers).toEqual(["203.0.113.0/24", "2001:db8::/32", "192.0.2.1/32"].map(prefix));
  });

  it.each([
    [10_000, 65_536, 2, 10_000],
    [10_000, 20_256, 2, 10_000],
    [10_000, 20_255, 2, 9_999],
    [10_000, 10_256, 1, 10_000],
    [10_000, 10_255, 1, 9_999],
    [10_000, 256, 1, 0],
    [10_000, 100, 2, 0],
  ] as const)(
    "RL-65: of %i allocations, %i open files hold with %i families %i",
    (wanted, files, families, fitting) => {
      expect(fitLimit(wanted, files, families)).toBe(fitting);
    },
  );
});

describe("what the relay tells", () => {
  it.each([
    [0, "0.00 B/s"],
    [999, "999.00 B/s"],
    [1000, "1.00 kB/s"],
    [955_330_000, "955.33 MB/s"],
    [2.5e12, "2500.00 GB/s"],
  ])("RL-72: %d bytes per second are %s", (bytes, text) => {
    expect(formatRate(bytes)).toBe(text);
  });

  it("RL-72: a line every time that anything changed, and none otherwise", () => {
    const lines: (LogFields | undefined)[] = [];
    let figures: RelayFigures = { allocations: 0, channels: 0, bytes: 0 };
    const log = { ...SILENT, info: (_: string, fields?: LogFields) => void lines.push(fields) };
    const statistics = createStatistics(() => figures, log, 0);
    statistics.tell(10_000);
    expect(lines).toEqual([]);
    figures = { allocations: 1, channels: 2, bytes: 50_000 };
    statistics.tell(20_000);
    statistics.tell(30_000);
    expect(lines).toEqual([{ allocations: 1, channels: 2, throughput: "5.00 kB/s" }]);
    figures = { ...figures, allocations: 0 };
    statistics.tell(40_000);
    expect(lines[1]).toEqual({ allocations: 0, channels: 2, throughput: "0.00 B/s" });
  });

  it("RL-71: metrics are made of the status", () => {
    const status = {
      allocations: 3,
      channels: 4,
      portal: null,
      relayed: { to_peers: { packets: 5, bytes: 6 }, to_clients: { packets: 7, bytes: 8 } },
      counters: {
        client: { packets_punted: 9, drop_relay_unknown: 1, gso_disabled: 1 },
        peer: { gso_disabled: 2 },
        control: { answer_allocate_401: 2, drop_relay_rate: 3 },
      },
    } as unknown as RelayServerStatus;
    const told = relaySamples(status).map(({ name, labels, value }) => [
      name,
      Object.values(labels).join(),
      value,
    ]);
    expect(told).toEqual([
      ["postern_relay_allocations", "", 3],
      ["postern_relay_channels", "", 4],
      ["postern_relay_packets_total", "to_peers", 5],
      ["postern_relay_bytes_total", "to_peers", 6],
      ["postern_relay_packets_total", "to_clients", 7],
      ["postern_relay_bytes_total", "to_clients", 8],
      ["postern_relay_answers_total", "allocate_401", 2],
      ["postern_dropped_total", "relay_unknown,client", 1],
      ["postern_dropped_total", "relay_rate,control", 3],
      ["postern_relay_punts_total", "", 9],
      ["postern_relay_gso_fallbacks_total", "", 3],
    ]);
  });
});

describe("the relay at the portal", () => {
  it("RL-67, PT-11: its URL names address and port, and never the secret", () => {
    const url = parsePortalUrl("wss://portal.example/");
    if (!url.ok) throw new Error(url.reason);
    const params = {
      name: "r 1",
      ipv4: ip("198.51.100.7"),
      ipv6: ip("2001:db8::7"),
      port: 3478,
      stampSecret: "ab",
    };
    expect(socketUrlOf(url.value, "relay", params)).toBe(
      "wss://portal.example/relay/websocket?name=r+1&ipv4=198.51.100.7&ipv6=2001%3Adb8%3A%3A7&port=3478",
    );
  });

  it("RL-207, PT-9: its streams are told in the join", () => {
    const streams = { tls: { port: 443, name: "relay.example" }, tcp: { port: 80 } };
    const payload = joinPayloadOf({ port: 3478, stampSecret: "ab".repeat(32), streams });
    expect(parseRelayJoin(payload)).toEqual({ stampSecret: "ab".repeat(32), ...streams });
    expect(joinPayloadOf({ port: 3478, stampSecret: "ab" })).toEqual({ stamp_secret: "ab" });
  });

  it("PT-65: it understands `init`, and nothing else", () => {
    expect(relayChannel.parseMessage("init", {})).toEqual({
      kind: "message",
      message: { kind: "init" },
      skipped: 0,
    });
    expect(relayChannel.parseMessage("config", {})).toEqual({ kind: "unknown-event" });
    expect(relayChannel.parseRequest("anything", {})).toEqual({ kind: "unknown-event" });
  });
});
