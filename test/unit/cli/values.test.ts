import { expect, it } from "vitest";
import {
  parseApiUrl,
  parseBoolean,
  parseCollectorUrl,
  parseDeviceName,
  parseDuration,
  parseInteger,
} from "../../../src/cli/values.ts";

it.each([
  ["500ms", 500],
  ["10s", 10_000],
  ["1h30m", 5_400_000],
  ["1d", 86_400_000],
  ["0s", 0],
  ["10000d", 864_000_000_000],
])("PG-5: '%s' is %i ms", (text, ms) => {
  expect(parseDuration(text)).toEqual({ ok: true, value: ms });
});

it.each(["", "30", "1.5s", "-1s", "1s ", "s", "1w", "1h30", "10001d", "99999999999999999999d"])(
  "PG-5: '%s' is no duration",
  (text) => {
    expect(parseDuration(text).ok).toBe(false);
  },
);

it("PG-3: booleans of any case, nothing else", () => {
  expect(parseBoolean("TRUE")).toEqual({ ok: true, value: true });
  expect(parseBoolean("Off")).toEqual({ ok: true, value: false });
  expect(parseBoolean("").ok).toBe(false);
  expect(parseBoolean("2").ok).toBe(false);
});

it("PG-6: whole numbers keep both ends of their range", () => {
  expect(parseInteger("0", 0, 5)).toEqual({ ok: true, value: 0 });
  expect(parseInteger("5", 0, 5)).toEqual({ ok: true, value: 5 });
  for (const bad of ["6", "-1", "1e1", "0x1", " 1", "", "9".repeat(40)]) {
    expect(parseInteger(bad, 0, 5).ok, bad).toBe(false);
  }
});

it("PG-6: the portal's URL is ws, wss, http or https and carries no password", () => {
  for (const good of ["ws://192.0.2.1:8080", "wss://p.example/x", "http://p", "https://p"]) {
    expect(parseApiUrl(good)).toEqual({ ok: true, value: good });
  }
  for (const bad of ["ftp://p", "p.example", "", "wss://user:pass@p.example", "file:///etc/passwd"]) {
    expect(parseApiUrl(bad).ok, bad).toBe(false);
  }
});

it("PG-116: a collector is the base of an http or https URL, without secrets or query", () => {
  for (const good of ["http://127.0.0.1:4318", "https://collector.example/otlp/"]) {
    expect(parseCollectorUrl(good)).toEqual({ ok: true, value: good });
  }
  for (const bad of [
    "",
    "collector:4318",
    "ws://c",
    "http://user:pass@c",
    "http://c/?key=1",
    "http://c/#x",
  ]) {
    expect(parseCollectorUrl(bad).ok, bad).toBe(false);
  }
});

it("PG-6: device names have at most 15 bytes", () => {
  expect(parseDeviceName("a".repeat(15)).ok).toBe(true);
  for (const bad of ["a".repeat(16), "", ".", "..", "a/b", "a b"]) {
    expect(parseDeviceName(bad).ok, bad).toBe(false);
  }
});
