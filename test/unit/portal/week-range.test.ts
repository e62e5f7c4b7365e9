import { describe, expect, it } from "vitest";
import { unixMs } from "../../../src/base/index.ts";
import {
  nextBegin,
  parseWeekRanges,
  type WeekRange,
  withinWeek,
} from "../../../src/portal/server/week-range.ts";

function ranges(...texts: readonly string[]): readonly WeekRange[] {
  return texts.flatMap((text) => {
    const parsed = parseWeekRanges(text);
    if (!parsed.ok) throw new Error(`${text}: ${parsed.reason}`);
    return parsed.value;
  });
}

function at(iso: string) {
  return unixMs(Date.parse(iso));
}

/** The end as ISO text, `never`, or `outside`. */
function until(list: readonly WeekRange[], iso: string): string {
  const result = withinWeek(list, at(iso));
  if (!result.isWithin) return "outside";
  return result.until === undefined ? "never" : new Date(result.until).toISOString().replace(".000", "");
}

/** 2026-01-26 is a Monday. */
const MONDAY = "2026-01-26";

describe("reading", () => {
  it.each([
    ["M/9-17/UTC", [[9 * 3600, 17 * 3600]]],
    [
      "T/9:30-12:00,13:00:05-24:00/UTC",
      [
        [86_400 + 34_200, 86_400 + 43_200],
        [86_400 + 46_805, 2 * 86_400],
      ],
    ],
    ["U/true/UTC", [[6 * 86_400, 7 * 86_400]]],
  ])("PT-82: %s", (text, expected) => {
    expect(ranges(text).map(({ startS, endS }) => [startS, endS])).toEqual(expected);
  });

  it.each([
    ["M/9-17", "bad-form"],
    ["9-17/UTC", "bad-form"],
    ["X/true/UTC", "bad-day"],
    ["MT/true/UTC", "bad-day"],
    ["/true/UTC", "bad-day"],
    ["M/17-9/UTC", "bad-time"],
    ["M/9/UTC", "bad-time"],
    ["M/9-10-11/UTC", "bad-time"],
    ["M/9-24:01/UTC", "bad-time"],
    ["M/24:00-24:00/UTC", "bad-time"],
    ["M/9:60-10/UTC", "bad-time"],
    ["M//UTC", "bad-time"],
    ["M/true/Nowhere", "bad-zone"],
  ])("PT-82: refuses %s as %s", (text, reason) => {
    expect(parseWeekRanges(text)).toEqual({ ok: false, reason });
  });
});

