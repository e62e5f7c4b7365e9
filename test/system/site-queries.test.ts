/** Queries through the tunnel with real programs: to a site, and to the portal's own name server (TS-30). */
import { afterAll, beforeAll, expect, it } from "vitest";
import { type NameOffice, startNameOffice } from "../lib/name-office.ts";
import { startNameServer } from "../lib/name-server.ts";
import { OFFICE_V4, type Office } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";

const WIKI = "wiki.corp.example";
const TEXT = "y".repeat(120);
/** Inside of the office's network, and there only. */
const INSIDE = "172.21.0.100";

const SITE = [
  `${WIKI}. 60 IN A ${OFFICE_V4}`,
  `${WIKI}. 60 IN TXT "of the site"`,
  `${WIKI}. 60 IN MX 10 mail.corp.example.`,
  `service.corp.example. 60 IN SRV 1 2 8080 ${WIKI}.`,
  ...Array.from({ length: 20 }, (_, i) => `large.corp.example. 60 IN TXT "${i}${TEXT}"`),
  'other.example. 60 IN TXT "not granted"',
];

async function digOf(names: NameOffice, ...args: readonly string[]) {
  const { stdout } = await names.run("dig", "+tries=1", "+time=12", ...args);
  return {
    status: / status: (\w+)/.exec(stdout)?.[1],
    answer: (/;; ANSWER SECTION:\n((?:.+\n)*)/.exec(stdout)?.[1] ?? "")
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => line.split(/\s+/).slice(3).join(" ")),
    said: stdout,
  };
}

describeWith(["netns", "tun", "nft", "ipv6", "build", "dig", "unbound"], "queries through the tunnel", () => {
  let office: Office;
  let names: NameOffice;

  beforeAll(async () => {
    names = await startNameOffice((made) => (office = made), {
      site: SITE,
      upstream: [INSIDE],
    });
    await startNameServer(office.resource, {
      listen: [INSIDE],
      name: "inside",
      records: ["intranet.example. 60 IN A 203.0.113.77"],
    });
  }, 120_000);
  afterAll(() => office?.close());

  const dig = (...args: readonly string[]) => digOf(names, ...args);

  it("DN-66, DN-84: text, mail and services of a resource's name are what its site says", async () => {
    expect((await dig(WIKI, "TXT")).answer).toEqual(['TXT "of the site"']);
    expect((await dig(WIKI, "MX")).answer).toEqual(["MX 10 mail.corp.example."]);
    expect((await dig("service.corp.example", "SRV")).answer).toEqual([`SRV 1 2 8080 ${WIKI}.`]);
    expect(names.site.asked()).toContain(`${WIKI} TXT`);
    expect(await dig("nothing.corp.example", "TXT")).toMatchObject({ status: "NXDOMAIN", answer: [] });
    // Addresses stay those of the tunnel.
    expect((await dig(WIKI, "A")).answer[0]).toBe("A 100.96.0.1");
  });

  it("DN-66, DN-69, DN-86: an answer too long for UDP comes by TCP, all the way", async () => {
    const whole = await dig("large.corp.example", "TXT");
    expect(whole.said).toContain("Truncated, retrying in TCP mode");
    expect(whole.answer).toHaveLength(20);
    expect((await dig("+tcp", WIKI, "TXT")).answer).toEqual(['TXT "of the site"']);
  });

  it("DN-67: the portal's server inside of a resource is asked through the tunnel, by UDP and TCP", async () => {
    expect((await dig("intranet.example", "A")).answer).toEqual(["A 203.0.113.77"]);
    // Not from the cache.
    expect((await dig("+tcp", "+cdflag", "intranet.example", "A")).answer).toEqual(["A 203.0.113.77"]);
    expect(await dig("nowhere.example", "A")).toMatchObject({ status: "NXDOMAIN" });
    // Nobody else, but for the question whether a server asks us in turn (DN-26).
    expect(names.world.asked().filter((question) => !question.includes("postern-loop.test"))).toEqual([]);
  });

  it("DN-85: a client gets nothing else of the gateway's name server", async () => {
    const gateway = /(100\.64\.\d+\.\d+)/.exec(
      (await names.runAt(office.gateway, "ip", "-4", "-o", "addr", "show")).stdout,
    )?.[1];
    const at = [`@${gateway}`, "-p", "53535"];
    expect((await dig(...at, WIKI, "TXT")).answer).toEqual(['TXT "of the site"']);
    expect((await dig(...at, "+tcp", WIKI, "TXT")).answer).toEqual(['TXT "of the site"']);
    expect(await dig(...at, "other.example", "TXT")).toMatchObject({ status: "REFUSED", answer: [] });
    expect(await dig(...at, "version.bind", "CH", "TXT")).toMatchObject({ status: "REFUSED" });
  });
});

describeWith(["netns", "tun", "nft", "ipv6", "build", "dig", "unbound"], "a site without a device", () => {
  let office: Office;
  let names: NameOffice;

  beforeAll(async () => {
    const gatewayArgs = ["--mode", "userspace"];
    names = await startNameOffice((made) => (office = made), { site: SITE, gatewayArgs });
  }, 120_000);
  afterAll(() => office?.close());

  const dig = (...args: readonly string[]) => digOf(names, ...args);

  it("DN-84, DN-87: nobody is asked before a client does; then text and mail are what the site says", async () => {
    const isMeasured = (): boolean => / info: \S+ \. NS IN$/m.test(names.site.child.stderr());
    expect(names.site.asked()).toEqual([]);
    expect(isMeasured()).toBe(false);
    expect((await dig(WIKI, "TXT")).answer).toEqual(['TXT "of the site"']);
    expect((await dig(WIKI, "MX")).answer).toEqual(["MX 10 mail.corp.example."]);
    expect(await dig("nothing.corp.example", "TXT")).toMatchObject({ status: "NXDOMAIN", answer: [] });
    expect(isMeasured()).toBe(true);
    expect((await dig(WIKI, "A")).answer[0]).toBe("A 100.96.0.1");
  });

  it("DN-86, DN-90: an answer too long for UDP comes by TCP, all the way", async () => {
    const whole = await dig("large.corp.example", "TXT");
    expect(whole.said).toContain("Truncated, retrying in TCP mode");
    expect(whole.answer).toHaveLength(20);
    expect((await dig("+tcp", WIKI, "TXT")).answer).toEqual(['TXT "of the site"']);
  });

  it("DN-84, DN-85: a client gets nothing else, at either of the gateway's addresses", async () => {
    const status = office.postern(office.gateway, ["status", "--json"]);
    await status.wait(20_000);
    const { tun } = JSON.parse(status.stdout());
    for (const address of [tun.ipv4, tun.ipv6]) {
      const at = [`@${address}`, "-p", "53535"];
      expect((await dig(...at, WIKI, "TXT")).answer).toEqual(['TXT "of the site"']);
      expect((await dig(...at, "+tcp", WIKI, "TXT")).answer).toEqual(['TXT "of the site"']);
      expect(await dig(...at, "other.example", "TXT")).toMatchObject({ status: "REFUSED", answer: [] });
    }
  });
});
