/** Resolvers of other hands beside the client's: dnsmasq that reads /etc/resolv.conf (DN-26), and musl's (DN-109). */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Child, runCommand } from "../../src/program/lab/index.ts";
import { startNameServer } from "../lib/name-server.ts";
import { eventually } from "../lib/observe.ts";
import { createOffice, OFFICE_V4, type Office } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";

const timeout = 60_000;
/** The client's router knows the world; of the resource it says that there is no such name. */
const LAN_SERVER = "10.30.0.1";
const DNSMASQ = "127.0.0.1";
const WIKI = "wiki.corp.example";
const OUTSIDE = "outside.example";
const OUTSIDE_4 = "203.0.113.10";
const OUTSIDE_6 = "2001:db8:113::10";
const BEFORE = `nameserver ${DNSMASQ}\nnameserver ${LAN_SERVER}\n`;
const LOOK_UP = join(import.meta.dirname, "../lib/look-up.c");
const NEEDS = ["root", "netns", "tun", "nft", "ipv6", "build", "unbound", "dig", "dnsmasq", "musl"] as const;
const PROXIES = [
  ...[1, 2, 3, 4].map((last) => `4 100.96.0.${last}`),
  ...["", "1", "2", "3"].map((last) => `6 fd00:2021:1111:8000::${last}`),
];

describeWith(NEEDS, "resolvers of other hands", () => {
  let office: Office;
  let client: Child;
  let world: { asked(): readonly string[] };

  beforeAll(async () => {
    office = await createOffice();
    office.configure([{ resource: "Wiki" }]);
    await office.startPortal();
    world = await startNameServer(office.router, {
      listen: [LAN_SERVER],
      records: [`${OUTSIDE}. 60 IN A ${OUTSIDE_4}`, `${OUTSIDE}. 60 IN AAAA ${OUTSIDE_6}`],
    });
    await startNameServer(office.resource, {
      listen: [OFFICE_V4],
      records: [`${WIKI}. 60 IN A ${OFFICE_V4}`],
    });
    office.useNameServer(office.gateway, OFFICE_V4);
    const program = join(office.client.runFolder, "look-up");
    await runCommand({ name: "musl-gcc", command: "musl-gcc", args: ["-static", "-o", program, LOOK_UP] });
    office.useNameServer(office.client, DNSMASQ);
    await office.client.run("sh", ["-c", `printf '${BEFORE.replaceAll("\n", "\\n")}' > /run/resolv.conf`]);
    // Debian's: whatever the file names, but itself, is asked; it notices when the file is written.
    const args = ["--keep-in-foreground", "--conf-file=/dev/null", "--resolv-file=/run/resolv.conf"];
    const more = ["--listen-address=127.0.0.1", "--bind-interfaces", "--log-queries", "--log-facility=-"];
    const users = ["--user=root", "--group=root", "--pid-file=/run/dnsmasq.pid"];
    const dnsmasq = office.client.start({
      name: "dnsmasq",
      command: "dnsmasq",
      args: [...args, ...more, ...users],
    });
    await dnsmasq.waitForLine(/using nameserver 10\.30\.0\.1/, { withinMs: 10_000 });
    expect(await look(OUTSIDE)).toContain(`4 ${OUTSIDE_4}`);
    await office.startGateway();
    client = await office.startClient("--dns-control", "etc-resolv-conf");
  }, 120_000);
  afterAll(() => office?.close());

  const resolvConf = (): string => readFileSync(join(office.client.runFolder, "resolv.conf"), "utf8");
  async function run(command: string, ...args: readonly string[]): Promise<string> {
    const child = office.program(office.client, command, ...args);
    await child.wait(30_000);
    return child.stdout();
  }
  const look = async (name: string): Promise<readonly string[]> =>
    (await run("/run/look-up", name)).trim().split("\n");

  it("DN-26: dnsmasq, which asks the sentinels in turn, is found out and asked no more", {
    timeout,
  }, async () => {
    await eventually(() => expect(client.stderr()).toMatch(/ ERROR .*asks us in turn.*127\.0\.0\.1/), 20_000);
    // A new sentinel stands for the server that is left.
    await eventually(() =>
      expect(resolvConf().match(/^nameserver .*$/gm)).toEqual(["nameserver 100.100.111.3"]),
    );
    expect((await look(OUTSIDE)).toSorted(byFamily)).toEqual([`4 ${OUTSIDE_4}`, `6 ${OUTSIDE_6}`]);
    // Who asks dnsmasq is answered, too: its questions end at the LAN's server.
    const ask = ["+short", "+tries=1", "+time=5", `@${DNSMASQ}`];
    await eventually(async () => expect((await run("dig", ...ask, OUTSIDE, "A")).trim()).toBe(OUTSIDE_4));
    expect((await run("dig", ...ask, WIKI, "A")).trim().split("\n")).toHaveLength(4);
  });

  it("DN-26: no question went round in circles, and it is said once", { timeout }, async () => {
    const fresh = Array.from({ length: 5 }, (_, i) => `fresh-${i}.example`);
    for (const name of fresh) await look(name);
    const asked = world.asked().filter((question) => question.startsWith("fresh-"));
    expect(asked.sort()).toEqual(fresh.flatMap((name) => [`${name} A`, `${name} AAAA`]));
    expect(client.stderr().match(/asks us in turn/g)).toHaveLength(1);
  });

  it("DN-109: musl, which takes whichever server answers first, finds the name each time", {
    timeout,
  }, async () => {
    for (let i = 0; i < 10; i++) expect((await look(WIKI)).toSorted(byFamily)).toEqual(PROXIES);
    expect(await look(OUTSIDE)).toContain(`6 ${OUTSIDE_6}`);
    expect(await look("nowhere.example")).toEqual(["none: Name does not resolve"]);
    expect(world.asked().filter((question) => question.startsWith(WIKI))).toEqual([]);
  });

  it("DN-105: the file is as before, and dnsmasq asks whom it asked", { timeout }, async () => {
    await client.stop();
    expect(resolvConf()).toBe(BEFORE);
    await eventually(async () =>
      expect((await look(OUTSIDE)).toSorted(byFamily)).toContain(`4 ${OUTSIDE_4}`),
    );
    // It reads the file again within a second or two, and has answers of before until then.
    await eventually(async () => expect(await look(WIKI)).toEqual(["none: Name does not resolve"]));
  });
});

/** Addresses in the resolver's order of preference are in no order that we know. */
function byFamily(a: string, b: string): number {
  return a < b ? -1 : 1;
}
