/** What client and gateway cost while nobody uses them (G-13, G-14). */
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Child } from "../../src/program/lab/index.ts";
import {
  echo,
  IDLE_PERCENT_MAX,
  IDLE_WAKE_UPS_MAX,
  RESIDENT_MIB_MAX,
  residentMib,
  untilIdle,
  usageWhileQuiet,
  wakeUps,
} from "../lib/observe.ts";
import { createOffice, OFFICE_V4, type Office } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";

/** A slow check of the host is in it (PG-153). */
const WINDOW_MS = 35_000;

describeWith(["netns", "tun", "nft", "ipv6", "build"], "an idle client and gateway", () => {
  let office: Office;
  let programs: readonly Child[];

  beforeAll(async () => {
    office = await createOffice();
    office.configure([{ resource: "Office" }]);
    await office.startPortal();
    programs = await Promise.all([office.startGateway(), office.startClient()]);
    expect(await echo(office.client, OFFICE_V4)).toBe("answered");
  });
  afterAll(() => office?.close());

  it("G-13: use less than 1 % of a core together, rarely wake up; G-14: each less than 250 MB", {
    timeout: 120_000,
  }, async () => {
    for (const program of programs) await untilIdle(program);
    const before = programs.map(wakeUps);
    expect(await usageWhileQuiet(programs, WINDOW_MS)).toBeLessThan(IDLE_PERCENT_MAX);
    for (const [i, program] of programs.entries()) {
      const perSecond = (wakeUps(program) - (before[i] ?? 0)) / (WINDOW_MS / 1000);
      expect(perSecond, `wake-ups of the ${program.name}`).toBeLessThan(IDLE_WAKE_UPS_MAX);
    }
    for (const program of programs) expect(residentMib(program)).toBeLessThan(RESIDENT_MIB_MAX);
    expect(await echo(office.client, OFFICE_V4), "SN-79: and answer at once").toBe("answered");
  });
});
