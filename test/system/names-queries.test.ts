/** Queries of real programs to the client's resolver (TS-30, 26 and 27; dns.md §17). */
import { afterAll, beforeAll, expect, it } from "vitest";
import { type NameOffice, SENTINEL, startNameOffice } from "../lib/name-office.ts";
import { startNameServer } from "../lib/name-server.ts";
import { OFFICE_V4, type Office } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";

const WIKI = "wiki.corp.example";
const OUTSIDE = "outside.example";
const OUTSIDE_ADDRESS = "203.0.113.10";
/** Twenty such records are longer than any datagram of ours (DN-12). */
const TEXT = "x".repeat(120);
const FORWARDER = "127.0.0.77";

describeWith(["netns", "tun", "nft", "ipv6", "build", "dig", "unbound"], "queries of real programs", () => {
  let office: Office;
  let names: NameOffice;

  beforeAll(async () => {
    const texts = Array.from({ length: 20 }, (_, i) => `large.example. 60 IN TXT "${i}${TEXT}"`);
    names = await startNameOffice((made) => (office = made), {
      site: [`${WIKI}. 60 IN A ${OFFICE_V4}`],
      world: [`${OUTSIDE}. 60 IN A ${OUTSIDE_ADDRESS}`, ...texts],
    });
  }, 120_000);
  afterAll(() => office?.close());

  /** What `dig` says: its header's status and flags, and the records of the answer section. */
  async function dig(...args: readonly string[]) {
    const { stdout } = await names.run("dig", "+tries=1", "+time=5", ...args);
    return {
      status: / status: (\w+)/.exec(stdout)?.[1],
      flags: / flags: ([^;]*);/.exec(stdout)?.[1]?.split(" ") ?? [],
      answer: (/;; ANSWER SECTION:\n((?:.+\n)*)/.exec(stdout)?.[1] ?? "")
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => line.split(/\s+/).slice(3).join(" ")),
      said: stdout,
    };
  }
  const PROXIES_4 = [1, 2, 3, 4].map((last) => `A 100.96.0.${last}`);

  it("DN-35 row 5, DN-41: dig gets the four proxy addresses of each family", async () => {
    const v4 = await dig(WIKI, "A");
    expect(v4).toMatchObject({ status: "NOERROR", answer: PROXIES_4 });
    expect(v4.flags).toEqual(expect.arrayContaining(["qr", "rd", "ra"]));
    const v6 = await dig(WIKI, "AAAA");
    expect(v6.answer[0]).toBe("AAAA fd00:2021:1111:8000::");
    expect(v6.answer).toHaveLength(4);
  });

  it.each<readonly [string, readonly string[]]>([
    ["TCP", ["+tcp"]],
    ["a small buffer", ["+bufsize=512"]],
    ["no EDNS", ["+noedns"]],
    ["no recursion", ["+norecurse"]],
    ["DNSSEC wanted", ["+dnssec"]],
    ["checking disabled", ["+cdflag"]],
    ["a cookie of a server", ["+cookie=0011223344556677"]],
  ])("DN-10, DN-11: the same answer with %s", async (_, options) => {
    expect(await dig(WIKI, "A", ...options)).toMatchObject({ status: "NOERROR", answer: PROXIES_4 });
  });

  it("DN-9: a name in mixed case comes back as it was asked for (0x20)", async () => {
    const { answer, said } = await dig("WiKi.cOrP.eXaMpLe", "A");
    expect(answer).toEqual(PROXIES_4);
    expect(said).toContain(";WiKi.cOrP.eXaMpLe.");
  });

  it("DN-35 rows 6 and 7: HTTPS hints there are none, ANY gives all addresses", async () => {
    expect(await dig(WIKI, "HTTPS")).toMatchObject({ status: "NOERROR", answer: [] });
    expect((await dig(WIKI, "ANY", "+notcp")).answer).toHaveLength(8);
  });

  it("DN-35 rows 1, 4, 10 and 11: what is answered here and nowhere else", async () => {
    expect(await dig("use-application-dns.net", "A")).toMatchObject({ status: "NXDOMAIN" });
    expect(await dig("-x", "100.96.77.1")).toMatchObject({ status: "NXDOMAIN" });
    expect(await dig("_dns.resolver.arpa", "SVCB")).toMatchObject({ status: "NOERROR", answer: [] });
    expect(await dig("printer.invalid", "A")).toMatchObject({ status: "NXDOMAIN" });
    expect(await dig("chat.onion", "A")).toMatchObject({ status: "NXDOMAIN" });
    expect(names.world.asked().join("\n")).not.toMatch(/resolver\.arpa|invalid|onion|application-dns/);
  });

  it("DN-35 row 3: the reverse of a proxy address is the name, for dig, host and getent", async () => {
    expect((await dig("-x", "100.96.0.1")).answer).toEqual([`PTR ${WIKI}.`]);
    expect((await dig("-x", "fd00:2021:1111:8000::3")).answer).toEqual([`PTR ${WIKI}.`]);
    expect((await names.run("host", "100.96.0.2")).stdout).toContain(`domain name pointer ${WIKI}.`);
    expect((await names.run("getent", "hosts", "100.96.0.3")).stdout).toContain(WIKI);
  });

  it("TS-30.26: what no resource has is asked outside, and has its own address", async () => {
    expect((await dig(OUTSIDE, "A")).answer).toEqual([`A ${OUTSIDE_ADDRESS}`]);
    expect(await dig("nowhere.example", "A")).toMatchObject({ status: "NXDOMAIN" });
    expect((await names.run("host", OUTSIDE)).stdout).toContain(`has address ${OUTSIDE_ADDRESS}`);
    const { stdout } = await names.run("nslookup", WIKI);
    expect(stdout).toContain(`Server:\t\t${SENTINEL}`);
    expect(stdout).toContain("Address: 100.96.0.1");
  });

  it("DN-35: another class is forwarded, and the name of a resource is not", async () => {
    // What unbound itself says of another class, not what we would.
    expect((await dig("version.bind", "CH", "TXT")).answer[0]).toMatch(/unbound/);
    const asked = names.world.asked();
    expect(asked).toContain(`${OUTSIDE} A`);
    expect(asked.filter((question) => question.startsWith(WIKI))).toEqual([]);
  });

  it("TS-30.27, DN-12: by TCP a name of a resource, one of the world, and an answer too long for UDP", async () => {
    expect((await dig("+tcp", WIKI, "A")).answer).toEqual(PROXIES_4);
    expect((await dig("+tcp", OUTSIDE, "A")).answer).toEqual([`A ${OUTSIDE_ADDRESS}`]);
    const cut = await dig("+ignore", "large.example", "TXT");
    expect(cut.flags).toContain("tc");
    const whole = await dig("large.example", "TXT");
    expect(whole.said).toContain("Truncated, retrying in TCP mode");
    expect(whole.answer).toHaveLength(20);
    expect(whole.flags).not.toContain("tc");
  });

  it("DN-58: another port of a sentinel refuses at once, by UDP and by TCP", async () => {
    const udp = await names.run("dig", "-p", "853", "+tries=1", "+time=5", `@${SENTINEL}`, WIKI);
    expect(udp.stdout).toMatch(/connection refused/);
    const tcp = await names.run("dig", "+tcp", "-p", "853", "+tries=1", "+time=5", `@${SENTINEL}`, WIKI);
    expect(tcp.stdout).toMatch(/connection refused/);
  });

  it("DN-9, DN-12: unbound in front of a sentinel hands its answers on, by UDP and by TCP", async () => {
    const server = await startNameServer(office.client, {
      listen: [FORWARDER],
      forwardTo: SENTINEL,
      name: "forwarder",
    });
    const ask = [`@${FORWARDER}`] as const;
    expect((await dig(...ask, WIKI, "A")).answer.sort()).toEqual(PROXIES_4);
    expect((await dig(...ask, "+tcp", OUTSIDE, "A")).answer).toEqual([`A ${OUTSIDE_ADDRESS}`]);
    expect((await dig(...ask, "large.example", "TXT")).answer).toHaveLength(20);
    await server.child.stop();
  });

  it("DN-40, DN-88: all of that asked the site's name server for nothing", () => {
    expect(names.site.asked()).toEqual([]);
  });
});
