/** Forged and late answers of a name server, at a client's resolver and at a gateway's (DN-14, DN-61, DN-88). */
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Child } from "../../src/program/lab/index.ts";
import { SENTINEL, WORLD_SERVER } from "../lib/name-office.ts";
import { eventually, warningsOf } from "../lib/observe.ts";
import { createOffice, OFFICE_V4, type Office } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";

const FORGER = join(import.meta.dirname, "../lib/forger.mjs");
const TRUTH = "203.0.113.10";
const FORGED = "198.51.100.66";
const timeout = 60_000;

describeWith(["root", "netns", "tun", "nft", "ipv6", "build", "dig"], "forged answers", () => {
  let office: Office;
  let programs: readonly Child[];

  beforeAll(async () => {
    office = await createOffice();
    office.configure([{ resource: "Wiki" }]);
    await office.startPortal();
    const forge = (where: "router" | "resource", ...args: readonly string[]) =>
      office[where].start({ name: `forger-${where}`, command: process.execPath, args: [FORGER, ...args] });
    const forgers = [
      forge("router", WORLD_SERVER, TRUTH, FORGED),
      forge("resource", OFFICE_V4, OFFICE_V4, "172.20.0.66"),
    ];
    for (const forger of forgers) await forger.waitForLine(/^listening$/, { withinMs: 10_000 });
    office.useNameServer(office.client, WORLD_SERVER);
    office.useNameServer(office.gateway, OFFICE_V4);
    // Where forgeries would lead: a host that must never be asked for anything.
    await office.resource.ip("addr add 172.20.0.66/16 dev lan");
    const server = office.traffic(office.resource, "serve", "80");
    programs = await Promise.all([office.startGateway(), office.startClient()]);
    office.useNameServer(office.client, SENTINEL);
    await server.waitForLine(/^serving /, { withinMs: 10_000 });
  }, 120_000);
  afterAll(() => office?.close());

  async function dig(...args: readonly string[]): Promise<string> {
    const child = office.program(office.client, "dig", "+short", "+tries=1", "+time=8", ...args);
    await child.wait(20_000);
    return child.stdout().trim();
  }

  it("DN-14, DN-61: the client waits for the answer that fits its question, and forgets what comes later", {
    timeout,
  }, async () => {
    for (let i = 0; i < 5; i++) expect(await dig(`host-${i}.example`, "A")).toBe(TRUTH);
    // Long after the late forgeries: from the cache, or asked again, it is the same.
    for (let i = 0; i < 5; i++) expect(await dig(`host-${i}.example`, "A")).toBe(TRUTH);
  });

  it("DN-88, TN-64: the gateway leads a name to where its true answer says", { timeout }, async () => {
    for (let i = 0; i < 5; i++) {
      const args = ["-sS", "-4", "-m", "20", "-o", "/dev/null", "-w", "%header{x-served-at}"];
      const child = office.program(office.client, "curl", ...args, `http://h${i}.corp.example/`);
      await child.wait(30_000);
      expect(child.stdout(), child.stderr()).toBe(`::ffff:${OFFICE_V4}`);
    }
  });

  it("PG-106: it was worth no error, and few lines", async () => {
    await eventually(() => expect(programs.every((program) => program.isRunning())).toBe(true));
    for (const program of programs) {
      expect(program.stderr()).not.toMatch(/ ERROR |^\s+at /m);
      expect(warningsOf(program).length).toBeLessThan(10);
    }
  });
});
