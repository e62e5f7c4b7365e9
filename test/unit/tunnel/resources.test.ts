import { describe, expect, it } from "vitest";
import { ip, prefix, SILENT } from "../../../src/base/index.ts";
import type { ClientResource } from "../../../src/portal/protocol/index.ts";
import {
  activeResources,
  allResources,
  createResourceTable,
  findResource,
  type ResourceTable,
  removeResource,
  replaceResources,
  switchInternet,
  upsertResource,
} from "../../../src/tunnel/resources.ts";

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

const ridsOf = (table: ResourceTable): readonly string[] =>
  allResources(table).map(({ resource }) => resource.rid);

describe("the client's resources", () => {
  it("TN-24: init is a difference: what is missing goes, what stays keeps its access", () => {
    const table = createResourceTable(SILENT);
    replaceResources(table, [cidr("a", "10.0.0.0/8"), cidr("b", "172.20.0.0/16")]);
    expect(replaceResources(table, [cidr("b", "172.20.0.0/16"), cidr("c", "192.168.0.0/24")])).toEqual({
      removed: ["a"],
      isChanged: true,
    });
    expect(ridsOf(table)).toEqual(["b", "c"]);
    expect(replaceResources(table, [cidr("b", "172.20.0.0/16"), cidr("c", "192.168.0.0/24")])).toEqual({
      removed: [],
      isChanged: false,
    });
  });

  it("TN-25: another address or other sites end access, another name does not", () => {
    const table = createResourceTable(SILENT);
    upsertResource(table, cidr("a", "10.0.0.0/8"));
    expect(upsertResource(table, cidr("a", "10.0.0.0/8", { name: "Office" }))).toEqual({
      removed: [],
      isChanged: true,
    });
    expect(upsertResource(table, cidr("a", "10.0.0.0/9")).removed).toEqual(["a"]);
    expect(upsertResource(table, cidr("a", "10.0.0.0/9", { sites: [] })).removed).toEqual(["a"]);
    expect(table.listed.has("a")).toBe(true);
  });

  it("TN-18: a network inside a range of the tunnel is ignored, one that covers it is not", () => {
    const table = createResourceTable(SILENT);
    replaceResources(table, [
      cidr("inside", "100.64.3.0/24"),
      cidr("proxy", "100.96.0.0/12"),
      cidr("around", "100.0.0.0/8"),
    ]);
    expect(ridsOf(table)).toEqual(["around"]);
  });

  it("TN-21: the longest prefix wins, then an authorised resource, then the greater id", () => {
    const table = createResourceTable(SILENT);
    replaceResources(table, [cidr("wide", "10.0.0.0/8"), cidr("x", "10.1.0.0/16"), cidr("y", "10.1.0.0/16")]);
    const find = (address: string, isAuthorised: (rid: string) => boolean) =>
      findResource(table, { destination: ip(address), protocol: 17 }, isAuthorised)?.resource.rid;
    expect(find("10.2.0.1", none)).toBe("wide");
    expect(find("10.1.0.1", none)).toBe("y");
    expect(find("10.1.0.1", (rid) => rid === "x")).toBe("x");
    expect(find("10.1.0.1", (rid) => rid === "wide")).toBe("y");
    expect(find("192.0.2.1", none)).toBeUndefined();
    expect(find("fd00::1", none)).toBeUndefined();
  });

  it("TN-21: a resource whose filters permit the packet goes before a longer prefix whose do not", () => {
    const table = createResourceTable(SILENT);
    const filters = [{ protocol: "tcp", firstPort: 443, lastPort: 443 } as const];
    replaceResources(table, [cidr("wide", "10.0.0.0/8"), { ...cidr("web", "10.1.0.0/16"), filters }]);
    const find = (port: number) =>
      findResource(
        table,
        { destination: ip("10.1.0.1"), protocol: 6, ports: { source: 5000, destination: port } },
        none,
      )?.resource.rid;
    expect(find(443)).toBe("web");
    expect(find(22)).toBe("wide");
  });

  it("TN-21, TN-23: the internet is what no network has, and only while its switch is on", () => {
    const table = createResourceTable(SILENT);
    const filters = [{ protocol: "icmp" } as const];
    const internet: ClientResource = {
      kind: "internet",
      rid: "net",
      name: "n",
      canBeDisabled: true,
      sites: [],
    };
    replaceResources(table, [internet, { ...cidr("lab", "198.51.100.0/24"), filters }]);
    const find = (address: string) =>
      findResource(
        table,
        { destination: ip(address), protocol: 6, ports: { source: 5000, destination: 22 } },
        none,
      )?.resource.rid;
    expect(find("203.0.113.1")).toBeUndefined();
    expect(switchInternet(table, true)).toEqual({ removed: [], isChanged: true });
    expect(switchInternet(table, true)).toEqual({ removed: [], isChanged: false });
    expect(find("203.0.113.1")).toBe("net");
    expect(find("2001:db8::1")).toBe("net");
    expect(find("10.0.0.1")).toBeUndefined();
    // A network that refuses the packet keeps it.
    expect(find("198.51.100.1")).toBe("lab");
    expect(switchInternet(table, false)).toEqual({ removed: ["net"], isChanged: true });
    expect(find("203.0.113.1")).toBeUndefined();
  });

  it("TN-23: the switch is the user's: taking the resource back and giving it again leaves it", () => {
    const table = createResourceTable(SILENT, true);
    const internet: ClientResource = {
      kind: "internet",
      rid: "net",
      name: "n",
      canBeDisabled: true,
      sites: [],
    };
    upsertResource(table, internet);
    removeResource(table, "net");
    expect(switchInternet(table, true)).toEqual({ removed: [], isChanged: false });
    upsertResource(table, internet);
    expect(activeResources(table)).toHaveLength(1);
  });

  it("TN-19: lists the internet resource first, then by name, then by id", () => {
    const table = createResourceTable(SILENT);
    replaceResources(table, [
      cidr("2", "10.2.0.0/16", { name: "b" }),
      cidr("1", "10.1.0.0/16", { name: "b" }),
      cidr("3", "10.3.0.0/16", { name: "a" }),
      { kind: "internet", rid: "9", name: "z", canBeDisabled: true, sites: [] },
    ]);
    expect(ridsOf(table)).toEqual(["9", "3", "1", "2"]);
  });
});
