import { describe, expect, it } from "vitest";
import { ip, type LogFields, prefix, SILENT } from "../../../src/base/index.ts";
import { createReversePathWarning } from "../../../src/host/index.ts";

const ALL = "net/ipv4/conf/all/rp_filter";
const OUT = "net/ipv4/conf/eth0.7/rp_filter";
const RTNETLINK = {
  bestRoute: () => ({ outputIndex: 3, gateway: ip("192.0.2.1") }),
  links: () => [{ index: 3, name: "eth0.7" }] as never,
};
const EVERYTHING = [prefix("0.0.0.0/0"), prefix("::/0")];

function warningsOf(values: Record<string, string>, ...turns: (readonly ReturnType<typeof prefix>[])[]) {
  const said: LogFields[] = [];
  const log = { ...SILENT, warn: (_: string, fields: LogFields = {}) => void said.push(fields) };
  const warn = createReversePathWarning(log, (path) => values[path]);
  for (const networks of turns) warn(RTNETLINK, networks);
  return said;
}

describe("strict reverse-path filtering while everything goes into the tunnel", () => {
  it("PG-39: is warned of once, with the settings to change", () => {
    expect(warningsOf({ [ALL]: "1", [OUT]: "0" }, EVERYTHING, [], EVERYTHING)).toEqual([
      {
        device: "eth0.7",
        remedy: "sysctl -w net/ipv4/conf/all/rp_filter=2 net/ipv4/conf/eth0.7/rp_filter=2",
      },
    ]);
  });

  it.each([
    ["strict on the interface only", "0", "1", 1],
    ["strict here, loose there", "2", "1", 0],
    ["off", "0", "0", 0],
    ["loose", "2", "0", 0],
  ])("PG-39: the larger of `all` and the interface counts: %s", (_, all, device, warnings) => {
    expect(warningsOf({ [ALL]: all, [OUT]: device }, EVERYTHING)).toHaveLength(warnings);
  });

  it("PG-39: nobody is bothered without the internet resource, or without such a filter", () => {
    expect(warningsOf({ [ALL]: "1", [OUT]: "1" }, [prefix("10.0.0.0/8"), prefix("::/0")])).toEqual([]);
    expect(warningsOf({}, EVERYTHING)).toEqual([]);
  });
});
