import { describe, expect, it } from "vitest";
import type { KernelRoute, Link } from "../../../bindings/linux/index.ts";
import { ip, prefix } from "../../../src/base/index.ts";
import { parseRouteTables, wgMtu } from "../../../src/host/index.ts";

/** A host with a device of each MTU; endpoint 192.0.2.N is reached by device N. */
function host(mtus: readonly number[], defaults: readonly number[] = []) {
  const links = mtus.map((mtu, i): Link => {
    const index = i + 1;
    const name = `eth${index}`;
    return { index, name, mtu, isUp: true, isLoopback: false, isOperational: true, txQueueLength: 0 };
  });
  const routes = defaults.map((outputIndex): KernelRoute => {
    const destination = prefix("0.0.0.0/0");
    return { destination, table: 254, outputIndex, protocol: 4, scope: 0, type: 1, hasNextHops: false };
  });
  return {
    links: () => links,
    routes: (family: 4 | 6) => (family === 4 ? routes : []),
    bestRoute: (destination: Uint8Array) => {
      const index = destination[3] ?? 0;
      return index === 0 ? undefined : { outputIndex: index };
    },
  };
}

const to = (address: string) => ({ address: ip(address) });

describe("the MTU of wg", () => {
  it("WG-63: the largest towards the endpoints, less 80", () => {
    expect(wgMtu(host([1500, 9000, 1400], [2]), [to("192.0.2.1"), to("192.0.2.3")])).toBe(1420);
    expect(wgMtu(host([1500, 9000]), [to("192.0.2.2")])).toBe(8920);
  });

  it("WG-76: a link-local endpoint is reached by the device of its scope", () => {
    expect(wgMtu(host([1500, 9000]), [{ address: ip("fe80::1"), scope: 2 }])).toBe(8920);
  });

  it("WG-63: else that of the default routes, else 1420; never outside 576 to 65535", () => {
    expect(wgMtu(host([1500, 1400], [2]), [])).toBe(1320);
    expect(wgMtu(host([1500, 1400], [2]), [to("192.0.2.0")])).toBe(1320);
    expect(wgMtu(host([1500]), [])).toBe(1420);
    expect(wgMtu(host([600], [1]), [])).toBe(576);
    expect(wgMtu(host([65536], [1]), [])).toBe(65456);
  });
});

it("WG-63: table names as iproute2 writes them", () => {
  const text =
    "#\n255\tlocal\n254\tmain # the usual\n 0xfd default\nnonsense\n-1 minus\n4294967296 too-large\n";
  expect(parseRouteTables(text)).toEqual(
    new Map([
      ["local", 255],
      ["main", 254],
      ["default", 253],
    ]),
  );
});
