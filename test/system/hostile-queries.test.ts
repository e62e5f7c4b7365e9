/**
 * Bad messages at the front ends of client and gateway, floods of SYNs, and servers of DNS over HTTPS that answer with
 * anything but an answer (dns.md §17, hostile input).
 */
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { ip, toHex } from "../../src/base/index.ts";
import type { Child } from "../../src/program/lab/index.ts";
import { makeCertificate } from "../lib/certificate.ts";
import { LAB, type NameOffice, SENTINEL, startNameOffice, WORLD_SERVER } from "../lib/name-office.ts";
import { eventually, tunnelAddresses, warningsOf } from "../lib/observe.ts";
import { OFFICE_V4, type Office } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";
import { tcp } from "../unit/plane/packets.ts";

const QUERIES = join(import.meta.dirname, "../lib/hostile-queries.mjs");
const DOH = join(import.meta.dirname, "../lib/doh-server.mjs");
const INJECT = join(import.meta.dirname, "../lib/inject.mjs");
const WIKI = "wiki.corp.example";
const TRUTH = "203.0.113.10";
const CONNECTIONS_MAX = 256;
const timeout = 90_000;
const NEEDS = ["root", "netns", "tun", "nft", "ipv6", "build", "unbound", "dig", "openssl"] as const;

/** `wiki.corp.example`, 19 octets. */
const NAME = "0477696b6904636f7270076578616d706c6500";
const [A, TXT] = ["00010001", "00100001"];
const OPT = "000029 04d0 00000000 0000";
const header = (counts: string, flags = "0100"): string => `1111 ${flags} ${counts}`;
const long = (octets: number): string => `${octets.toString(16)}${"61".repeat(octets)}`;
const ONE = "0001 0000 0000 0000";
const MORE = "0001 0000 0000 0001";

const NONE = { udp: "silence", tcp: "closed" };
const rcode = (code: number, questions: number) => {
  const what = `rcode ${code} questions ${questions}`;
  return { udp: what, tcp: what };
};
const FORMERR_BARE = rcode(1, 0);
const FORMERR = rcode(1, 1);

/** The table of DN-15, and what dns.md §17 calls hostile. */
const ROWS: readonly (readonly [name: string, hex: string, heard: { udp: string; tcp: string }])[] = [
  ["pointer-to-itself", `${header(ONE)} c00c ${A}`, FORMERR_BARE],
  ["pointer-ahead", `${header(ONE)} c012 ${A} 0161 00`, FORMERR_BARE],
  ["pointer-into-header", `${header(ONE)} c004 ${A}`, FORMERR_BARE],
  ["pointer-round", `${header(ONE)} 0161 c00c ${A}`, FORMERR_BARE],
  ["label-of-64", `${header(ONE)} ${long(64)} 00 ${A}`, FORMERR_BARE],
  ["label-of-no-kind", `${header(ONE)} 80 00 ${A}`, FORMERR_BARE],
  ["name-of-256", `${header(ONE)} ${long(63).repeat(3)} ${long(62)} 00 ${A}`, FORMERR_BARE],
  ["no-question", header("0000 0000 0000 0000"), FORMERR_BARE],
  ["two-questions", `${header("0002 0000 0000 0000")} ${NAME} ${A} ${NAME} ${A}`, FORMERR_BARE],
  ["opcode", `${header(ONE, "1100")} ${NAME} ${A}`, rcode(4, 0)],
  ["an-answer", `${header(ONE, "8180")} ${NAME} ${A}`, NONE],
  ["a-transfer", `${header(ONE)} ${NAME} 00fc0001`, rcode(5, 1)],
  ["counts", `${header("0001 ffff ffff ffff")} ${NAME} ${A} ${OPT}`, FORMERR],
  ["record-at-itself", `${header(MORE)} ${NAME} ${A} c023 ${TXT} 00000000 0000`, FORMERR],
  ["record-too-long", `${header(MORE)} ${NAME} ${A} 00 ${TXT} 00000000 0002 01`, FORMERR],
  ["address-of-3", `${header("0001 0001 0000 0000")} ${NAME} ${A} c00c ${A} 00000000 0003 010203`, FORMERR],
  ["two-opt", `${header("0001 0000 0000 0002")} ${NAME} ${A} ${OPT} ${OPT}`, FORMERR],
  ["opt-astray", `${header("0001 0001 0000 0000")} ${NAME} ${A} ${OPT}`, FORMERR],
  ["opt-of-tomorrow", `${header(MORE)} ${NAME} ${A} 000029 04d0 00010000 0000`, rcode(16, 1)],
  ...truncations(`${header(MORE)} ${NAME} ${A} ${OPT}`),
];

