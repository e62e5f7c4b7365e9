import { describe, expect, it } from "vitest";
import { concatBytes, instant, ip, toPrefix } from "../../../src/base/index.ts";
import type { PolicyTables } from "../../../src/plane/index.ts";
import { PLANE_KINDS } from "../../twin/driven-plane.ts";
import { CLIENT, flowRig, gatewayTables, host, PROXY } from "./flow-rig.ts";
import { counting, fragmentsOf, ipPacket, udp } from "./packets.ts";
import { NOW, SLOT } from "./pair.ts";

const OWN = { 4: CLIENT, 6: ip("fd00:2021:1111::2") } as const;
const RESOURCE = { 4: ip("10.1.0.9"), 6: ip("fd50::9") } as const;
const TABLES: PolicyTables = {
  ownAddresses: [OWN[4], OWN[6]],
  routes: [{ prefix: host(RESOURCE[4]), target: { kind: "peer", slot: SLOT } }],
  permits: [
    { slot: SLOT, sources: [toPrefix(RESOURCE[4], 16), toPrefix(RESOURCE[6], 64)], refuseDestination: false },
  ],
};
/** Type and code of *prohibited* (TN-12). */
const PROHIBITED = { 4: [3, 13], 6: [1, 1] } as const;

function error(family: 4 | 6, [type, code]: readonly [number, number]): Uint8Array {
  const ends = { family, source: RESOURCE[family], destination: OWN[family] } as const;
  const quote = udp(counting(4), { family, source: ends.destination, destination: ends.source });
  return ipPacket(
    family === 4 ? 1 : 58,
    concatBytes(Uint8Array.of(type, code, 0, 0, 0, 0, 0, 0), quote),
    ends,
  );
}

describe.each(PLANE_KINDS)("prohibited, as a gateway says it (%s)", (kind) => {
  const { plane, receive, dropsOf } = flowRig(kind);
  const client = () => plane("client", TABLES);

  it.each([4, 6] as const)("TN-36: goes to the client's control (IPv%i)", (family) => {
    const it = client();
    const packet = error(family, PROHIBITED[family]);
    expect(receive(it, packet)).toEqual([]);
    expect(it.takePunts()).toEqual([{ reason: "icmp-error", direction: "in", slot: SLOT, packet }]);
  });

  it("TN-36: no other error does, and no fragment", () => {
    const it = client();
    const echo = Uint8Array.from({ length: 200 }, (_, i) => (i < 8 ? 0 : i % 2 === 0 ? 3 : 13));
    const others = [
      ...[12, 10, 1].map((code) => error(4, [3, code])),
      error(4, [11, 13]),
      ...[0, 3, 4].map((code) => error(6, [1, code])),
      error(6, [3, 1]),
      // Its later fragment begins like one.
      ...fragmentsOf(ipPacket(1, echo, { family: 4, source: RESOURCE[4], destination: CLIENT }), 104, 7),
    ];
    expect(others.map((packet) => receive(it, packet).length)).toEqual(others.map(() => 1));
    expect(it.takePunts()).toEqual([]);
  });

  it("TN-36, TN-78: 200 of a gateway in a second do", () => {
    const it = client();
    for (let i = 0; i < 205; i++) receive(it, error(4, PROHIBITED[4]));
    expect(it.takePunts()).toHaveLength(200);
    expect(dropsOf(it)).toEqual({ "icmp-rate": 5 });
    receive(it, error(4, PROHIBITED[4]), instant(NOW + 1_000));
    expect(it.takePunts()).toHaveLength(1);
  });

  it("TN-36: at a gateway it is an error like any other", () => {
    const it = plane("gateway", gatewayTables());
    const quote = udp(counting(4), { family: 4, source: PROXY, destination: CLIENT });
    const body = concatBytes(Uint8Array.of(3, 13, 0, 0, 0, 0, 0, 0), quote);
    const packet = ipPacket(1, body, { family: 4, source: CLIENT, destination: PROXY });
    receive(it, packet);
    expect(it.takePunts()).toEqual([{ reason: "icmp-error", direction: "out", slot: SLOT, packet }]);
  });
});
