/** A NAT that forgets its mapping under traffic: the path follows, and nobody starts anew. */
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Child, patient } from "../../src/program/lab/index.ts";
import { longestGapMs, startPinging } from "../lib/gaps.ts";
import { echo, eventually, timesOf } from "../lib/observe.ts";
import { createOffice, OFFICE_V4, type Office } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";

const FORGET = join(import.meta.dirname, "../lib/forget-mappings.mjs");
/** Another port each time, and nobody gets in who was not spoken to. */
const NAT = `
  table inet lab {
    chain forward {
      type filter hook forward priority filter;
      iifname "gateway" oifname "client" ct state new drop
      meta nfproto ipv6 iifname { "client", "gateway" } drop
    }
    chain postrouting {
      type nat hook postrouting priority srcnat;
      iifname "client" oifname "gateway" meta l4proto udp masquerade random
    }
  }`;
const TIMES = 4;
/** After a mapping was forgotten outages are looked for so long. */
const WINDOW_MS = 1_900;
/**
 * SN-145: a ping every 50 ms, the way of the first packet, and one check's round trip, on a machine where
 * other tests run. By the peer's checks alone (SN-141) it would be up to 1,500 ms, 750 on average.
 */
const GAP_MS_MAX = 600;
const MEDIAN_MS_MAX = 250;

describeWith(["netns", "tun", "nft", "build"], "a NAT that forgets", () => {
  let office: Office;
  let gateway: Child;
  let client: Child;

  beforeAll(async () => {
    office = await createOffice();
    await office.router.run("nft", ["--", NAT]);
    office.configure([{ resource: "Office" }]);
    await office.startPortal();
    [gateway, client] = await Promise.all([office.startGateway(), office.startClient()]);
    await eventually(async () => expect(await echo(office.client, OFFICE_V4)).toBe("answered"), 15_000);
  });
  afterAll(() => office?.close());

  it("SN-145, SN-141: the path follows within one check's round trip of the first packet", {
    timeout: 60_000,
  }, async () => {
    const pinging = startPinging(office.client, OFFICE_V4);
    await pinging.answered();
    const moved = (): number => timesOf(gateway, /path changed/).length;
    const before = moved();
    const forgotten: number[] = [];
    for (let i = 0; i < TIMES; i++) {
      // Somewhere between two of the client's checks, which come every 1.5 s.
      await new Promise((resolve) => setTimeout(resolve, 2_000 + 270 * i));
      forgotten.push(Date.now());
      await office.router.run(process.execPath, [FORGET]);
      await pinging.answered();
    }
    await eventually(() => expect(moved() - before).toBeGreaterThanOrEqual(TIMES));
    await new Promise((resolve) => setTimeout(resolve, WINDOW_MS));
    await pinging.answered();
    const answers = await pinging.stop();
    const gaps = forgotten.map((at) => longestGapMs(answers, at, at + WINDOW_MS)).sort((a, b) => a - b);
    expect(gaps.at(-1), `outages: ${gaps.map(Math.round)} ms`).toBeLessThan(patient(GAP_MS_MAX));
    expect(gaps[TIMES >> 1], `outages: ${gaps.map(Math.round)} ms`).toBeLessThan(patient(MEDIAN_MS_MAX));
    for (const program of [gateway, client]) {
      expect(program.stderr(), program.name).not.toMatch(/gateway disconnected|connection failed|Resetting/);
    }
  });
});
