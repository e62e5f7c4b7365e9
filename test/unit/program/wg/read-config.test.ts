import { expect, it } from "vitest";
import { findService, findTable } from "../../../../src/program/wg/read-config.ts";

it("WG-63: Table names stand in rt_tables", () => {
  const text = "#\n255\tlocal\n 200 vpn # mine\n0x1f hex\n";
  expect(findTable(text, "vpn")).toBe(200);
  expect(findTable(text, "local")).toBe(255);
  expect(findTable(text, "hex")).toBe(31);
  expect(findTable(text, "mine")).toBeUndefined();
  expect(findTable("", "vpn")).toBeUndefined();
});

it("WG-73: ports may be names of UDP services", () => {
  const text = "domain\t53/tcp\ndomain 53/udp nameserver # comment\nwho 513/udp whod\n";
  expect(findService(text, "domain")).toBe(53);
  expect(findService(text, "nameserver")).toBe(53);
  expect(findService(text, "comment")).toBeUndefined();
  expect(findService("domain 53/tcp", "domain")).toBeUndefined();
});
