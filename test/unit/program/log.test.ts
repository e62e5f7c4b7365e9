import { describe, expect, it } from "vitest";
import { ip, secret } from "../../../src/base/index.ts";
import { createLog, REPEAT_WINDOW_MS } from "../../../src/program/log.ts";
import { type LogFilter, parseLogFilter, rankFor, rankOf } from "../../../src/program/log-filter.ts";

const START = Date.UTC(2026, 0, 27, 10, 0, 0, 123);

function filterOf(text: string): LogFilter {
  const filter = parseLogFilter(text);
  if (!filter.ok) throw new Error(filter.reason);
  return filter.value;
}

function setUp(filter = "trace", format: "human" | "json" | "journal" = "human", hasColours = false) {
  const lines: string[] = [];
  const clock = { ms: 0 };
  const { log, setFilter } = createLog({
    filter: filterOf(filter),
    format,
    hasColours,
    write: (line) => lines.push(line),
    wallMs: () => START,
    monotonicMs: () => clock.ms,
  });
  return { log, lines, clock, setFilter: (text: string) => setFilter(filterOf(text)) };
}

describe("lines for people", () => {
  it("PG-89: time, level, target, message, fields, then contexts from the outermost", () => {
    const { log, lines } = setUp();
    const inner = log.scope("ice", { cid: "c1" }).scope("ice.agent", { pair: "host-host" });
    inner.info?.("path connected", { rttMs: 1.5, note: "two words" });
    expect(lines).toEqual([
      '2026-01-27T10:00:00.123Z  INFO ice.agent: path connected rtt_ms=1.5 note="two words" cid=c1 pair=host-host',
    ]);
  });

  it("PG-90: the event's field wins over the context's", () => {
    const { log, lines } = setUp("trace", "json");
    log.scope("a", { gid: "outer" }).warn?.("x", { gid: "own" });
    expect(JSON.parse(lines[0] ?? "")).toMatchObject({ gid: "own" });
  });

  it("PG-89: journald gets a severity instead of the time", () => {
    const { log, lines } = setUp("trace", "journal");
    for (const level of ["error", "warn", "info", "debug", "trace"] as const) log[level]?.("x");
    expect(lines).toEqual([
      "<3>postern: x",
      "<4>postern: x",
      "<6>postern: x",
      "<7>postern: x",
      "<7>postern: x",
    ]);
  });

  it("PG-89: colours only when asked for", () => {
    const coloured = setUp("trace", "human", true);
    coloured.log.warn?.("x");
    expect(coloured.lines[0]).toContain("\x1b[33m WARN\x1b[0m");
  });

  it("PG-102: control characters of strangers do not reach the terminal", () => {
    const { log, lines } = setUp();
    log.info?.("a\x1b[2Jb\nc", { name: "d\x1b[31m\ne" });
    expect(lines[0]).toMatch(/postern: a \[2Jb c name="d\\u001b\[31m\\ne"$/);
  });

  it("prints addresses, bytes, errors and secrets as what they are", () => {
    const { log, lines } = setUp();
    log.info?.("x", {
      src: { address: ip("192.0.2.1"), port: 7 },
      bytes: Uint8Array.of(1, 255),
      error: new Error("outer", { cause: new Error("inner") }),
      token: secret("hidden"),
      nested: { token: secret("hidden"), n: 1n },
      absent: undefined,
    });
    expect(lines[0]).toContain(
      'src=192.0.2.1:7 bytes=01ff error="outer: inner" token=[redacted] nested="{\\"token\\":\\"[redacted]\\",\\"n\\":\\"1\\"}"',
    );
    expect(lines[0]).not.toContain("absent");
    expect(lines.join()).not.toContain("hidden");
  });
});

describe("lines for programs", () => {
  it("PG-90: one object with all fields at top level", () => {
    const { log, lines } = setUp("trace", "json");
    log.scope("plane", { gid: "g" }).debug?.("ready", { readyMs: 12, isFast: true, packets: 5n });
    expect(JSON.parse(lines[0] ?? "")).toEqual({
      time: "2026-01-27T10:00:00.123Z",
      level: "debug",
      target: "plane",
      msg: "ready",
      ready_ms: 12,
      is_fast: true,
      packets: 5,
      gid: "g",
    });
  });

  it("PG-90: a field cannot overwrite the line's own", () => {
    const { log, lines } = setUp("trace", "json");
    log.info?.("x", { level: "fake", time: 0 });
    expect(JSON.parse(lines[0] ?? "")).toMatchObject({ level: "info", level_: "fake", time_: 0 });
  });

  it.each([
    ["one long value", { a: "x".repeat(100_000) }],
    ["many values", Object.fromEntries(Array.from({ length: 2000 }, (_, i) => [`f${i}`, "value"]))],
    ["wide characters", { a: "€".repeat(8000) }],
  ])("PG-90: %s: a line has at most 8 KiB and stays JSON", (_, fields) => {
    const { log, lines } = setUp("trace", "json");
    log.info?.("x", fields);
    expect(Buffer.byteLength(lines[0] ?? "")).toBeLessThanOrEqual(8192);
    expect(JSON.parse(lines[0] ?? "")).toMatchObject({ msg: "x", level: "info" });
  });
});

describe("the filter", () => {
  it("PG-91: the longest matching prefix decides, at . or :: only", () => {
    const filter = filterOf("warn,ice=debug,ice.agent=off,snow::node=trace");
    const level = (target: string) => rankFor(filter, target);
    expect(level("postern")).toBe(rankOf("warn"));
    expect(level("ice")).toBe(rankOf("debug"));
    expect(level("ice.pair")).toBe(rankOf("debug"));
    expect(level("icecream")).toBe(rankOf("warn"));
    expect(level("ice.agent.x")).toBe(rankOf("off"));
    expect(level("snow::node::x")).toBe(rankOf("trace"));
  });

  it("PG-91: later duplicates win, an empty filter is info, an unknown level is refused", () => {
    expect(rankFor(filterOf("a=info,a=debug,error,warn"), "a")).toBe(rankOf("debug"));
    expect(rankFor(filterOf("error,warn"), "x")).toBe(rankOf("warn"));
    expect(rankFor(filterOf(""), "x")).toBe(rankOf("info"));
    expect(parseLogFilter("a=loud")).toMatchObject({ ok: false, reason: expect.stringContaining("'loud'") });
  });

  it("PG-57: a level that is off is absent", () => {
    const { log, lines } = setUp("info,quiet=off");
    expect(log.debug).toBeUndefined();
    expect(log.scope("quiet").error).toBeUndefined();
    log.info?.("x");
    expect(lines.length).toBe(1);
  });

  it("PG-92: a change reaches logs that were handed out before", () => {
    const { log, setFilter } = setUp("info");
    const inner = log.scope("ice");
    expect(inner.debug).toBeUndefined();
    setFilter("ice=debug");
    expect(inner.debug).toBeDefined();
    expect(log.debug).toBeUndefined();
  });
});

describe("repetition", () => {
  it("PG-106: once per window; the next line says how many were held back", () => {
    const { log, lines, clock } = setUp();
    for (let i = 0; i < 5; i++) log.warn?.("send failed", { errno: 1, to: `peer-${i}` });
    expect(lines.length).toBe(1);
    clock.ms = REPEAT_WINDOW_MS - 1;
    log.warn?.("send failed", { errno: 1 });
    expect(lines.length).toBe(1);
    clock.ms = REPEAT_WINDOW_MS;
    log.warn?.("send failed", { errno: 1 });
    expect(lines.length).toBe(2);
    expect(lines[1]).toContain("suppressed=5");
  });

  it("PG-106: another level, target, message or errno is another key; INFO is never held back", () => {
    const { log, lines } = setUp();
    log.warn?.("a", { errno: 1 });
    log.warn?.("a", { errno: 2 });
    log.error?.("a", { errno: 1 });
    log.scope("b").warn?.("a", { errno: 1 });
    log.warn?.("c", { errno: 1 });
    log.info?.("a");
    log.info?.("a");
    expect(lines.length).toBe(7);
  });

  it("PG-106: remembers 10,000 keys and forgets the oldest first", () => {
    const { log, lines } = setUp();
    for (let i = 0; i < 10_001; i++) log.warn?.(`w${i}`);
    log.warn?.("w0");
    expect(lines.length).toBe(10_002);
    log.warn?.("w10000");
    expect(lines.length).toBe(10_002);
  });
});
