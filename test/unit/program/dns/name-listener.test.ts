import { expect, it } from "vitest";
import { ip } from "../../../../src/base/index.ts";
import { isInTunnel } from "../../../../src/program/dns/name-listener.ts";

it.each([
  ["100.64.0.2", "100.64.0.9", true],
  ["100.64.0.2", "100.95.255.255", true],
  ["100.64.0.2", "100.96.0.1", false],
  ["100.64.0.2", "192.168.1.7", false],
  ["fd00:2021:1111::2", "fd00:2021:1111::9", true],
  ["fd00:2021:1111::2", "fd00:2021:1111:8000::9", false],
  ["fd00:2021:1111::2", "fe80::1", false],
])("DN-84: at %s, %s is heard: %s", (own, source, isHeard) => {
  expect(isInTunnel(ip(own), ip(source))).toBe(isHeard);
});
