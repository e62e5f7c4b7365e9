import { describe, expect, it } from "vitest";
import { ip, prefix, SILENT } from "../../../src/base/index.ts";
import type { ClientResource } from "../../../src/portal/protocol/index.ts";
import { createResourceTable } from "../../../src/tunnel/resources.ts";

const SITE = { id: "site-1", name: "Berlin" };
const none = (): boolean => false;

function cidr(rid: string, network: string, more: { name?: string; sites?: readonly (typeof SITE)[] } = {}) {
  const resource: ClientResource = {
    kind: "cidr",
    rid,
    name: more.name ?? rid,
    address: prefix(network),
    sites: more.sites ?? [SITE],
    filters: [],
  };
  return resource;
}

describe("the client's resources", () => {
  it("TN-24: init is a difference: what is missing goes, what stays keeps its access", () => {
    const table = createResourceTable(SILENT);
    table.replaceAll([cidr("a", "10.0.0.0/8"), cidr("b", "172.20.0.0/16")]);
    expect(table.replaceAll([cidr("b", "172.20.0.0/16"), cidr("c", "192.168.0.0/24")])).toEqual({
      removed: ["a"],
      isChanged: true,
    });
    expect(table.all().map(({ rid }) => rid)).toEqual(["b", "c"]);
    expect(table.replaceAll([cidr("b", "172.20.0.0/16"), cidr("c", "192.168.0.0/24")])).toEqual({
      removed: [],
      isChanged: false,
    });
  });

  it("TN-25: another address or other sites end access, another name does not", () => {
    const table = createResourceTable(SILENT);
    table.upsert(cidr("a", "10.0.0.0/8"));
    expect(table.upsert(cidr("a", "10.0.0.0/8", { name: "Office" }))).toEqual({
      removed: [],
      isChanged: true,
    });
    expect(table.upsert(cidr("a", "10.0.0.0/9")).removed).toEqual(["a"]);
    expect(table.upsert(cidr("a", "10.0.0.0/9", { sites: [] })).removed).toEqual(["a"]);
    expect(table.get("a")).toBeDefined();
  });

  it("TN-18: a network inside a range of the tunnel is ignored, one that covers it is not", () => {
    const table = createResourceTable(SILENT);
    table.replaceAll([
      cidr("inside", "100.64.3.0/24"),
      cidr("proxy", "100.96.0.0/12"),
      cidr("around", "100.0.0.0/8"),
    ]);
    expect(table.all().map(({ rid }) => rid)).toEqual(["around"]);
  });

  it("TN-21: the longest prefix wins, then an authorised resource, then the greater id", () => {
    const table = createResourceTable(SILENT);
    table.replaceAll([cidr("wide", "10.0.0.0/8"), cidr("x", "10.1.0.0/16"), cidr("y", "10.1.0.0/16")]);
    const find = (address: string, isAuthorised: (rid: string) => boolean) =>
      table.find(ip(address), isAuthorised)?.rid;
    expect(find("10.2.0.1", none)).toBe("wide");
    expect(find("10.1.0.1", none)).toBe("y");
    expect(find("10.1.0.1", (rid) => rid === "x")).toBe("x");
    expect(find("10.1.0.1", (rid) => rid === "wide")).toBe("y");
    expect(find("192.0.2.1", none)).toBeUndefined();
    expect(find("fd00::1", none)).toBeUndefined();
  });

  it("TN-19: lists the internet resource first, then by name, then by id", () => {
    const table = createResourceTable(SILENT);
    table.replaceAll([
      cidr("2", "10.2.0.0/16", { name: "b" }),
      cidr("1", "10.1.0.0/16", { name: "b" }),
      cidr("3", "10.3.0.0/16", { name: "a" }),
      { kind: "internet", rid: "9", name: "z", canBeDisabled: true, sites: [] },
    ]);
    expect(table.all().map(({ rid }) => rid)).toEqual(["9", "3", "1", "2"]);
  });
});
