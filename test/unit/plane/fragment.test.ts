/** Datagrams in fragments where flows decide, on the plane and on its twin (TN-112). */
import { describe, expect, it } from "vitest";
import { ip } from "../../../src/base/index.ts";
import type { FlowRecord, PolicyTables } from "../../../src/plane/index.ts";
import { PLANE_KINDS } from "../../twin/driven-plane.ts";
import {
  CLIENT,
  flowRig,
  gatewayTables,
  host,
  IN,
  MAPPED,
  OUT,
  PROXY,
  REAL,
  UDP,
  withByte,
} from "./flow-rig.ts";
import { counting, fragmentsOf, udp } from "./packets.ts";
import { NOW, SLOT } from "./pair.ts";

describe.each(PLANE_KINDS)("fragments of flows (%s)", (kind) => {
  const { plane, receive, send, link, later, dropsOf } = flowRig(kind);
  const REAL6 = ip("fd99::9");
  const CLIENT6 = ip("fd00:2021:1111::2");
  const PROXY6 = ip("fd00:2021:1111:8000::1");
  const FAMILIES = {
    4: { client: CLIENT, proxy: PROXY, real: REAL },
    6: { client: CLIENT6, proxy: PROXY6, real: REAL6 },
  } as const;
  const tables = (): PolicyTables => {
    const { permits, routes } = gatewayTables({ destinations: [host(PROXY), host(PROXY6)] });
    return {
      routes: [...routes, { prefix: host(CLIENT6), target: { kind: "peer", slot: SLOT } }],
      permits: permits.map((each) => ({ ...each, sources: [host(CLIENT), host(CLIENT6)] })),
    };
  };
  const flowOf = (family: 4 | 6): FlowRecord => {
    const { client, proxy, real } = FAMILIES[family];
    const ends = { client: { address: client, port: 5000 }, remote: { address: proxy, port: 443 } };
    return { ...MAPPED, ...ends, protocol: UDP, outside: { address: real, port: 6000 } };
  };

  it.each([4, 6] as const)("TN-112: later ones follow the first, translated both ways (IPv%i)", (family) => {
    const { client: inner, proxy, real } = FAMILIES[family];
    const it = plane("gateway", tables());
    link(it, flowOf(family));
    const outer = { family, source: inner, destination: real, ports: [6000, 443] } as const;
    const out = udp(counting(3000), { ...OUT, family, source: inner, destination: proxy });
    const got = fragmentsOf(out, 1024).flatMap((fragment) => receive(it, fragment));
    expect(got).toEqual(fragmentsOf(udp(counting(3000), outer), 1024));
    const back = udp(counting(3000), { ...IN, family, source: real, destination: inner });
    const answer = { family, source: proxy, destination: inner, ports: [443, 5000] } as const;
    expect(fragmentsOf(back, 1024).flatMap((fragment) => send(it, fragment))).toEqual(
      fragmentsOf(udp(counting(3000), answer), 1024),
    );
    expect(dropsOf(it)).toEqual({});
  });

  const [first = OUT.source, second = OUT.source] = fragmentsOf(udp(counting(300), OUT), 160);
  const passing = () => {
    const it = plane("gateway", tables());
    link(it, flowOf(4));
    return it;
  };

  const punted = (packet: Uint8Array) => ({ reason: "flow", direction: "out", slot: SLOT, packet }) as const;

  it.each([4, 6] as const)("TN-91, TN-112: the flow's record counts all of a datagram (IPv%i)", (family) => {
    const { client: inner, proxy, real } = FAMILIES[family];
    const it = plane("gateway", tables());
    link(it, flowOf(family));
    const out = fragmentsOf(udp(counting(3000), { ...OUT, family, source: inner, destination: proxy }), 1024);
    for (const fragment of out) receive(it, fragment);
    const back = fragmentsOf(udp(counting(2000), { ...IN, family, source: real, destination: inner }), 512);
    for (const fragment of back) send(it, fragment, later(7));
    const usage = it.flows.usage(1);
    expect(usage?.out).toMatchObject({ packets: out.length, bytes: 3000 });
    expect(usage?.in).toMatchObject({ packets: back.length, bytes: 2000, last: later(7) });
  });

  it("TN-91, TN-112: a record that has taken the place of the first one's counts, another flow's does not", () => {
    const it = plane("gateway", tables());
    const gone = link(it, flowOf(4));
    receive(it, first);
    it.flows.unlink(gone);
    // Its row is used again, by somebody else.
    it.publish(tables());
    const other = link(it, { ...flowOf(4), client: { address: CLIENT, port: 5001 } });
    expect(receive(it, second)).toHaveLength(1);
    expect(it.flows.usage(other)?.out.packets).toBe(0);
    const own = link(it, flowOf(4));
    expect(receive(it, second)).toHaveLength(1);
    expect([other, own].map((id) => it.flows.usage(id)?.out.packets)).toEqual([0, 1]);
  });

  it("TN-91, TN-112: what is refused with its first is not counted", () => {
    const it = plane("gateway", tables());
    link(it, { ...flowOf(4), out: "prohibited" });
    for (const fragment of [first, second]) receive(it, fragment);
    expect(it.flows.usage(1)?.out.packets).toBe(1);
  });

  it("TN-112: 31 s behind its first a later one is for control; after 30 s it is not", () => {
    const it = passing();
    receive(it, first);
    expect(receive(it, second, later(30))).toHaveLength(1);
    expect(receive(it, second, later(31))).toEqual([]);
    expect(it.takePunts()).toEqual([punted(second)]);
    expect(dropsOf(it)).toEqual({});
  });

  it("TN-112: a first that was overtaken follows to control, where those wait for it; 2 s later it does not", () => {
    const it = passing();
    expect(receive(it, second)).toEqual([]);
    expect(receive(it, first, later(1))).toEqual([]);
    expect(it.takePunts()).toEqual([punted(second), punted(first)]);
    expect(it.flows.usage(1)?.out.packets).toBe(0);
    expect(receive(it, first, later(2))).toHaveLength(1);
    expect(receive(it, second, later(2))).toHaveLength(1);
  });

  it("TN-112: of a flow without a record, or one that is held, all go to control, in their order", () => {
    const it = plane("gateway", tables());
    for (const fragment of [first, second]) expect(receive(it, fragment)).toEqual([]);
    it.flows.link(NOW, flowOf(4));
    for (const fragment of [first, second]) expect(receive(it, fragment)).toEqual([]);
    expect(it.takePunts()).toEqual([
      ...[first, second].map(punted),
      { ...punted(first), isCounted: true },
      punted(second),
    ]);
    expect(dropsOf(it)).toEqual({});
  });

  it("TN-112: one of another datagram, protocol or source does not pass by it", () => {
    const it = passing();
    receive(it, first);
    const others = [withByte(second, 5, 0x35), withByte(second, 9, 132)];
    for (const other of others) expect(receive(it, other)).toEqual([]);
    expect(it.takePunts()).toEqual(others.map(punted));
  });

  it("TN-82, TN-112: a revocation ends what has begun", () => {
    const it = passing();
    receive(it, first);
    it.flows.revoke(SLOT);
    expect(receive(it, second)).toEqual([]);
    expect(it.takePunts()).toEqual([punted(second)]);
  });

  it("TN-112: what refuses the first refuses the rest, in silence", () => {
    const it = plane("gateway", tables());
    link(it, { ...flowOf(4), out: "prohibited" });
    receive(it, first);
    receive(it, second);
    expect(it.takePunts()).toMatchObject([{ reason: "refused", packet: first }]);
    expect(dropsOf(it)).toEqual({ "fragment-unknown": 1 });
  });

  it("TN-5, TN-112: prefixes let each pass by its addresses, and nobody reassembles", () => {
    const permits = gatewayTables().permits.map((each) => ({ ...each, destinations: [host(REAL)] }));
    const it = plane("gateway", { ...gatewayTables(), permits });
    const all = fragmentsOf(udp(counting(3000), { ...OUT, destination: REAL }), 1024);
    expect(all.flatMap((fragment) => receive(it, fragment))).toEqual(all);
  });
});
