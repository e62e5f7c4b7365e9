import type { NetworkInterfaceInfo } from "node:os";
import { describe, expect, it } from "vitest";
import { formatIp, ip, SILENT } from "../../../../src/base/index.ts";
import {
  createOwnAddresses,
  type Interfaces,
  ownAddresses,
} from "../../../../src/program/userspace/own-network.ts";

function one(address: string, internal = false): NetworkInterfaceInfo {
  const base = { address, internal, netmask: "", mac: "", cidr: null };
  return address.includes(":") ? { ...base, family: "IPv6", scopeid: 0 } : { ...base, family: "IPv4" };
}

const found = (interfaces: Interfaces, tunnels: readonly string[] = []): string[] =>
  ownAddresses(interfaces, (name) => tunnels.includes(name)).map(formatIp);

describe("our own addresses, as a runtime tells them", () => {
  it("PG-142: are those of all interfaces but loopback and link-local, IPv4 first", () => {
    const interfaces = {
      lo: [one("127.0.0.1", true), one("::1", true)],
      eth0: [one("2001:db8::5"), one("fe80::1"), one("192.0.2.5")],
    };
    expect(found(interfaces)).toEqual(["192.0.2.5", "2001:db8::5"]);
  });

  it("PG-122, TN-16: a tunnel's addresses are not, a carrier's of the same range are", () => {
    const interfaces = { "tun-postern": [one("100.64.0.7")], wwan0: [one("100.70.0.1")] };
    expect(found(interfaces, ["tun-postern"])).toEqual(["100.70.0.1"]);
  });

  it("PG-142: are eight per family at most, and loopback where there is nothing else", () => {
    const many = Array.from({ length: 12 }, (_, i) => one(`192.0.2.${i + 1}`));
    expect(found({ eth0: many })).toHaveLength(8);
    expect(found({ lo: [one("127.0.0.1", true)], eth0: undefined })).toEqual(["127.0.0.1"]);
  });
});

describe("addresses that the system does not tell", () => {
  const HOME = [ip("192.0.2.5")];

  it("PG-210: are those that it told last, and are asked for again", () => {
    let [isShort, said] = [false, 0];
    const log = { ...SILENT, warn: () => void said++ };
    const find = createOwnAddresses(log, () => {
      if (isShort) throw new Error("uv_interface_addresses returned EMFILE");
      return HOME;
    });
    expect(find()).toEqual(HOME);
    isShort = true;
    expect([find(), find(), said]).toEqual([HOME, HOME, 2]);
    isShort = false;
    expect([find(), said]).toEqual([HOME, 2]);
  });

  it("PG-210: are an error when they are asked for the first time", () => {
    const find = createOwnAddresses(SILENT, () => {
      throw new Error("uv_interface_addresses returned EMFILE");
    });
    expect(find).toThrow(expect.objectContaining({ code: "host", hint: expect.stringContaining("ulimit") }));
  });
});
