import { describe, expect, it } from "vitest";
import { OPENVPN_ARMS } from "../../../../src/program/bench/arms.ts";
import { drawChart } from "../../../../src/program/bench/chart.ts";
import { formatComparison, formatReport } from "../../../../src/program/bench/report.ts";
import {
  type BenchResult,
  type Cell,
  figure,
  ratioOf,
  spreadOf,
} from "../../../../src/program/bench/result.ts";
import { readResult } from "../../../../src/program/bench/result-file.ts";

const samples = (arm: string, values: readonly number[]): Cell["samples"] =>
  values.map((value, pair) => ({ arm, pair, value }));

function cellOf(values: Readonly<Record<string, readonly number[]>>, more: Partial<Cell> = {}): Cell {
  const all = Object.entries(values).flatMap(([arm, of]) => samples(arm, of));
  return { name: "tcp-up-1", title: "TCP up", unit: "Gbit/s", better: "higher", samples: all, ...more };
}

function resultOf(cells: readonly Cell[], more: Partial<BenchResult> = {}): BenchResult {
  return {
    v: 1,
    version: "0.1.0",
    started: "2026-11-29T12:00:00.000Z",
    machine: { processor: "AMD <EPYC>", cores: 2, kernel: "6.1", runtime: "Node 24" },
    topology: "two namespaces",
    pairs: 3,
    seconds: 4,
    arms: [
      { name: "postern", title: "postern" },
      { name: "wireguard-go", title: "wireguard-go", note: "without offloads" },
    ],
    cells,
    missing: ["OpenVPN is not compared: install it."],
    ...more,
  };
}

const CELL = cellOf({ postern: [2, 3, 10], "wireguard-go": [1, 2, 2] });

describe("PG-201: figures", () => {
  it("takes the middle, or the mean of both in the middle", () => {
    expect(spreadOf([3, 1, 2])).toEqual({ median: 2, min: 1, max: 3 });
    expect(spreadOf([1, 2, 3, 4])?.median).toBe(2.5);
    expect(spreadOf([])).toBeUndefined();
  });

  it("compares runs of one pair only", () => {
    expect(ratioOf(CELL, "postern", "wireguard-go")).toEqual({ median: 2, min: 1.5, max: 5 });
    const lonely = cellOf({ postern: [2], other: [] });
    expect(ratioOf(lonely, "postern", "other")).toBeUndefined();
  });

  it.each([
    [0, "0"],
    [0.12345, "0.123"],
    [12.345, "12.3"],
    [999.4, "999"],
    [12345.6, "12346"],
  ])("shows %d as %s", (value, text) => expect(figure(value)).toBe(text));
});

describe("PG-201: the table", () => {
  it("has medians, ratios, notes of the arms, and what is missing", () => {
    const text = formatReport(resultOf([CELL])).join("\n");
    expect(text).toMatch(/TCP up +Gbit\/s +3 +2 +2$/m);
    expect(text).toContain("wireguard-go: without offloads");
    expect(text).toContain("OpenVPN is not compared: install it.");
    expect(text).not.toContain("Other programs");
  });

  it("says that others were busy from 5 % of a processor on", () => {
    const busy = (othersShare: number) => formatReport(resultOf([CELL], { othersShare })).join("\n");
    expect(busy(0.05)).not.toContain("Other programs");
    expect(busy(0.06)).toContain("Other programs used 6 % of a processor");
  });
});

