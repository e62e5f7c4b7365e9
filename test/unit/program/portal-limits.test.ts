import { describe, expect, it } from "vitest";
import { ip, prefix } from "../../../src/base/index.ts";
import { forwardedAddress } from "../../../src/portal/server/index.ts";
import { parseOpenFilesLimit } from "../../../src/program/open-files.ts";
import type { PortalOptions } from "../../../src/program/options.ts";
import { createConnectionShares } from "../../../src/program/portal/connection-shares.ts";
import { shareLimits } from "../../../src/program/portal/listener.ts";
import { listenAddress, tlsPaths, trustedProxies } from "../../../src/program/portal/portal-options.ts";
import { createUnsent } from "../../../src/program/portal/unsent.ts";
import fc from "../../lib/property.ts";
import { OPTIONS } from "./portal-peer.ts";

describe("shares of connections", () => {
  const LIMITS = { perNetwork: 3, unknown: 6, total: 10 };

  it("PT-72: at the share of an address its oldest unknown connection makes room", () => {
    const shares = createConnectionShares<string>(LIMITS);
    for (const name of ["a1", "a2", "a3"]) expect(shares.open(name, "a")).toBeUndefined();
    expect(shares.open("b1", "b")).toBeUndefined();
    expect(shares.open("a4", "a")).toBe("a1");
    expect(shares.open("a5", "a")).toBe("a2");
  });

  it("PT-72: one that was admitted counts no longer, so an office of any size behind one NAT comes in", () => {
    const shares = createConnectionShares<number>({ ...LIMITS, total: 1000 });
    for (let n = 0; n < 500; n++) {
      expect(shares.open(n, "office")).toBeUndefined();
      shares.admit(n);
    }
    expect(shares.total).toBe(500);
  });

  it("PT-72: at the limit of all, the oldest unknown goes; where all are known, the new one", () => {
    const shares = createConnectionShares<string>({ perNetwork: 3, unknown: 6, total: 4 });
    for (const name of ["a", "b", "c", "d"]) expect(shares.open(name, name)).toBeUndefined();
    shares.admit("a");
    expect(shares.open("e", "e")).toBe("b");
    for (const name of ["c", "d", "e"]) shares.admit(name);
    expect(shares.open("f", "f")).toBe("f");
    shares.close("a");
    expect(shares.open("g", "g")).toBeUndefined();
  });

  it("PT-72: whatever comes and goes, no limit is passed and nobody known is sent away", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(2), fc.nat(4), fc.nat(20))), (steps) => {
        const shares = createConnectionShares<number>(LIMITS);
        const open = new Map<number, { network: string; isKnown: boolean }>();
        let next = 0;
        for (const [what, network, which] of steps) {
          const id = [...open.keys()][which % Math.max(1, open.size)];
          if (what === 0 || id === undefined) {
            open.set(next, { network: String(network), isKnown: false });
            const goes = shares.open(next++, String(network));
            if (goes !== undefined) {
              expect(open.get(goes)?.isKnown).toBe(false);
              open.delete(goes);
            }
          } else if (what === 1) {
            shares.admit(id);
            open.set(id, { network: open.get(id)?.network ?? "", isKnown: true });
          } else {
            shares.close(id);
            open.delete(id);
          }
          const unknown = [...open.values()].filter(({ isKnown }) => !isKnown);
          expect(shares.total).toBe(open.size);
          expect(open.size).toBeLessThanOrEqual(LIMITS.total);
          expect(unknown.length).toBeLessThanOrEqual(LIMITS.unknown);
          for (let n = 0; n < 5; n++) {
            const own = unknown.filter(({ network: of }) => of === String(n));
            expect(own.length).toBeLessThanOrEqual(LIMITS.perNetwork);
          }
        }
      }),
    );
  });

  it("PT-78: the limits follow from the process's own, with a reserve for files", () => {
    expect(shareLimits(1_048_576)).toEqual({ total: 20_000, unknown: 4_096, perNetwork: 256 });
    expect(shareLimits(1_024)).toEqual({ total: 960, unknown: 480, perNetwork: 256 });
    expect(shareLimits(96)).toEqual({ total: 32, unknown: 16, perNetwork: 16 });
    expect(shareLimits(32)).toEqual({ total: 1, unknown: 1, perNetwork: 1 });
    const text = "Limit                     Soft Limit           Hard Limit           Units\n";
    expect(
      parseOpenFilesLimit(
        `${text}Max open files            256                  4096                 files\n`,
      ),
    ).toBe(256);
    expect(
      parseOpenFilesLimit(
        `${text}Max open files            unlimited            unlimited            files\n`,
      ),
    ).toBeGreaterThan(1e9);
    expect(parseOpenFilesLimit("")).toBe(1024);
  });
});

