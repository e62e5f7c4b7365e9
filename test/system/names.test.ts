/** Names behind a gateway, used by programs that know nothing of Postern; more of them in `names-traffic.test.ts`. */
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Child } from "../../src/program/lab/index.ts";
import { eventually } from "../lib/observe.ts";
import { createOffice, OFFICE_V4, type Office } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";

const SENTINEL = "100.100.111.1";
const SITE = "wiki.corp.example";

describeWith(["netns", "tun", "nft", "ipv6", "build"], "names through client and gateway", () => {
  let office: Office;
  let gateway: Child;
  let sha256 = "";

  beforeAll(async () => {
    office = await createOffice();
    office.configure([{ resource: "Wiki" }, { resource: "Vault" }]);
    await office.startPortal();
    const server = office.traffic(office.resource, "serve", "80");
    office.traffic(office.resource, "serve", "81");
    const names = office.traffic(office.resource, "names", OFFICE_V4);
    await names.waitForLine(/^listening$/, { withinMs: 10_000, stream: "stdout" });
    // The gateway asks the office's own name server, the client's programs ask the client.
    office.useNameServer(office.gateway, OFFICE_V4);
    [gateway] = await Promise.all([office.startGateway(), office.startClient()]);
    office.useNameServer(office.client, SENTINEL);
    sha256 = (await server.waitForLine(/^serving (\S+)$/, { withinMs: 10_000 }))[1] ?? "";
  }, 120_000);
  afterAll(() => office?.close());

  async function run(command: string, ...args: readonly string[]) {
    const child = office.program(office.client, command, ...args);
    const { status } = await child.wait(30_000);
    return { status, stdout: child.stdout(), stderr: child.stderr() };
  }

  const curl = (url: string, ...args: readonly string[]) =>
    run("curl", "--silent", "--show-error", "--max-time", "20", ...args, url);

  it("DN-41, TN-31, TN-46: curl fetches a page by a name that no server outside knows", async () => {
    const page = await curl(`http://${SITE}/`, "--head");
    expect(page).toMatchObject({ status: 0, stderr: "" });
    // The server sees the gateway (PG-69).
    expect(page.stdout).toContain("172.20.0.1");
    const body = await run("sh", "-c", `curl --silent --max-time 20 http://${SITE}/ | sha256sum`);
    expect(body.stdout.split(" ")[0]).toBe(sha256);
  }, 60_000);

  it("DN-41: the name has proxy addresses of both families", async () => {
    const { stdout } = await run("getent", "ahosts", SITE);
    expect(stdout).toContain("100.96.0.1");
    expect(stdout).toContain("fd00:2021:1111:8000::");
  });

  it("TN-61 row 9: curl goes on to IPv4 where the name has no IPv6 address", async () => {
    // An error at once, not a time-out: happy eyeballs.
    const page = await curl(`http://${SITE}/`, "--output", "/dev/null", "--connect-timeout", "10");
    expect(page.status).toBe(0);
    const only6 = await curl(`http://${SITE}/`, "-6", "--connect-timeout", "10");
    expect(only6.status).toBe(7);
    expect(only6.stderr).not.toMatch(/timed? ?out/i);
  }, 60_000);

  it("TN-65: ping reaches it, by its echo identifier", async () => {
    const { status, stdout } = await run("ping", "-4", "-c", "1", "-W", "5", SITE);
    expect(stdout).toContain("1 received");
    expect(status).toBe(0);
  });

  it("TN-12, TN-60: a port that the filters do not permit is refused at once", async () => {
    const { status, stderr } = await curl(`http://${SITE}:81/`, "-4", "--connect-timeout", "10");
    expect(status).toBe(7);
    expect(stderr).not.toMatch(/timed? ?out/i);
  });

  it("TN-21: the office's address itself is not opened by the name", async () => {
    const { status } = await curl(`http://${OFFICE_V4}/`, "--connect-timeout", "2");
    expect(status).not.toBe(0);
  });

  it("TN-26, TN-54: taken back, the name's addresses lead nowhere", async () => {
    office.configure([{ resource: "Vault" }]);
    await eventually(() => expect(gateway.stderr()).toMatch(/access ended/), 20_000);
    const { status, stderr } = await curl("http://100.96.0.1/", "--connect-timeout", "10");
    expect(status).toBe(7);
    expect(stderr).not.toMatch(/timed? ?out/i);
  }, 60_000);
});
