import { describe, expect, it } from "vitest";
import { concatBytes, instant, ip, toPrefix } from "../../../src/base/index.ts";
import type { PolicyTables } from "../../../src/plane/index.ts";
import { PLANE_KINDS } from "../../twin/driven-plane.ts";
import { CLIENT, flowRig, host } from "./flow-rig.ts";
import { type FlowOptions, fragmentsOf, ipPacket, tcp, udp } from "./packets.ts";
import { NOW, SLOT } from "./pair.ts";

const CLIENT6 = ip("fd00:2021:1111::2");
const SERVER = { 4: ip("10.1.0.53"), 6: ip("fd50::53") } as const;
const OWN = { 4: CLIENT, 6: CLIENT6 } as const;
const ROUTER = { 4: ip("10.1.0.1"), 6: ip("fd50::1") } as const;
const TABLES: PolicyTables = {
  ownAddresses: [CLIENT, CLIENT6],
  routes: [{ prefix: host(SERVER[4]), target: { kind: "peer", slot: SLOT } }],
  permits: [
    {
      slot: SLOT,
      sources: [toPrefix(SERVER[4], 16), toPrefix(SERVER[6], 64)],
      refuseDestination: false,
    },
  ],
};
const BODY = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);

type Ports = readonly [number, number];

function answer(family: 4 | 6, ports: Ports): FlowOptions {
  return { family, source: SERVER[family], destination: OWN[family], ports };
}

/** From a router, about a packet that went the other way. */
function error(family: 4 | 6, quote: Uint8Array): Uint8Array {
  const message = concatBytes(Uint8Array.of(family === 4 ? 3 : 1, 3, 0, 0, 0, 0, 0, 0), quote);
  return ipPacket(family === 4 ? 1 : 58, message, {
    family,
    source: ROUTER[family],
    destination: OWN[family],
  });
}

function asked(family: 4 | 6, ports: Ports): FlowOptions {
  return { family, source: OWN[family], destination: SERVER[family], ports };
}

describe.each(PLANE_KINDS)("packets from the tunnel for the client's resolver (%s)", (kind) => {
  const { plane, receive, dropsOf } = flowRig(kind);
  const client = () => plane("client", TABLES);

  it.each([4, 6] as const)(
    "TN-38, DN-68: a name server's packet to a port of the resolver (IPv%i)",
    (family) => {
      const it = client();
      const packets = [udp(BODY, answer(family, [53, 61_000])), tcp(BODY, answer(family, [53_535, 65_535]))];
      for (const packet of packets) expect(receive(it, packet)).toEqual([]);
      expect(it.takePunts()).toEqual(packets.map((packet) => ({ reason: "resolver", slot: SLOT, packet })));
    },
  );

  it.each<[string, Ports]>([
    ["the port below", [53, 60_999]],
    ["another service", [443, 61_000]],
    ["its neighbour", [53_534, 61_000]],
    ["the other way round", [61_000, 53]],
  ])("TN-38: passes what has %s", (_, ports) => {
    const it = client();
    for (const family of [4, 6] as const) {
      expect(receive(it, udp(BODY, answer(family, ports)))).toHaveLength(1);
      expect(receive(it, tcp(BODY, answer(family, ports)))).toHaveLength(1);
    }
    expect(it.takePunts()).toEqual([]);
  });

  it.each([4, 6] as const)("TN-38: an error about a packet from there (IPv%i)", (family) => {
    const it = client();
    const about = error(family, udp(BODY, asked(family, [61_000, 53])));
    const others = [
      error(family, udp(BODY, asked(family, [60_999, 53]))),
      error(family, tcp(BODY, asked(family, [61_000, 443]))),
      // An identity of echo is no port.
      error(family, ipPacket(family === 4 ? 1 : 58, BODY, asked(family, [0, 0]))),
    ];
    expect([about, ...others].map((packet) => receive(it, packet).length)).toEqual([0, 1, 1, 1]);
    expect(it.takePunts()).toEqual([{ reason: "resolver", slot: SLOT, packet: about }]);
  });

  it("TN-38: no fragment is, nor anything from where the gateway may not send", () => {
    const it = client();
    const [first = BODY, later = BODY] = fragmentsOf(
      udp(new Uint8Array(200), answer(4, [53, 61_000])),
      104,
      7,
    );
    expect([first, later].map((packet) => receive(it, packet).length)).toEqual([1, 1]);
    receive(it, udp(BODY, { ...answer(4, [53, 61_000]), source: ip("10.2.0.53") }));
    expect(it.takePunts()).toEqual([]);
    expect(dropsOf(it)).toEqual({ "not-allowed-source": 1 });
  });

  it("TN-38: at most 4,000 of a gateway in a second", () => {
    const it = client();
    const packet = udp(BODY, answer(4, [53, 61_000]));
    for (let i = 0; i < 4_010; i++) {
      receive(it, packet);
      if (i % 1_000 === 0) it.takePunts();
    }
    expect(dropsOf(it)).toEqual({ "flow-rate": 10 });
    it.takePunts();
    receive(it, packet, instant(NOW + 1_000));
    expect(it.takePunts()).toHaveLength(1);
  });

  it("TN-38: a gateway has no resolver", () => {
    const it = plane("gateway", {
      routes: [],
      permits: [
        { slot: SLOT, sources: [host(CLIENT)], destinations: [host(SERVER[4])], refuseDestination: true },
      ],
    });
    const out = udp(BODY, { family: 4, source: CLIENT, destination: SERVER[4], ports: [53, 61_000] });
    expect(receive(it, out)).toEqual([out]);
  });
});
