/** Flow records on the plane and on its twin (TN-74 to TN-90, TN-110). */
import { describe, expect, it } from "vitest";
import { concatBytes, ip, toPrefix } from "../../../src/base/index.ts";
import type { FlowRecord, FlowVerdict, PolicyTables } from "../../../src/plane/index.ts";
import { type DrivenPlane, frameOf, PLANE_KINDS } from "../../twin/driven-plane.ts";
import { encodeVnet } from "../../twin/plane/split.ts";
import {
  ACK,
  CLIENT,
  ENDS,
  FILTERED,
  FIN,
  flowRig,
  gatewayTables,
  host,
  IN,
  LABEL,
  MAPPED,
  OUT,
  PROXY,
  REAL,
  RST,
  SYN,
  TCP,
  UDP,
} from "./flow-rig.ts";
import { counting, ipPacket, type TcpOptions, tcp, udp } from "./packets.ts";
import { NOW, PEER_B, SLOT, sessionKeys } from "./pair.ts";

describe.each(PLANE_KINDS)("flow records (%s)", (kind) => {
  const { plane, gateway, client, receive, send, link, later, dropsOf } = flowRig(kind);

  it("TN-110: without a record, a packet goes to control, with its direction and peer", () => {
    const first = tcp(counting(9), OUT);
    const it = gateway();
    expect(receive(it, first)).toEqual([]);
    expect(send(it, tcp(counting(9), IN))).toEqual([]);
    expect(it.takePunts()).toEqual([
      { reason: "flow", direction: "in", slot: SLOT, packet: tcp(counting(9), IN) },
      { reason: "flow", direction: "out", slot: SLOT, packet: first },
    ]);
    const other = client();
    expect(send(other, first)).toEqual([]);
    expect(other.takePunts()).toEqual([{ reason: "flow", direction: "out", packet: first }]);
  });

  it("TN-110: the longest prefix counts, of equal ones the one by flow; a translated peer's first of all", () => {
    const permits = gatewayTables().permits[0] ?? expect.fail("a permit");
    const tables = (isTranslated: boolean): PolicyTables => ({
      ...gatewayTables(),
      permits: [
        {
          ...permits,
          destinations: [toPrefix(ip("10.8.0.0"), 16), host(PROXY), host(REAL)],
          egressSources: [toPrefix(ip("10.7.0.0"), 16)],
          byFlow: {
            destinations: [toPrefix(ip("10.8.0.0"), 24), host(PROXY)],
            egressSources: [],
            isTranslated,
          },
        },
      ],
    });
    const to = (destination: Uint8Array) => udp(counting(4), { ...OUT, destination });
    const it = plane("gateway", tables(true));
    expect(receive(it, to(ip("10.8.1.1")))).toHaveLength(1);
    expect(receive(it, to(REAL))).toHaveLength(1);
    expect([FILTERED, PROXY].flatMap((destination) => receive(it, to(destination)))).toEqual([]);
    expect(it.takePunts().map(({ reason }) => reason)).toEqual(["flow", "flow"]);
    // Allowed by prefix, and without a record it passes as it is; with one it is translated.
    expect(send(it, tcp(counting(9), IN))).toEqual([tcp(counting(9), IN)]);
    link(it);
    expect(send(it, tcp(counting(9), IN))).toEqual([
      tcp(counting(9), { ...OUT, source: PROXY, destination: CLIENT, ports: [443, 5000] }),
    ]);
    it.publish(tables(false));
    expect(send(it, tcp(counting(9), IN))).toEqual([tcp(counting(9), IN)]);
  });

  it("TN-76: `nat` translates both ways, one by one", () => {
    const it = gateway();
    link(it);
    expect(receive(it, tcp(counting(9), OUT))).toEqual([
      tcp(counting(9), { ...OUT, destination: REAL, ports: [6000, 443] }),
    ]);
    expect(send(it, tcp(counting(9), IN))).toEqual([
      tcp(counting(9), { ...IN, source: PROXY, ports: [443, 5000] }),
    ]);
    expect(it.takePunts()).toEqual([]);
  });

  it("TN-4, TN-76: and a super-frame whose checksum is left to us, judged once", () => {
    const it = gateway();
    const id = link(it);
    const packet = tcp(counting(2500), IN);
    const vnet = { needsChecksum: true, gsoType: 1, headerBytes: 40, checksumStart: 20, checksumOffset: 16 };
    const frame = concatBytes(encodeVnet({ ...vnet, gsoBytes: 1000 }), packet);
    const segments = send(it, packet, NOW, frame);
    expect(segments).toHaveLength(3);
    for (const [i, segment] of segments.entries()) {
      const body = packet.subarray(40 + i * 1000, 40 + (i + 1) * 1000);
      const options: TcpOptions = {
        ...IN,
        source: PROXY,
        ports: [443, 5000],
        sequence: 0x01020304 + i * 1000,
      };
      expect(segment).toEqual(tcp(body, { ...options, identification: i }));
    }
    expect(it.flows.usage(id)?.in).toMatchObject({ packets: 3, bytes: 2500 });
  });

  it("TN-75, TN-76: echo goes by its identifier", () => {
    const it = gateway();
    link(it, { ...MAPPED, protocol: 1, remote: { address: PROXY, port: 0 } });
    const echo = (type: number, identifier: number, ends: Pick<TcpOptions, "source" | "destination">) => {
      const sum = ~((type << 8) + identifier + 1) & 0xffff;
      const body = Uint8Array.of(type, 0, sum >> 8, sum & 255, identifier >> 8, identifier & 255, 0, 1);
      return ipPacket(1, body, { family: 4, ...ends });
    };
    expect(receive(it, echo(8, 5000, { source: CLIENT, destination: PROXY }))).toEqual([
      echo(8, 6000, { source: CLIENT, destination: REAL }),
    ]);
    expect(send(it, echo(0, 6000, { source: REAL, destination: CLIENT }))).toEqual([
      echo(0, 5000, { source: PROXY, destination: CLIENT }),
    ]);
    expect(receive(it, echo(8, 5001, { source: CLIENT, destination: PROXY }))).toEqual([]);
  });

  it("TN-76: on the client the record names the gateway", () => {
    const it = client();
    link(it, { protocol: TCP, ...ENDS, out: "pass", slot: SLOT });
    const packet = tcp(counting(9), OUT);
    expect(it.egress(NOW, frameOf(packet))).toMatchObject([{ slot: SLOT }]);
    expect(send(it, tcp(counting(9), { ...OUT, ports: [5001, 443] }))).toEqual([]);
    expect(it.takePunts()).toHaveLength(1);
  });

  it("TN-76: refused packets go to control with the refusal; `drop` counts under its reason; `punt` gives all", () => {
    const it = gateway();
    const puntsOf = (out: FlowVerdict, port: number) => {
      const client = { address: CLIENT, port };
      link(it, { protocol: TCP, ...ENDS, client, out, slot: SLOT, reason: "expired-nat" });
      for (let times = 0; times < 2; times++) receive(it, tcp(counting(9), { ...OUT, ports: [port, 443] }));
      return it.takePunts().map(({ packet: _, ...punt }) => punt);
    };
    const twice = <T>(punt: T) => [punt, punt];
    const refused = { reason: "refused", slot: SLOT };
    expect(puntsOf("prohibited", 7000)).toEqual(twice({ ...refused, refusal: "prohibited" }));
    expect(puntsOf("unreachable", 7001)).toEqual(twice({ ...refused, refusal: "unreachable" }));
    expect(puntsOf("drop", 7002)).toEqual([]);
    expect(puntsOf("punt", 7003)).toEqual(twice({ reason: "flow", direction: "out", slot: SLOT }));
    expect(dropsOf(it)).toEqual({ "expired-nat": 2 });
  });

  it("TN-108: whoever is told that a packet is too big knows it by the addresses it had", () => {
    const it = plane("gateway", gatewayTables(), 600);
    link(it);
    const packet = tcp(counting(700), IN);
    expect(send(it, packet)).toEqual([]);
    expect(it.takePunts()).toEqual([{ reason: "too-big", slot: SLOT, packet }]);
  });

  it("TN-88: what waits for a session is translated already", () => {
    const it = gateway();
    link(it);
    it.execute({ kind: "hold", slot: SLOT });
    send(it, tcp(counting(9), IN));
    const packet = tcp(counting(9), { ...IN, source: PROXY, ports: [443, 5000] });
    expect(it.takePunts()).toEqual([{ reason: "no-session", slot: SLOT, packet }]);
  });

  it("TN-82: a revocation ends a peer's records at once, or everybody's, and what is linked later holds", () => {
    for (const slot of [SLOT, undefined]) {
      const it = gateway();
      const id = link(it);
      expect(receive(it, tcp(counting(9), OUT))).toHaveLength(1);
      it.flows.revoke(slot);
      expect(receive(it, tcp(counting(9), OUT))).toEqual([]);
      expect(it.takePunts()).toMatchObject([{ reason: "flow" }]);
      link(it);
      expect(receive(it, tcp(counting(9), OUT))).toHaveLength(1);
      expect(it.flows.sweep(NOW)).toMatchObject([{ id, ending: "stale" }]);
    }
    const it = gateway();
    link(it);
    it.flows.revoke(SLOT + 1);
    expect(receive(it, tcp(counting(9), OUT))).toHaveLength(1);
  });

  it("TN-82: whoever gets a peer's slot gets none of its flows", () => {
    const it = gateway();
    link(it);
    it.execute({ kind: "remove-peer", slot: SLOT });
    it.execute({ kind: "add-peer", slot: SLOT, peerId: PEER_B });
    it.execute({ kind: "install", slot: SLOT, peerId: PEER_B, session: sessionKeys("a") });
    expect(receive(it, tcp(counting(9), OUT))).toEqual([]);
    expect(it.takePunts()).toMatchObject([{ reason: "flow" }]);
  });

  it("TN-77: a record of another peer is none", () => {
    const it = gateway();
    link(it, { ...MAPPED, slot: SLOT + 1 });
    expect(receive(it, tcp(counting(9), OUT))).toEqual([]);
    expect(it.takePunts()).toMatchObject([{ reason: "flow", slot: SLOT }]);
  });

  it("TN-81: a later record of the same flow counts, until it is taken out", () => {
    const it = gateway();
    link(it);
    const id = link(it, { ...MAPPED, outside: { address: REAL, port: 6001 } });
    const portOf = ([packet]: readonly Uint8Array[]) => packet?.slice(20, 22);
    expect(portOf(receive(it, tcp(counting(9), OUT)))).toEqual(Uint8Array.of(6001 >> 8, 6001 & 255));
    it.flows.unlink(id);
    expect(portOf(receive(it, tcp(counting(9), OUT)))).toEqual(Uint8Array.of(6000 >> 8, 6000 & 255));
    expect(it.flows.unlink(id)).toBeUndefined();
    expect(it.flows.usage(id)).toBeUndefined();
  });

  it("TN-79: a record may be there in one direction only", () => {
    const it = gateway();
    link(it, { protocol: TCP, ...ENDS, outside: MAPPED.outside ?? ENDS.client, in: "nat", slot: SLOT });
    expect(send(it, tcp(counting(9), IN))).toHaveLength(1);
    expect(receive(it, tcp(counting(9), OUT))).toEqual([]);
  });

  it("TN-78: a new connection on the ports of one that has ended goes to control", () => {
    const it = gateway();
    link(it);
    const packet = (flags: number) => tcp(counting(0), { ...OUT, flags });
    expect(receive(it, packet(SYN))).toHaveLength(1);
    expect(receive(it, packet(FIN | ACK))).toHaveLength(1);
    expect(receive(it, packet(SYN | ACK))).toHaveLength(1);
    expect(receive(it, packet(SYN))).toEqual([]);
    expect(it.takePunts()).toMatchObject([{ reason: "flow", direction: "out" }]);
  });

  it("TN-78: ICMP errors go to control where flows decide, within a budget", () => {
    const it = gateway();
    const error = (ends: { readonly source: Uint8Array; readonly destination: Uint8Array }) => {
      const quote = udp(counting(4), { family: 4, source: ends.destination, destination: ends.source });
      return ipPacket(1, concatBytes(Uint8Array.of(3, 1, 0, 0, 0, 0, 0, 0), quote), { family: 4, ...ends });
    };
    const [out, into] = [
      error({ source: CLIENT, destination: PROXY }),
      error({ source: REAL, destination: CLIENT }),
    ];
    receive(it, out);
    send(it, into);
    receive(it, error({ source: CLIENT, destination: REAL }));
    expect(it.takePunts()).toEqual([
      { reason: "icmp-error", direction: "in", slot: SLOT, packet: into },
      { reason: "icmp-error", direction: "out", slot: SLOT, packet: out },
    ]);
    expect(dropsOf(it)).toEqual({ "icmp-error-out": 1 });
    for (let i = 0; i < 200; i++) receive(it, out);
    expect(dropsOf(it)).toEqual({ "icmp-error-out": 1, "icmp-rate": 1 });
    expect(it.takePunts()).toHaveLength(199);
    const other = client();
    send(other, out);
    expect(other.takePunts()).toEqual([{ reason: "icmp-error", direction: "out", packet: out }]);
  });

  describe("order through a punt (TN-87)", () => {
    const labelled = (label: number) => tcp(Uint8Array.of(label), OUT);
    const labelsOf = (packets: readonly Uint8Array[]) => packets.map((packet) => packet[LABEL]);
    const takeAll = (it: DrivenPlane) => labelsOf(it.takePunts().map(({ packet }) => packet));

    it("TN-87: packets follow those that were punted before, until these are handled", () => {
      const it = gateway();
      receive(it, labelled(1));
      receive(it, labelled(2));
      it.flows.link(NOW, MAPPED);
      expect(it.releaseFlows()).toBe(true);
      expect(receive(it, labelled(3))).toEqual([]);
      expect(takeAll(it)).toEqual([1, 2, 3]);
      expect(receive(it, labelled(4))).toEqual([]);
      expect(it.releaseFlows()).toBe(true);
      expect(receive(it, labelled(5))).toEqual([]);
      expect(takeAll(it)).toEqual([4, 5]);
      expect(it.releaseFlows()).toBe(false);
      expect(labelsOf(receive(it, labelled(6)))).toEqual([6]);
    });

    it("TN-87: each direction for itself", () => {
      const it = gateway();
      receive(it, labelled(1));
      it.flows.link(NOW, MAPPED);
      expect(it.releaseFlows()).toBe(true);
      expect(send(it, tcp(counting(9), IN))).toHaveLength(1);
      expect(receive(it, labelled(2))).toEqual([]);
    });

    it("TN-87: what others punt does not keep a flow", () => {
      const it = gateway();
      it.flows.link(NOW, MAPPED);
      const other = tcp(counting(1), { ...OUT, ports: [1, 443] });
      it.releaseFlows();
      receive(it, other);
      expect(it.releaseFlows()).toBe(false);
      expect(receive(it, labelled(1))).toHaveLength(1);
    });
  });

  describe("ageing (TN-90)", () => {
    const endedAt = (it: DrivenPlane, seconds: number) =>
      it.flows.sweep(later(seconds)).map(({ ending }) => ending);
    const answered = (it: DrivenPlane, flow: FlowRecord) => {
      link(it, flow);
      const make = flow.protocol === TCP ? tcp : udp;
      send(it, make(counting(3), IN));
    };

    it.each([
      ["TCP, 2 h", MAPPED, 7200],
      ["UDP, 2 min", { ...MAPPED, protocol: UDP }, 120],
    ])("TN-68, TN-90: an idle record ends: %s", (_, flow, seconds) => {
      const it = gateway();
      answered(it, flow);
      expect(endedAt(it, seconds - 1)).toEqual([]);
      expect(endedAt(it, seconds)).toEqual(["idle"]);
      expect(receive(it, tcp(counting(3), OUT))).toEqual([]);
    });

    it("TN-68: TCP that nothing has answered ends after 60 s; UDP has its 2 min", () => {
      const it = gateway();
      link(it);
      link(it, { ...MAPPED, protocol: UDP });
      expect(endedAt(it, 59)).toEqual([]);
      expect(endedAt(it, 60)).toEqual(["idle"]);
      expect(endedAt(it, 119)).toEqual([]);
      expect(endedAt(it, 120)).toEqual(["idle"]);
    });

    it("TN-68: FIN both ways ends it 5 s later, RST at once", () => {
      const it = gateway();
      answered(it, MAPPED);
      send(it, tcp(counting(0), { ...IN, flags: FIN | ACK }));
      expect(endedAt(it, 100)).toEqual([]);
      receive(it, tcp(counting(0), { ...OUT, flags: FIN | ACK }), later(100));
      expect(endedAt(it, 104)).toEqual([]);
      expect(endedAt(it, 105)).toEqual(["closed"]);
      link(it);
      send(it, tcp(counting(0), { ...IN, flags: RST }));
      expect(it.flows.sweep(NOW)).toMatchObject([{ ending: "reset", in: { packets: 1, hasRst: true } }]);
    });

    it("TN-90: where answers are not looked up, TCP has 2 min, too", () => {
      const it = client();
      link(it, { protocol: TCP, ...ENDS, out: "pass", slot: SLOT });
      expect(endedAt(it, 119)).toEqual([]);
      expect(endedAt(it, 120)).toEqual(["idle"]);
    });

    it("TN-79: a refusal is kept for 10 s", () => {
      const it = gateway();
      link(it, { protocol: TCP, ...ENDS, out: "prohibited", slot: SLOT });
      expect(endedAt(it, 9)).toEqual([]);
      expect(endedAt(it, 10)).toEqual(["idle"]);
    });

    it("TN-90: stamps say when, how many and how much", () => {
      const it = gateway();
      const id = link(it);
      receive(it, tcp(counting(9), OUT), later(3));
      receive(it, tcp(counting(9), OUT), later(4));
      send(it, tcp(counting(100), IN), later(5));
      const stamps = { hasFin: false, hasRst: false };
      expect(it.flows.unlink(id)).toEqual({
        out: { last: later(4), packets: 2, bytes: 18, ...stamps },
        in: { last: later(5), packets: 1, bytes: 100, ...stamps },
      });
    });
  });
});
