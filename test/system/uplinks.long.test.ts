/** As `uplinks.test.ts`, a hundred times. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { describeWith } from "../lib/requirements.ts";
import { createTwoUplinks, OUTAGE_MS_MAX, type TwoUplinks } from "../lib/uplinks.ts";

const SWITCHES = 100;

describeWith(["netns", "tun", "nft", "build"], "two uplinks, at length", () => {
  let uplinks: TwoUplinks;
  beforeAll(async () => {
    uplinks = await createTwoUplinks();
  });
  afterAll(() => uplinks?.office.close());

  it("PG-72, PG-73, PG-75: a hundred of a hundred moves of the default route cost less than 1.5 s", async () => {
    const outages = await uplinks.switchRoutes(SWITCHES);
    const sorted = outages.toSorted((a, b) => a - b);
    console.log(`outages: median ${sorted[SWITCHES / 2]} ms, longest ${sorted.slice(-5).join(", ")} ms`);
    expect(uplinks.resets()).toBe(SWITCHES);
    expect(Math.max(...outages), `outages: ${outages} ms`).toBeLessThan(OUTAGE_MS_MAX);
  });
});