describe("unsent data", () => {
  const LIMITS = { perSocketBytes: 1000, withinMs: 10_000, totalBytes: 5_000 };
  const outlet = (bufferedAmount = 0) => ({ bufferedAmount });

  it("PT-132: more than the limit of one socket, and nothing is added; one frame of any size is", () => {
    const unsent = createUnsent(LIMITS);
    expect(unsent.mayAdd(outlet(1_000))).toBe(true);
    expect(unsent.mayAdd(outlet(1_001))).toBe(false);
  });

  it("PT-132: data that has not left after 10 s is late, whether or not more is sent", () => {
    const unsent = createUnsent(LIMITS);
    const [stuck, slow, quick] = [outlet(500), outlet(500), outlet(500)];
    for (const each of [stuck, slow, quick]) unsent.added(each, 500);
    expect(unsent.check(1_000)).toEqual([]);
    quick.bufferedAmount = 0;
    slow.bufferedAmount = 1;
    expect(unsent.check(10_999)).toEqual([]);
    expect(unsent.check(11_000)).toEqual([stuck, slow]);
    // What left in time counts; what was added since has its own time.
    slow.bufferedAmount = 300;
    unsent.added(slow, 300);
    expect(unsent.check(12_000)).toEqual([stuck]);
  });

  it("PT-132: beyond the total whoever holds most goes", () => {
    const unsent = createUnsent(LIMITS);
    const sockets = Array.from({ length: 5 }, (_, n) => outlet(900 + n));
    for (const socket of sockets) expect(unsent.added(socket, 1_000)).toEqual([]);
    expect(unsent.added(outlet(1), 1)).toEqual([sockets[4]]);
    unsent.left(1_000);
    expect(unsent.added(outlet(1), 900)).toEqual([]);
  });
});

describe("whose address counts", () => {
  const PROXIES = [prefix("10.0.0.0/8"), prefix("2001:db8:1::/48")];
  const from = (peer: string, header: string | undefined) => forwardedAddress(ip(peer), header, PROXIES);

  it.each([
    ["no header", "10.0.0.1", undefined, "10.0.0.1"],
    ["a peer that is no proxy", "192.0.2.1", "198.51.100.1", "192.0.2.1"],
    ["the last entry", "10.0.0.1", "203.0.113.9, 198.51.100.1", "198.51.100.1"],
    ["the last that is no proxy", "10.0.0.1", "203.0.113.9, 198.51.100.1, 10.1.1.1", "198.51.100.1"],
    ["a chain of proxies only", "10.0.0.1", "10.0.0.3,10.0.0.2", "10.0.0.3"],
    ["an entry that is no address", "10.0.0.1", "198.51.100.1, unknown", "10.0.0.1"],
    ["a port", "10.0.0.1", "198.51.100.1:4711", "198.51.100.1"],
    ["IPv6 in brackets", "2001:db8:1::1", "[2001:db8::7]:443", "2001:db8::7"],
    ["IPv4 in IPv6", "10.0.0.1", "::ffff:198.51.100.1", "198.51.100.1"],
    ["an empty header", "10.0.0.1", "", "10.0.0.1"],
  ])("PT-73: %s", (_, peer, header, expected) => {
    expect(from(peer, header)).toEqual(ip(expected));
  });

  it("PT-73: a header of any length is looked at for 32 entries", () => {
    expect(from("10.0.0.1", `198.51.100.1,${"10.0.0.2,".repeat(10_000)}10.0.0.3`)).toEqual(ip("10.0.0.2"));
  });
});

describe("listening without TLS", () => {
  const on = (options: Partial<PortalOptions>) => {
    const all = { ...OPTIONS, dev: false, config: "x.yaml", ...options };
    return tlsPaths(all, listenAddress(all));
  };

  it("PT-110: is for loopback, for trusted proxies, and for those who insist", () => {
    expect(on({ listen: "127.0.0.1:8080" })).toBeUndefined();
    expect(() => on({ listen: "192.0.2.1:8080" })).toThrow(/without TLS lets tokens be read/);
    expect(() => on({ listen: "[::]:8080" })).toThrow(/without TLS/);
    expect(on({ listen: "192.0.2.1:8080", trustedProxy: ["192.0.2.0/24"] })).toBeUndefined();
    expect(on({ listen: "192.0.2.1:8080", devInsecure: true })).toBeUndefined();
    expect(on({ listen: "0.0.0.0:443", tlsCert: "c", tlsKey: "k" })).toEqual({ certPath: "c", keyPath: "k" });
  });

  it("PT-73: a proxy is a network or one address", () => {
    const of = (trustedProxy: readonly string[]) => trustedProxies({ ...OPTIONS, trustedProxy });
    expect(of(["192.0.2.0/24", "2001:db8::1"])).toEqual([prefix("192.0.2.0/24"), prefix("2001:db8::1/128")]);
    expect(() => of(["example"])).toThrow(/--trusted-proxy example is no network/);
  });
});
