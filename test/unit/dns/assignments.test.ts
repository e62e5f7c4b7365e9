import { describe, expect, it } from "vitest";
import { formatIp, ip } from "../../../src/base/index.ts";
import { assign, assignmentOf, createAssignments, restoreAssignments } from "../../../src/dns/assignments.ts";
import { type AssignedName, isProxyAddress, parseName } from "../../../src/dns/index.ts";
import { createProxyBlocks } from "../../../src/tunnel/proxy-blocks.ts";
import fc from "../../lib/property.ts";
import { nameOf, octets } from "./octets.ts";

const DUAL = { rid: "r", ipStack: "dual" } as const;
const textOf = (assigned: ReturnType<typeof assign>) =>
  assigned.kind === "known" || assigned.kind === "new"
    ? assigned.name.proxies.map(formatIp)
    : [assigned.kind];
const name = (domain: string, first: number, rid = "r"): AssignedName => ({
  domain,
  rid,
  proxies: [0, 1, 2, 3].map((i) => ip(`100.96.1.${first + i}`)),
});

/** Where others have all blocks but these, by IPv4. */
function withoutBlocks(...left: readonly number[]) {
  const table = createAssignments();
  for (let block = 0; block < 8192; block++) if (!left.includes(block)) table.v4.owners.set(block, "other");
  return table;
}

