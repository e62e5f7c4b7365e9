/** What client and gateway cost while nobody uses them (G-13, G-14). */
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Child } from "../../src/program/lab/index.ts";
import {
  echo,
  IDLE_PERCENT_MAX,
  IDLE_WAKE_UPS_MAX,
  medianWakeUps,
  RESIDENT_MIB_MAX,
  residentMib,
  untilIdle,
  usageWhileQuiet,
} from "../lib/observe.ts";
import { OFFICE_V4, type Office } from "../lib/office.ts";
import { startQuietOffice } from "../lib/quiet-office.ts";
import { describeWith } from "../lib/requirements.ts";

/** Of 5 s each; a slow check of the host is in them (PG-153). */
const WINDOWS = 7;

describeWith(["netns", "tun", "nft", "ipv6", "build"], "an idle client and gateway", () => {
  let office: Office;
  let programs: readonly Child[];

  beforeAll(async () => {
    ({ office, programs } = await startQuietOffice());
    expect(await echo(office.client, OFFICE_V4)).toBe("answered");
  });
  afterAll(() => office?.close());

  it("G-13: use less than 1 % of a core together, rarely wake up; G-14: each less than 250 MB", {
    timeout: 120_000,
  }, async () => {
    for (const program of programs) await untilIdle(program);
    const [percent, rates] = await Promise.all([
      usageWhileQuiet(programs, WINDOWS * 5000),
      medianWakeUps(programs, WINDOWS),
    ]);
    const said = programs.map((program) => program.stderr()).join("");
    expect(percent, said).toBeLessThan(IDLE_PERCENT_MAX);
    for (const rate of rates) expect(rate, `wake-ups per second; ${said}`).toBeLessThan(IDLE_WAKE_UPS_MAX);
    for (const program of programs) expect(residentMib(program)).toBeLessThan(RESIDENT_MIB_MAX);
    expect(await echo(office.client, OFFICE_V4), "SN-79: and answer at once").toBe("answered");
  });
});
