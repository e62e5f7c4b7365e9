/** The client's resolver at 5,000 queries a second (dns.md §17): none is lost, none gets another's answer. */
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { startNameOffice } from "../lib/name-office.ts";
import { OFFICE_V4, type Office } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";

const SECONDS = Number(process.env["POSTERN_LONG_SECONDS"] ?? "20");
const RATE = Number(process.env["POSTERN_LONG_RATE"] ?? "5000");
const METRICS = "127.0.0.1:9464";
const LOAD = join(import.meta.dirname, "../lib/dns-load.mjs");
/** Asked for by its address alone, so that unbound answers without looking further. */
const FOREIGN = Array.from(
  { length: 2_000 },
  (_, i) => `f${i}.world.example. 300 IN A 192.0.${i >> 8}.${i & 255}`,
);

describeWith(["netns", "tun", "nft", "ipv6", "build", "unbound"], "the resolver under load", () => {
  let office: Office;

  beforeAll(async () => {
    await startNameOffice((made) => (office = made), {
      site: [`wiki.corp.example. 60 IN A ${OFFICE_V4}`],
      world: FOREIGN,
      clientArgs: ["--metrics-addr", METRICS],
    });
  }, 120_000);
  afterAll(() => office?.close());

  it(`§17: 5,000 queries a second for ${SECONDS} s, half of them of resources`, {
    timeout: (SECONDS + 60) * 1_000,
  }, async () => {
    const args = [LOAD, "100.100.111.1", String(RATE), String(SECONDS), "corp.example", "world.example"];
    const said = await office.client.run(process.execPath, args, { withinMs: (SECONDS + 40) * 1_000 });
    const metrics = await office.client.run("curl", ["-s", `http://${METRICS}/metrics`], {
      withinMs: 20_000,
    });
    const figures = metrics
      .split("\n")
      .filter((line) => /^postern_(dns|queue|dropped)/.test(line) && !line.endsWith(" 0"));
    console.log([said.trim(), ...figures].join("\n"));
    const asked = JSON.parse(said).asked;
    expect(asked).toBeGreaterThan(RATE * SECONDS);
    expect(JSON.parse(said)).toMatchObject({ asked, answered: asked, wrong: 0, failed: 0, twice: 0 });
  });
});