describe("PG-203: an earlier result", () => {
  const before = resultOf([CELL]);
  const verdictOf = (values: readonly number[], better: Cell["better"] = "higher") =>
    formatComparison(
      resultOf([cellOf({ postern: [2, 3, 4] }, { better })]),
      resultOf([cellOf({ postern: values }, { better })]),
    ).at(-1);

  it("is read as it was written", () => {
    expect(readResult(JSON.stringify(before))).toEqual({ ok: true, value: before });
  });

  it.each([
    ["{", "not-json"],
    ['{"v":2}', "v"],
    [JSON.stringify({ ...before, cells: [{}] }), "cells.0.name"],
  ])("is refused with its reason: %s", (text, reason) => {
    const result = readResult(text);
    expect(result.ok ? "" : result.reason).toContain(reason);
  });

  it("TS-60: a change is real where the ranges do not overlap", () => {
    expect(verdictOf([4, 5, 6])).toMatch(/within the noise$/);
    expect(verdictOf([4.1, 5, 6])).toMatch(/better$/);
    expect(verdictOf([1, 1.5, 1.9])).toMatch(/worse$/);
    expect(verdictOf([1, 1.5, 1.9], "lower")).toMatch(/better$/);
  });

  it("TS-60: a machine that was slower is no change: what counts is the ratio to what was measured beside", () => {
    const measured = (factor: number, postern: number) =>
      resultOf([
        cellOf({
          postern: [8, 9, 10].map((value) => value * factor * postern),
          "wireguard-go": [4, 4, 4].map((value) => value * factor),
        }),
      ]);
    const lines = (now: BenchResult) => formatComparison(measured(1, 1), now).slice(-2);
    const [own, ratio] = lines(measured(0.3, 1));
    expect(own).toMatch(/^TCP up, postern +Gbit\/s +9 +2.7 +0.3 *$/);
    expect(ratio).toMatch(/^TCP up, postern against wireguard-go +× +2.25 +2.25 +1 +within the noise$/);
    expect(lines(measured(0.3, 2))[1]).toMatch(/better$/);
  });

  it("of before OpenVPN had several ciphers is compared with the same one, and nothing with another", () => {
    const earlier = resultOf([cellOf({ postern: [2, 3, 4], openvpn: [1, 1, 1] })], {
      arms: [
        { name: "postern", title: "postern" },
        { name: "openvpn", title: "OpenVPN", note: "2.6.14, AES-256-GCM over UDP, no compression" },
      ],
    });
    const arms = [{ name: "postern", title: "postern" }, ...Object.values(OPENVPN_ARMS)];
    const now = cellOf({ postern: [2, 3, 4], openvpn: [1, 1, 1], "openvpn-chacha20": [1, 1, 1] });
    const old = readResult(JSON.stringify(earlier));
    if (!old.ok) throw new Error(old.reason);
    expect(formatComparison(old.value, resultOf([now], { arms })).slice(3)).toEqual([
      expect.stringMatching(/^TCP up, postern +Gbit\/s +3 +3 +1$/),
      expect.stringMatching(/^TCP up, postern against OpenVPN AES +× +3 +3 +1 +within the noise$/),
    ]);
  });

  it("TS-60: one run and two are too few to say", () => {
    expect(verdictOf([40, 50])).toMatch(/too few runs to say$/);
  });

  it("that measured other things is said to be of no use", () => {
    expect(formatComparison(resultOf([]), before)).toEqual([expect.stringContaining("nothing in common")]);
  });
});

describe("PG-202: the picture", () => {
  it("is one SVG that needs nothing else, and text from outside is text", () => {
    const svg = drawChart(resultOf([CELL]));
    expect(svg).toMatch(/^<svg [^>]*>[\s\S]*<\/svg>\n$/);
    expect(svg).toContain("AMD &lt;EPYC&gt;");
    expect(svg.replace(/xmlns="[^"]*"/, "")).not.toMatch(/https?:|href|<script/);
  });

  it("says by itself what it shows: where, of what, and what to know of the others", () => {
    const svg = drawChart(resultOf([CELL], { othersShare: 0.4 }));
    expect(svg).toContain(">2026-11-29; two namespaces<");
    expect(svg).toContain("×: postern against it");
    expect(svg).toContain(">wireguard-go: without offloads<");
    expect(svg).toContain("Other programs used 40 %");
    const heights = [svg, drawChart(resultOf([CELL]))].map((one) => Number(/height="(\d+)"/.exec(one)?.[1]));
    expect(heights[0]).toBe((heights[1] ?? 0) + 20);
  });

  it("names OpenVPN with its cipher, in its margins", () => {
    const arms = [{ name: "postern", title: "postern" }, ...Object.values(OPENVPN_ARMS)];
    const svg = drawChart(
      resultOf([cellOf({ postern: [1], openvpn: [1], "openvpn-chacha20": [1] })], { arms }),
    );
    const names = [...svg.matchAll(/<text x="([\d.]+)"[^>]*text-anchor="end">(OpenVPN [^<]*)</g)];
    expect(names.map(([, , name]) => name)).toEqual(["OpenVPN AES", "OpenVPN ChaCha20"]);
    for (const [, x, name = ""] of names) expect(Number(x)).toBeGreaterThanOrEqual(9 * name.length);
  });

  it("draws a bar for each arm that was measured", () => {
    const bars = (cell: Cell) => drawChart(resultOf([cell])).match(/<rect class="(first|other)"/g);
    expect(bars(CELL)).toHaveLength(2);
    expect(bars(cellOf({ postern: [1] }))).toHaveLength(1);
  });
});