function truncations(whole: string): typeof ROWS {
  const hex = whole.replaceAll(" ", "");
  const [headerEnds, questionEnds] = [12, 35];
  return Array.from({ length: hex.length / 2 }, (_, octets) => {
    const heard = octets < headerEnds ? NONE : octets < questionEnds ? FORMERR_BARE : FORMERR;
    return [`first-${octets}`, hex.slice(0, 2 * octets), heard] as const;
  });
}

describeWith(NEEDS, "hostile queries and servers", () => {
  let office: Office;
  let names: NameOffice;
  let doh: Child;

  beforeAll(async () => {
    const made = (created: Office): void => {
      office = created;
      makeCertificate(office.router.runFolder, "dns.google", "DNS:dns.google");
      copyFileSync(join(office.router.runFolder, "crt"), join(office.client.runFolder, "crt"));
    };
    names = await startNameOffice(made, {
      site: [`${WIKI}. 60 IN A ${OFFICE_V4}`, `${WIKI}. 60 IN TXT "of the site"`],
      world: ["dns.google", "cloudflare-dns.com"].map((name) => `${name}. 60 IN A ${WORLD_SERVER}`),
      clientArgs: ["--dns-control", "disabled", "--ca-file", "/run/crt"],
    });
    const args = [DOH, WORLD_SERVER, "/run", TRUTH];
    doh = office.router.start({ name: "doh", command: process.execPath, args });
    await doh.waitForLine(/^listening$/, { withinMs: 15_000 });
  }, 120_000);
  afterAll(() => office?.close());

  async function send(address: string, port: string, good: string): Promise<readonly string[]> {
    const rows = ROWS.map(([name, hex]) => `${name}=${hex.replaceAll(" ", "")}`);
    const args = [QUERIES, address, port, good.replaceAll(" ", ""), ...rows];
    const child = office.client.start({ name: "hostile-queries", command: process.execPath, args });
    await child.wait(60_000);
    expect(child.stderr()).toBe("");
    return child.stdout().trim().split("\n");
  }
  const expected = ROWS.flatMap(([name, , { udp, tcp }]) => [`${name} udp ${udp}`, `${name} tcp ${tcp}`]);
  const dig = async (...args: readonly string[]): Promise<string> =>
    (await names.run("dig", `@${SENTINEL}`, "+tries=1", "+time=10", ...args)).stdout;
  const statusOf = async (...args: readonly string[]): Promise<string | undefined> =>
    / status: (\w+)/.exec(await dig(...args))?.[1];

  it("DN-15, DN-2 to DN-7, DN-90: the client's front ends refuse what is bad, and answer what is good", {
    timeout,
  }, async () => {
    expect(await send(SENTINEL, "53", `7777 0100 ${ONE} ${NAME} ${A}`)).toEqual(expected);
    expect(names.world.asked().join("\n")).not.toContain("corp.example");
  });

  it("DN-84: so does the gateway's name server", { timeout }, async () => {
    // Its client is known to it by then.
    expect(await statusOf(WIKI, "TXT")).toBe("NOERROR");
    const [gateway = ""] = await tunnelAddresses(office.gateway);
    const asked = names.site.asked().length;
    const got = await send(gateway, "53535", `7777 0100 ${ONE} ${NAME} ${TXT}`);
    expect(got).toEqual(expected);
    // One good one behind each bad datagram.
    expect(new Set(names.site.asked().slice(asked))).toEqual(new Set([`${WIKI} TXT`]));
  });

  it("DN-91: a flood of SYNs takes 256 places for 5 s, and nothing from who asks by UDP", {
    timeout,
  }, async () => {
    const rules = `table ip flood {
      set answered { type inet_service; size 65535; flags dynamic; }
      chain in { type filter hook input priority 0; ip saddr ${SENTINEL} tcp flags & (syn | ack) == syn | ack tcp dport 20000-29999 add @answered { tcp dport }; }
      chain out { type filter hook output priority 0; ip daddr ${SENTINEL} tcp sport 20000-29999 tcp flags & rst == rst drop; }
    }`;
    const nft = office.client.start({ name: "nft", command: "nft", args: ["-f", "-"], input: rules });
    expect(await nft.wait(5_000)).toMatchObject({ status: 0 });
    const [own = ""] = await tunnelAddresses(office.client);
    const ends = { family: 4, source: ip(own), destination: ip(SENTINEL) } as const;
    const flood = Array.from({ length: 2 * CONNECTIONS_MAX }, (_, i) =>
      toHex(tcp(new Uint8Array(0), { ...ends, ports: [20_000 + i, 53], flags: 2 })),
    );
    await office.client.run(process.execPath, [INJECT, "tun-postern", ...flood]);
    expect(await statusOf(WIKI, "A")).toBe("NOERROR");
    const answered = async (): Promise<number> => {
      const set = await office.client.run("nft", ["list", "set", "ip", "flood", "answered"]);
      return [...set.matchAll(/\b2\d{4}\b/g)].length;
    };
    await eventually(async () => expect(await answered()).toBe(CONNECTIONS_MAX));
    await eventually(async () => expect(await statusOf("+tcp", WIKI, "A")).toBe("NOERROR"), 30_000);
    expect(await answered()).toBe(CONNECTIONS_MAX);
    await office.client.run("nft", ["delete", "table", "ip", "flood"]);
  });

  it("DN-71, DN-72: of a server of DNS over HTTPS nothing is taken but an answer", { timeout }, async () => {
    office.configure([{ resource: "Wiki" }], { names: [LAB], doh: "google" });
    const right = () => dig("+short", "right.doh.example", "A");
    await eventually(async () => expect(await right()).toBe(`${TRUTH}\n`), 20_000);
    const BAD = [
      "nothing",
      "page",
      "broken",
      "elsewhere",
      "huge",
      "torn",
      "short",
      "numbered",
      "other",
      "query",
    ];
    for (const label of BAD) expect(await statusOf(`${label}.doh.example`, "A"), label).toBe("SERVFAIL");
    // By TCP a deadline is told; an asker by UDP asks again by itself (DN-64).
    const SLOW = ["endless", "never"];
    const slow = await Promise.all(SLOW.map((label) => statusOf("+tcp", `${label}.doh.example`, "A")));
    expect(slow).toEqual(["SERVFAIL", "SERVFAIL"]);
    for (const label of [...BAD, ...SLOW]) expect(doh.stdout()).toContain(`asked ${label}\n`);
    expect((await dig("+short", "right.again.example", "A")).trim()).toBe(TRUTH);
  });

  it("DN-71: a server with another's certificate is asked nothing", { timeout }, async () => {
    office.configure([{ resource: "Wiki" }], { names: [LAB], doh: "cloudflare" });
    await eventually(
      () => expect(names.client.stderr()).toMatch(/DNS servers .*cloudflare-dns\.com/),
      20_000,
    );
    expect(await statusOf("secret.doh.example", "A")).toBe("SERVFAIL");
    expect(doh.stdout()).not.toContain("asked secret");
    expect(names.world.asked().join("\n")).not.toContain("secret");
  });

  it("PG-106: all of that was worth no error, and few lines", () => {
    for (const program of [names.client, names.gateway]) {
      expect(program.isRunning()).toBe(true);
      expect(program.stderr()).not.toMatch(/ ERROR |^\s+at /m);
      expect(warningsOf(program).length).toBeLessThan(20);
    }
  });
});