describe("proxy addresses", () => {
  it("DN-41, DN-42: four of each family, upwards from the first of the ranges", () => {
    const table = createAssignments();
    expect(textOf(assign(table, nameOf("a.corp"), DUAL))).toEqual([
      "100.96.0.1",
      "100.96.0.2",
      "100.96.0.3",
      "100.96.0.4",
      "fd00:2021:1111:8000::",
      "fd00:2021:1111:8000::1",
      "fd00:2021:1111:8000::2",
      "fd00:2021:1111:8000::3",
    ]);
    expect(textOf(assign(table, nameOf("b.corp"), { rid: "r", ipStack: "ipv4_only" }))[0]).toBe("100.96.0.5");
    expect(textOf(assign(table, nameOf("c.corp"), { rid: "r", ipStack: "ipv6_only" }))).toHaveLength(4);
    expect(textOf(assign(table, nameOf("d.corp"), DUAL))[4]).toBe("fd00:2021:1111:8000::8");
  });

  it("DN-43: a name keeps its addresses, for each resource its own", () => {
    const table = createAssignments();
    const first = assign(table, nameOf("A.corp"), DUAL);
    expect(assign(table, nameOf("a.CORP"), DUAL)).toEqual({ ...first, kind: "known" });
    expect(textOf(assign(table, nameOf("a.corp"), { ...DUAL, rid: "s" }))[0]).toBe("100.96.1.0");
  });

  it("DN-41: a name whose text is too long because of its escapes gets none", () => {
    const long = parseName(octets(`${`3f${"00".repeat(63)}`.repeat(1)} 00`), 0);
    const table = createAssignments();
    expect(long.ok && textOf(assign(table, long.value.name, DUAL))).toHaveLength(8);
    const longer = parseName(octets(`3f${"00".repeat(63)} 01 00 00`), 0);
    expect(longer.ok && textOf(assign(table, longer.value.name, DUAL))).toEqual(["too-long"]);
    expect(table.names.size).toBe(1);
  });

  it("DN-47: when names or addresses run out, nothing is recorded", () => {
    const table = createAssignments(2);
    assign(table, nameOf("a.corp"), DUAL);
    assign(table, nameOf("b.corp"), DUAL);
    expect(assign(table, nameOf("c.corp"), DUAL)).toEqual({ kind: "full" });
    const scarce = withoutBlocks();
    scarce.v4.scarce = 2 ** 21 - 4;
    expect(assign(scarce, nameOf("a.corp"), DUAL)).toEqual({ kind: "full" });
    expect(scarce.byAddress.size).toBe(0);
    scarce.v4.scarce = 2 ** 21 - 5;
    expect(textOf(assign(scarce, nameOf("a.corp"), DUAL))[3]).toBe("100.127.255.254");
  });

  it("DN-42: sentinels are nobody's proxy addresses", () => {
    for (const table of [withoutBlocks(0x46e, 0x46f, 0x470), withoutBlocks()]) {
      // 100.100.110.253, the last three before the sentinels.
      table.v4.next.set(DUAL.rid, 0x4_6efd);
      table.v4.scarce = 0x4_6efd;
      expect(textOf(assign(table, nameOf("a.corp"), DUAL)).slice(0, 4)).toEqual([
        "100.100.110.253",
        "100.100.110.254",
        "100.100.110.255",
        "100.100.112.0",
      ]);
    }
  });

  it("DN-42, TN-39: resources whose names take turns have blocks of their own, a prefix each for their gateways", () => {
    const table = createAssignments();
    const rids = ["r", "s", "t"];
    for (let i = 0; i < 1000; i++) assign(table, nameOf(`n${i}.corp`), { ...DUAL, rid: rids[i % 3] ?? "r" });
    expect(textOf(assign(table, nameOf("n1.corp"), { ...DUAL, rid: "s" }))[0]).toBe("100.96.1.0");
    const blocks = createProxyBlocks({
      names: () => table.names.values(),
      nameCount: () => table.names.size,
    });
    const prefixes = blocks.prefixes((rid) => `gateway of ${rid}`);
    // 334 names of a resource are 1,336 addresses.
    for (const rid of rids) expect(prefixes.get(`gateway of ${rid}`)?.length).toBeLessThanOrEqual(2 * 6);
  });

  it("DN-42, DN-46: what an earlier process gave away among each other stays; nobody else begins there", () => {
    const table = createAssignments();
    expect(restoreAssignments(table, [name("a.corp", 8), name("b.corp", 16, "s")])).toBe(true);
    expect(textOf(assign(table, nameOf("c.corp"), { ...DUAL, rid: "s" }))[0]).toBe("100.96.0.1");
    expect(textOf(assign(table, nameOf("c.corp"), DUAL))[0]).toBe("100.96.2.0");
  });

  it("DN-46: names of an earlier process keep their addresses, and others get others", () => {
    const table = createAssignments();
    const before = { domain: "a.corp", rid: "r", proxies: [2, 3, 4, 5].map((i) => ip(`100.96.0.${i}`)) };
    expect(restoreAssignments(table, [before])).toBe(true);
    expect(textOf(assign(table, nameOf("a.corp"), DUAL))).toEqual(before.proxies.map(formatIp));
    expect(textOf(assign(table, nameOf("b.corp"), DUAL)).slice(0, 4)).toEqual([
      "100.96.0.1",
      "100.96.0.6",
      "100.96.0.7",
      "100.96.0.8",
    ]);
  });

  it.each([
    ["an address twice", [name("a.corp", 1), name("b.corp", 4)]],
    ["a name twice", [name("a.corp", 1), name("a.corp", 5)]],
    ["three addresses", [{ ...name("a.corp", 1), proxies: name("a.corp", 1).proxies.slice(1) }]],
    ["none", [{ ...name("a.corp", 1), proxies: [] }]],
    [
      "an address outside",
      [
        {
          ...name("a.corp", 1),
          proxies: ["100.95.0.1", "100.96.0.2", "100.96.0.3", "100.96.0.4"].map((one) => ip(one)),
        },
      ],
    ],
    ["a sentinel", [{ ...name("a.corp", 1), proxies: [1, 2, 3, 4].map((i) => ip(`100.100.111.${i}`)) }]],
    ["upper case", [name("A.corp", 1)]],
    ["no name", [name("a..corp", 1)]],
  ])("DN-46: a list with %s is refused as a whole", (_, names) => {
    const table = createAssignments();
    expect(restoreAssignments(table, [name("ok.corp", 100), ...names])).toBe(false);
    expect([table.names.size, table.byAddress.size]).toEqual([0, 0]);
  });

  it("DN-43: whatever is asked in whatever order, no address has two names and none ever changes", () => {
    const asked = fc.tuple(
      fc.constantFrom("a", "b", "c", "d"),
      fc.constantFrom("r", "s"),
      fc.constantFrom("dual", "ipv4_only", "ipv6_only" as const),
    );
    fc.assert(
      fc.property(fc.array(asked), (queries) => {
        const table = createAssignments();
        const given = new Map<string, string>();
        for (const [domain, rid, ipStack] of queries) {
          const text = textOf(assign(table, nameOf(domain), { rid, ipStack: ipStack as "dual" })).join();
          expect(given.get(`${domain} ${rid}`) ?? text).toBe(text);
          given.set(`${domain} ${rid}`, text);
        }
        const all = [...given.values()].flatMap((text) => text.split(","));
        expect(new Set(all).size).toBe(all.length);
        for (const text of all) {
          expect(isProxyAddress(ip(text))).toBe(true);
          expect(assignmentOf(table, ip(text))?.proxies.map(formatIp)).toContain(text);
        }
      }),
    );
  });
});
