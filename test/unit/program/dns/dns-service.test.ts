import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createSeededRandom, formatIp, instant, ip, SILENT } from "../../../../src/base/index.ts";
import { createResolver, type DirectQuery, type Resolver, TYPE } from "../../../../src/dns/index.ts";
import type { DnsControl, HostDnsWanted, NamedServer } from "../../../../src/host/index.ts";
import { createDnsService, type DnsService } from "../../../../src/program/dns/dns-service.ts";
import { parseNames } from "../../../../src/program/dns/names-file.ts";

const CONFIG = {
  addresses: { v4: ip("100.64.0.5") },
  patterns: [{ rid: "wiki", pattern: "wiki.corp", ipStack: "dual" as const }],
  upstreamDo53: [],
  upstreamDoh: [],
  tunnelled: [],
};

let folder: string;
let servers: readonly NamedServer[];
let wanted: string[][];
let sent: DirectQuery[];
let flushes: number;
let asksMulticast: boolean;
let warned: unknown[];
let resolver: Resolver;
let service: DnsService;

/** A host whose DNS is a variable. */
function fakeControl(): DnsControl {
  return {
    mode: "etc-resolv-conf",
    systemServers: () => servers,
    want: (_, to: HostDnsWanted) => {
      wanted.push([...to.servers.map(formatIp), `search ${to.searchDomain}`, ...to.suffixes]);
    },
    look: () => {},
    flush: () => flushes++,
    revert: () => {},
    watched: [],
  };
}

function open(): void {
  resolver = createResolver({ random: createSeededRandom(3) });
  service = createDnsService({
    control: fakeControl(),
    openPath: () => ({ send: (query) => sent.push(query), done: () => {}, close: () => {} }),
    doh: { want: () => {}, ask: () => Promise.reject(new Error("no DoH")), reset: () => {}, close: () => {} },
    give(use) {
      use(resolver, instant(1_000));
      drain();
    },
    now: () => instant(1_000),
    indexOf: (name) => (name === "eth0" ? 2 : undefined),
    namesFile: join(folder, "client-dns.json"),
    asksMulticastFirst: () => asksMulticast,
    log: { ...SILENT, warn: (event, fields) => void warned.push([event, fields?.["names"]]) },
  });
  service.start();
  resolver.configure(instant(1_000), CONFIG);
  drain();
}

/** Hands on what is not the tunnel's. */
function drain(): void {
  for (let event = resolver.pollEvent(); event !== undefined; event = resolver.pollEvent()) {
    if (event.kind !== "queried" && event.kind !== "site-needed") {
      service.handleEvent(event);
    }
  }
}

beforeEach(() => {
  vi.useFakeTimers();
  folder = mkdtempSync(join(tmpdir(), "dns-service-"));
  servers = [{ address: ip("192.0.2.1") }, { address: ip("fe80::1"), zone: "eth0" }];
  wanted = [];
  warned = [];
  asksMulticast = false;
  sent = [];
  flushes = 0;
  open();
});
afterEach(() => {
  service.close();
  vi.useRealTimers();
  rmSync(folder, { recursive: true });
});

describe("the service around the resolver", () => {
  it("PG-40, PG-77: the host's servers stand behind sentinels, and the host is told of those", () => {
    expect(service.status()).toEqual({
      method: "etc-resolv-conf",
      sentinels: ["100.100.111.1", "fd00:2021:1111:8000:100:100:111:1"],
      upstreams: ["192.0.2.1", "fe80::1%2"],
    });
    expect(wanted.at(-1)).toEqual([...service.status().sentinels, "search undefined", "wiki.corp"]);
    servers = [{ address: ip("192.0.2.2") }];
    vi.advanceTimersByTime(5_000);
    expect(service.status().upstreams).toEqual(["192.0.2.2"]);
    const count = wanted.length;
    vi.advanceTimersByTime(60_000);
    expect(wanted).toHaveLength(count);
  });

  it("DN-26: five seconds after a change the servers are asked whether they ask us", () => {
    sent.length = 0;
    vi.advanceTimersByTime(4_999);
    expect(sent).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(sent).toHaveLength(2);
  });

  it("DN-101: answers are forgotten once for many changes", () => {
    vi.advanceTimersByTime(1_000);
    expect(flushes).toBe(1);
    vi.advanceTimersByTime(10_000);
    expect(flushes).toBe(1);
  });

  it("DN-48: a lookup is answered with its reason", async () => {
    const report = await service.lookup("wiki.corp", TYPE.A);
    expect(report).toMatchObject({ decision: { kind: "local", row: 5, rid: "wiki" } });
    expect(report.addresses.map(formatIp)).toContain("100.96.0.1");
  });

  it("DN-46: names are kept over a restart, for nobody else's eyes", async () => {
    await service.lookup("wiki.corp", TYPE.A);
    vi.advanceTimersByTime(999);
    const path = join(folder, "client-dns.json");
    expect(() => statSync(path)).toThrow();
    vi.advanceTimersByTime(1);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(JSON.parse(readFileSync(path, "utf8"))).toMatchObject({
      version: 1,
      records: [{ domain: "wiki.corp", rid: "wiki", ips: expect.arrayContaining(["100.96.0.1"]) }],
    });
    service.close();
    open();
    expect([...resolver.names()].map(({ domain }) => domain)).toEqual(["wiki.corp"]);
  });

  it("DN-46: what was assigned in the last second is kept at the end", async () => {
    await service.lookup("wiki.corp", TYPE.A);
    service.close();
    open();
    expect([...resolver.names()]).toHaveLength(1);
  });

  it("DN-46: a damaged file is as good as none", () => {
    service.close();
    for (const text of [
      "{",
      '{"version":2,"records":[]}',
      '{"version":1,"records":[{"domain":"a","rid":"r","ips":["x"]}]}',
    ]) {
      expect(parseNames(text)).toBeUndefined();
    }
    writeFileSync(
      join(folder, "client-dns.json"),
      '{"version":1,"records":[{"domain":"a","rid":"r","ips":["192.0.2.1"]}]}',
    );
    open();
    expect([...resolver.names()]).toEqual([]);
  });

  it("DN-110: names below .local that the host asks of multicast are warned of, once", () => {
    const local = (pattern: string) =>
      resolver.configure(instant(1_000), { ...CONFIG, patterns: [{ rid: "a", pattern, ipStack: "dual" }] });
    open();
    local("printer.local");
    drain();
    expect(warned).toEqual([]);
    asksMulticast = true;
    local("*.office.local");
    drain();
    local("local.example");
    drain();
    local("other.local");
    drain();
    expect(warned).toEqual([[expect.stringContaining("below .local"), ["office.local"]]]);
  });
});
