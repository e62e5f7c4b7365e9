import { expect, it } from "vitest";
import { findService } from "../../../../src/program/wg/read-config.ts";

it("WG-73: ports may be names of UDP services", () => {
  const text = "domain\t53/tcp\ndomain 53/udp nameserver # comment\nwho 513/udp whod\n";
  expect(findService(text, "domain")).toBe(53);
  expect(findService(text, "nameserver")).toBe(53);
  expect(findService(text, "comment")).toBeUndefined();
  expect(findService("domain 53/tcp", "domain")).toBeUndefined();
});
