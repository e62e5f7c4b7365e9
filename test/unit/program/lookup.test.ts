import { describe, expect, it } from "vitest";
import { ip } from "../../../src/base/index.ts";
import { type LookupReport, type QueryDecision, TYPE } from "../../../src/dns/index.ts";
import { formatLookup } from "../../../src/program/ask/format-lookup.ts";
import { lookupViews } from "../../../src/program/client/lookup.ts";
import type { DnsService } from "../../../src/program/dns/index.ts";

const WIKI = { rid: "r", name: "Wiki" };

async function linesFor(
  decision: QueryDecision,
  rcode = 0,
  addresses: readonly string[] = [],
  of: { readonly type?: string; readonly records?: number } = {},
) {
  const lookup = (domain: string, type: number): Promise<LookupReport> => {
    const family = type === TYPE.A ? 4 : 16;
    const found = addresses.map((address) => ip(address)).filter(({ length }) => length === family);
    return Promise.resolve({
      domain,
      type,
      rcode,
      addresses: found,
      records: of.records ?? found.length,
      decision,
    });
  };
  const machine = {
    resources: () => [
      {
        resource: {
          kind: "dns" as const,
          ...WIKI,
          address: "*.corp",
          sites: [],
          ipStack: "dual" as const,
          filters: [],
        },
        status: "unknown" as const,
        isEnabled: true,
      },
    ],
  };
  const service: Pick<DnsService, "lookup"> = { lookup };
  const views = await lookupViews(service, machine, "wiki.corp", of.type);
  return formatLookup(views);
}

describe("postern lookup", () => {
  it("PG-195: a resource's name, with the pattern and whose it is", async () => {
    const decision = { kind: "local", row: 5, rid: "r", pattern: "*.corp" } as const;
    expect(await linesFor(decision, 0, ["100.96.0.1", "100.96.0.2", "fd00:2021:1111:8000::"])).toEqual([
      "wiki.corp  A     100.96.0.1 100.96.0.2",
      "wiki.corp  AAAA  fd00:2021:1111:8000::",
      "  matches *.corp of the resource Wiki",
    ]);
  });

  it.each<[string, QueryDecision, number, string, string]>([
    [
      "a name of the internet",
      {
        kind: "forwarded",
        row: 12,
        upstream: { kind: "do53", server: { address: ip("192.0.2.1") } },
        path: "direct",
      },
      3,
      "NXDOMAIN",
      "no resource has it: 192.0.2.1 is asked past the tunnel",
    ],
    [
      "a name that nobody can be asked for",
      { kind: "forwarded", row: 12, upstream: { kind: "none" }, path: "direct" },
      2,
      "SERVFAIL",
      "no resource has it, and there is no server to ask",
    ],
    ["what was said before", { kind: "cached" }, 0, "no address", "a server has said so, and it still holds"],
    ["no name", { kind: "malformed", reason: "not a domain name" }, 1, "FORMERR", "not a domain name"],
    [
      "a row of the table",
      { kind: "local", row: 11 },
      3,
      "NXDOMAIN",
      "the name exists nowhere by definition",
    ],
  ])("PG-195: %s", async (_, decision, rcode, answer, why) => {
    expect(await linesFor(decision, rcode)).toEqual([
      `wiki.corp  A     ${answer}`,
      `wiki.corp  AAAA  ${answer}`,
      `  ${why}`,
    ]);
  });

  it("PG-195: another type, by its name or number, and who was asked for it", async () => {
    const site = { kind: "site", row: 8, rid: "r", pattern: "*.corp" } as const;
    const why = "  asked at the site of the resource Wiki";
    expect(await linesFor(site, 0, [], { type: "txt", records: 2 })).toEqual([
      "wiki.corp  TXT   2 records",
      why,
    ]);
    expect(await linesFor(site, 0, [], { type: "SRV", records: 1 })).toEqual([
      "wiki.corp  SRV   1 record",
      why,
    ]);
    expect(await linesFor(site, 3, [], { type: "TYPE99" })).toEqual(["wiki.corp  TYPE99  NXDOMAIN", why]);
    for (const type of ["nonsense", "TYPE65536", "TYPE", ""]) {
      await expect(linesFor(site, 0, [], { type })).rejects.toMatchObject({ code: "bad_params" });
    }
  });

  it("PG-195: a client without a resolver says so", async () => {
    await expect(lookupViews(undefined, { resources: () => [] }, "a")).rejects.toMatchObject({
      code: "not_ready",
    });
  });
});
