import { describe, expect, it } from "vitest";
import { formatIp, fromHex } from "../../../src/base/index.ts";
import { viewPacket } from "../../../src/packet/index.ts";

const hex = (text: string): Uint8Array => fromHex(text.replaceAll(/\s/g, "")) ?? new Uint8Array(0);
const V6 = "60000000 0010 3a 40 fd002021111100000000000000000002 fd002021111100000000000000000001";

describe("the view of a validated packet", () => {
  it("TN-6: IPv4 with options: addresses, protocol, transport behind the options, ports", () => {
    const packet = hex("46000020 00000000 40110000 64400002 ac140009 01010100 1388cf15 00080000");
    const view = viewPacket(packet);
    expect([view.family, formatIp(view.source), formatIp(view.destination)]).toEqual([
      4,
      "100.64.0.2",
      "172.20.0.9",
    ]);
    expect([view.protocol, view.transport.length, view.ports]).toEqual([
      17,
      8,
      { source: 5000, destination: 53_013 },
    ]);
  });

  it("TN-3 row 7: IPv6 behind an extension header; an echo identifier stands for both ports", () => {
    const packet = hex(`${V6.replace("3a", "3c")} 3a00010400000000 8000000012340001`);
    const view = viewPacket(packet);
    expect([view.family, view.protocol, view.transport[0]]).toEqual([6, 58, 128]);
    expect(view.ports).toEqual({ source: 0x1234, destination: 0x1234 });
    expect(formatIp(view.destination)).toBe("fd00:2021:1111::1");
  });

  it("TN-6: another protocol is portless", () => {
    const packet = hex("45000018 00000000 40fd0000 64400002 ac140009 00000000");
    expect(viewPacket(packet).ports).toBeUndefined();
  });
});