describe("within a week", () => {
  const WORK = ranges("M/9:00-17:00/UTC");

  it.each([
    ["08:59:59.999", "outside"],
    ["09:00:00.000", `${MONDAY}T17:00:00Z`],
    ["16:59:59.999", `${MONDAY}T17:00:00Z`],
    ["17:00:00.000", "outside"],
  ])("PT-82: is half-open: %s", (time, end) => {
    expect(until(WORK, `${MONDAY}T${time}Z`)).toBe(end);
  });

  it("PT-82: does not apply on other days", () => {
    expect(until(WORK, "2026-01-27T12:00:00Z")).toBe("outside");
  });

  it("PT-82: joins touching ranges, also across midnight and the end of the week", () => {
    expect(until(ranges("M/9-12,12-17/UTC"), `${MONDAY}T10:00:00Z`)).toBe(`${MONDAY}T17:00:00Z`);
    const night = ranges("U/22-24:00/UTC", "M/0-6/UTC");
    expect(until(night, "2026-01-25T23:00:00Z")).toBe(`${MONDAY}T06:00:00Z`);
    expect(until(night, `${MONDAY}T05:59:59Z`)).toBe(`${MONDAY}T06:00:00Z`);
  });

  it("PT-82: a gap of a second cuts", () => {
    expect(until(ranges("M/9-11:59:59,12-17/UTC"), `${MONDAY}T10:00:00Z`)).toBe(`${MONDAY}T11:59:59Z`);
  });

  it("PT-82: a week without a gap has no end", () => {
    const always = ranges(...[..."MTWRFSU"].map((day) => `${day}/true/UTC`));
    expect(until(always, `${MONDAY}T10:00:00Z`)).toBe("never");
  });

  it("PT-82: overlapping ranges of several zones continue each other", () => {
    const both = ranges("M/9-12/UTC", "M/12-14/Europe/Berlin");
    // 12:00 to 14:00 in Berlin is 11:00 to 13:00 UTC.
    expect(until(both, `${MONDAY}T10:00:00Z`)).toBe(`${MONDAY}T13:00:00Z`);
  });

  it("PT-82: counts in the zone's clock", () => {
    const berlin = ranges("M/9-17/Europe/Berlin");
    expect(until(berlin, `${MONDAY}T07:59:59Z`)).toBe("outside");
    expect(until(berlin, `${MONDAY}T08:00:00Z`)).toBe(`${MONDAY}T16:00:00Z`);
  });

  it("PT-82: uses the offset at the end, when daylight saving begins in between", () => {
    // 2026-03-29, a Sunday: at 2:00 clocks in Berlin go to 3:00.
    const sunday = ranges("U/true/Europe/Berlin");
    expect(until(sunday, "2026-03-29T00:30:00Z")).toBe("2026-03-29T22:00:00Z");
  });

  it("PT-82: uses the offset at the end, when daylight saving ends in between", () => {
    // 2026-10-25, a Sunday: at 3:00 clocks in Berlin go back to 2:00.
    const sunday = ranges("U/true/Europe/Berlin");
    expect(until(sunday, "2026-10-24T22:30:00Z")).toBe("2026-10-25T23:00:00Z");
  });
});

describe("the next beginning", () => {
  const begin = (own: readonly WeekRange[], iso: string) => {
    const next = nextBegin(own, at(iso));
    return next === undefined ? undefined : new Date(next).toISOString().replace(".000Z", "Z");
  };

  it("PT-82: is the first of the ranges ahead, to the second, also in the week after", () => {
    const own = ranges("M/9:00:07-12,14-15/UTC", "W/0-1/UTC");
    expect(begin(own, `${MONDAY}T08:59:59.500Z`)).toBe(`${MONDAY}T09:00:07Z`);
    expect(begin(own, `${MONDAY}T12:00:00Z`)).toBe(`${MONDAY}T14:00:00Z`);
    expect(begin(ranges("M/9-10/UTC"), `${MONDAY}T10:00:00Z`)).toBe(
      new Date(Date.parse(`${MONDAY}T09:00:00Z`) + 7 * 86_400_000).toISOString().replace(".000Z", "Z"),
    );
    expect(begin([], `${MONDAY}T10:00:00Z`)).toBeUndefined();
  });

  it("PT-82: counts in the zone's clock, with the offset at that instant", () => {
    expect(begin(ranges("M/9-17/Europe/Berlin"), `${MONDAY}T07:59:59Z`)).toBe(`${MONDAY}T08:00:00Z`);
    // 2026-03-29, a Sunday: at 2:00 clocks in Berlin go to 3:00.
    expect(begin(ranges("U/9-10/Europe/Berlin"), "2026-03-28T22:00:00Z")).toBe("2026-03-29T07:00:00Z");
  });

  it("PT-82: what begins then holds then, whatever the week and the zone", () => {
    for (const zone of ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]) {
      const own = ranges(`T/4:30:15-6/${zone}`, `S/23-24:00/${zone}`);
      for (let day = 0; day < 366; day += 5) {
        const now = unixMs(Date.UTC(2026, 0, 1, 12) + day * 86_400_000);
        if (withinWeek(own, now).isWithin) continue;
        const next = nextBegin(own, now) ?? expect.fail("a range begins every week");
        expect(withinWeek(own, next).isWithin, `${zone} ${new Date(next).toISOString()}`).toBe(true);
        expect(withinWeek(own, unixMs(next - 1)).isWithin).toBe(false);
      }
    }
  });
});
