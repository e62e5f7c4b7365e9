/** The client's resolver and the host's DNS, with the real program in namespaces (dns.md §7, §15). */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { eventually } from "../lib/observe.ts";
import { createOffice, type Office, OWN_ETC } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";

const timeout = 60_000;
/** The client's router, where a name server knows one address for all names. */
const NAME_SERVER = "10.30.0.1";
const ADDRESS = "203.0.113.10";
const BEFORE = `nameserver ${NAME_SERVER}\n`;

describeWith(["root", "netns", "tun", "nft", "ipv6", "build"], "DNS control by resolv.conf", () => {
  let office: Office;

  beforeAll(async () => {
    office = await createOffice();
    office.configure([{ resource: "Office" }]);
    await office.startPortal();
    office.traffic(office.router, "names", ADDRESS);
    office.useNameServer(office.client, NAME_SERVER);
  });
  afterAll(async () => {
    await office?.close();
    expect(existsSync("/etc/resolv.conf.before-postern"), "nothing of it reaches the host").toBe(false);
  });

  const resolvConf = (): string => readFileSync(join(office.client.runFolder, "resolv.conf"), "utf8");
  /** As any program does it: glibc, by the file. */
  const resolve = async (name: string): Promise<string> => {
    const command = ["sh", "-c", OWN_ETC, "sh", "getent", "ahostsv4", name] as const;
    const said = await office.client.run(command[0], command.slice(1), { withinMs: 20_000 });
    return said.split(/\s/)[0] ?? "";
  };
  const start = () =>
    office.startClient("--dns-control", "etc-resolv-conf", "--api-url", "ws://portal.example:8080");

  it("DN-103 to DN-105: names resolve through the tunnel's own server, and the file is as before at the end", {
    timeout,
  }, async () => {
    const client = await start();
    await eventually(() => expect(resolvConf()).toContain("nameserver 100.100.111.1\n"));
    expect(await resolve("anything.example")).toBe(ADDRESS);
    const lookup = office.postern(office.client, ["lookup", "anything.example"]);
    await lookup.wait(10_000);
    expect(lookup.stdout()).toContain(`anything.example  A     ${ADDRESS}`);
    expect(lookup.stdout()).toContain(`no resource has it: ${NAME_SERVER} is asked past the tunnel`);
    // The program's own names are asked of the servers from before: a reset must find the portal again.
    office.postern(office.client, ["reset"]);
    await eventually(() => expect(client.stderr().split("portal connected").length).toBe(3), 20_000);
    await client.stop();
    expect(resolvConf()).toBe(BEFORE);
  });

  it("DN-105, DN-108: after SIGKILL the next start undoes it, or --revert-dns", { timeout }, async () => {
    const killed = await start();
    await eventually(() => expect(resolvConf()).toContain("Postern"));
    await killed.stop({ signal: "SIGKILL" });
    expect(resolvConf()).toContain("Postern");
    const revert = office.postern(office.client, [
      "client",
      "--revert-dns",
      "--api-url",
      "ws://unused.example",
    ]);
    expect(await revert.wait(10_000)).toMatchObject({ status: 0 });
    expect(resolvConf()).toBe(BEFORE);

    await (await start()).stop({ signal: "SIGKILL" });
    const next = await start();
    await eventually(async () => expect(await resolve("other.example")).toBe(ADDRESS));
    await next.stop();
    expect(resolvConf()).toBe(BEFORE);
  });
});
