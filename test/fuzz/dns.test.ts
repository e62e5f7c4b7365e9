/** What parses DNS, names, patterns, files of resolvers and TCP, on mutations of what is right (TS-40). */
import { describe, expect, it } from "vitest";
import { concatBytes, createSeededRandom, fromBase64, instant, ip } from "../../src/base/index.ts";
import {
  checkQuery,
  checkResponse,
  createResolver,
  domainOf,
  encodeForwarded,
  encodeLocal,
  encodeQuery,
  encodeReturned,
  matchesPattern,
  parseMessage,
  parsePattern,
  TYPE,
  toName,
} from "../../src/dns/index.ts";
import { recoverOriginal, serversIn, serversInResolvectl, toOurText } from "../../src/host/resolv-conf.ts";
import { encodeUdp } from "../../src/packet/index.ts";
import { parseNames } from "../../src/program/dns/names-file.ts";
import { encodeSegment } from "../../src/tcp/encode.ts";
import { createChance } from "./chance.ts";
import { mutateBytes, mutateText } from "./mutation.ts";

const ROUNDS = 3_000;
const now = instant(1_000);

/** The query of RFC 8484 §4.1.1, and an answer with a CNAME, an A and an OPT. */
const QUERY = fromBase64("AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQAB") ?? new Uint8Array(0);
const OPT = Uint8Array.of(0, 0, 41, 4, 208, 0, 0, 128, 0, 0, 6, 0, 15, 0, 2, 0, 22);
const ANSWER = concatBytes(
  Uint8Array.of(0, 0, 0x81, 0x80, 0, 1, 0, 2, 0, 0, 0, 1),
  QUERY.subarray(12),
  Uint8Array.of(0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 4, 1, 97, 0xc0, 16),
  Uint8Array.of(1, 97, 0xc0, 16, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1),
  OPT,
);

describe("parsers of DNS", () => {
  it("DN-4, DN-9, DN-13: a mutated message is refused, or read so that all that is made of it is a message again", () => {
    const chance = createChance(0xd5);
    let read = 0;
    for (let i = 0; i < ROUNDS; i++) {
      const bytes = mutateBytes(chance, chance.pick([QUERY, ANSWER]));
      const message = parseMessage(bytes);
      if (message.ok) {
        read++;
        expect(message.value.bytes.length).toBeLessThanOrEqual(bytes.length);
        // What follows the last record is cut off: the rest is the same message.
        expect(parseMessage(message.value.bytes)).toEqual(message);
      }
      const check = checkQuery(bytes);
      if (check.kind !== "query") continue;
      const { query } = check;
      const forwarded = encodeForwarded(query, 7);
      expect(parseMessage(forwarded).ok).toBe(true);
      const local = encodeLocal(query, { rcode: 0, records: [{ type: 1, data: Uint8Array.of(1, 2, 3, 4) }] });
      const response = checkResponse(local, query, query.header.id);
      expect(response.ok).toBe(true);
      if (response.ok) expect(encodeReturned(response.value, query)).toEqual(local);
    }
    expect(read).toBeGreaterThan(ROUNDS / 20);
  });

  it("DN-1, DN-27: names and patterns are read or refused, and what is read reads back", () => {
    const chance = createChance(0xd6);
    const words = ["*", "**", "?", ".", "\\", "\\.", "\\046", "xn--", "a", "-", "_", "\u00fc"];
    for (let i = 0; i < ROUNDS; i++) {
      const text = mutateText(chance, chance.pick(["www.example.com", "*.b\\.c.example", "a.**.b?"]), words);
      const name = toName(text);
      if (name !== undefined) expect(toName(domainOf(name))?.key).toBe(name.key);
      parsePattern(text);
      expect(typeof matchesPattern(text, "www.example.com")).toBe("boolean");
    }
  });

  it("DN-46, DN-103, DN-107: files of resolvers and of names never throw, and ours names only sentinels", () => {
    const chance = createChance(0xd7);
    const words = [
      "nameserver",
      "search",
      "domain",
      "options",
      "ndots:5",
      "trust-ad",
      "100.100.111.1",
      "%eth0",
      "#",
    ];
    const original = "# a\nnameserver 192.0.2.1\nsearch a b\noptions ndots:2\nnameserver fe80::1%eth0\n";
    const sentinel = ip("100.100.111.1");
    const owner = {
      ...{ instance: "client", process: 1, startedAt: 1 },
      wanted: { servers: [sentinel], searchDomain: "corp" },
    };
    for (let i = 0; i < ROUNDS; i++) {
      const text = mutateText(chance, original, words);
      const ours = toOurText(text, [owner], "/b");
      expect(serversIn(ours)).toEqual([{ address: sentinel }]);
      expect(serversIn(recoverOriginal(ours, (address) => address.join() === sentinel.join()))).toEqual([]);
      serversInResolvectl(mutateText(chance, "Link 2 (eth0): 192.0.2.1 [2001:db8::1]:53#x\n", words));
      parseNames(
        mutateText(chance, '{"version":1,"records":[{"domain":"a","rid":"r","ips":["100.96.0.1"]}]}', words),
      );
    }
  });
});

describe("the resolver as the host's programs and servers meet it", () => {
  it("DN-15, DN-94: whatever comes from anywhere, it answers, forwards or drops, and its timers end", () => {
    const chance = createChance(0xd8);
    const resolver = createResolver({ random: createSeededRandom(0xd8) });
    const own = ip("100.64.0.5");
    const sentinel = ip("100.100.111.1");
    resolver.configure(now, {
      addresses: { v4: own },
      patterns: [{ rid: "r", pattern: "*.corp", ipStack: "dual" }],
      ...{ upstreamDo53: [ip("192.0.2.1")], upstreamDoh: [], tunnelled: [] },
    });
    const from = { address: own, port: 40_000 };
    const to = { address: sentinel, port: 53 };
    const flags = { isSyn: false, isAck: true, isFin: false, isRst: false };
    for (let i = 0; i < ROUNDS; i++) {
      const name = toName(chance.pick(["a.corp", "b.example", "1.0.96.100.in-addr.arpa"]));
      const query =
        name &&
        encodeQuery({ id: i & 0xffff, name, type: chance.pick([TYPE.A, TYPE.TXT, TYPE.ANY, TYPE.PTR]) });
      const payload = mutateBytes(chance, query ?? QUERY);
      const udp = encodeUdp(from, to, payload.subarray(0, 1_200));
      if (udp.ok) resolver.handlePacket(now, udp.value);
      resolver.handlePacket(
        now,
        encodeSegment(from, to, {
          ...{ ...flags, isSyn: chance.isOneIn(3), isFin: chance.isOneIn(9), isRst: chance.isOneIn(30) },
          ...{
            seq: chance.below(4),
            ack: chance.below(0xffff),
            window: chance.below(0xffff),
            payload: payload.subarray(0, 1_000),
          },
        }),
      );
      for (let event = resolver.pollEvent(); event !== undefined; event = resolver.pollEvent()) {
        if (event.kind !== "direct-query") continue;
        resolver.handleDirectResult(now, event.query.token, {
          kind: "message",
          message: mutateBytes(chance, ANSWER),
        });
      }
      while (resolver.pollPacket() !== undefined);
    }
    for (
      let due = resolver.pollTimeout(), steps = 0;
      due !== undefined;
      due = resolver.pollTimeout(), steps++
    ) {
      resolver.handleTimeout(due);
      while (resolver.pollEvent() !== undefined);
      while (resolver.pollPacket() !== undefined);
      expect(steps).toBeLessThan(100_000);
    }
  });
});
