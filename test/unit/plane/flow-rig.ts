/** A plane with one peer about whose packets flows decide: what the tests of flow records share. */
import { expect } from "vitest";
import { type Instant, instant, ip, type Prefix, toPrefix } from "../../../src/base/index.ts";
import type { FlowRecord, PermitsByFlow, PolicyTables } from "../../../src/plane/index.ts";
import { createDrivenPlane, type DrivenPlane, frameOf, type PlaneKind } from "../../twin/driven-plane.ts";
import { openMessage, sealMessage } from "../../twin/plane/message.ts";
import { A, B, directPath, NOW, PEER_B, SLOT, sessionKeys } from "./pair.ts";

export const [TCP, UDP] = [6, 17];
export const [SYN, ACK, FIN, RST] = [0x02, 0x10, 0x01, 0x04];
/** The client, a proxy address, and the real one behind it. */
export const CLIENT = ip("100.64.0.2");
export const PROXY = ip("100.96.0.1");
export const REAL = ip("10.7.0.9");
/** A resource with filters. */
export const FILTERED = ip("10.8.0.1");

export const OUT = { family: 4, source: CLIENT, destination: PROXY, ports: [5000, 443] } as const;
export const IN = { family: 4, source: REAL, destination: CLIENT, ports: [443, 6000] } as const;
export const ENDS = {
  client: { address: CLIENT, port: 5000 },
  remote: { address: PROXY, port: 443 },
} as const;
export const MAPPED: FlowRecord = {
  protocol: TCP,
  ...ENDS,
  outside: { address: REAL, port: 6000 },
  out: "nat",
  in: "nat",
  slot: SLOT,
};
export const LABEL = 40;

export const withByte = (bytes: Uint8Array, at: number, value: number) =>
  bytes.map((byte, i) => (i === at ? value : byte));
export const host = (address: Uint8Array): Prefix => toPrefix(address, address.length * 8);

export function gatewayTables(byFlow: Partial<PermitsByFlow> = {}): PolicyTables {
  const all = {
    destinations: [host(PROXY), host(FILTERED)],
    egressSources: [host(FILTERED)],
    isTranslated: true,
  };
  const permits = {
    slot: SLOT,
    sources: [host(CLIENT)],
    destinations: [],
    egressSources: [],
    refuseDestination: true,
    byFlow: { ...all, ...byFlow },
  };
  return { routes: [{ prefix: host(CLIENT), target: { kind: "peer", slot: SLOT } }], permits: [permits] };
}

export const CLIENT_TABLES: PolicyTables = {
  ownAddresses: [CLIENT],
  routes: [{ prefix: host(PROXY), target: { kind: "flow" } }],
  permits: [],
};

export function flowRig(kind: PlaneKind) {
  function plane(mode: "client" | "gateway", tables: PolicyTables, mtu?: number): DrivenPlane {
    const driven = createDrivenPlane(kind, { mode });
    driven.execute({ kind: "add-peer", slot: SLOT, peerId: PEER_B });
    driven.execute({ kind: "set-path", slot: SLOT, path: directPath(B, mtu === undefined ? {} : { mtu }) });
    driven.execute({ kind: "install", slot: SLOT, peerId: PEER_B, session: sessionKeys("a") });
    driven.execute({ kind: "set-current", slot: SLOT, local: sessionKeys("a").local });
    driven.publish(tables);
    return driven;
  }

  const gateway = (byFlow?: Partial<PermitsByFlow>) => plane("gateway", gatewayTables(byFlow));
  const client = () => plane("client", CLIENT_TABLES);

  let counter = 0n;

  /** The peer sends this packet; what comes out for the TUN device. */
  function receive(driven: DrivenPlane, packet: Uint8Array, now: Instant = NOW): readonly Uint8Array[] {
    const { receiveKey, local } = sessionKeys("a");
    const bytes = sealMessage(receiveKey, local, counter++, packet);
    return driven.ingress(now, { from: B, local: A.address, bytes });
  }

  /** The device has this packet or frame; what the peer gets. */
  function send(driven: DrivenPlane, packet: Uint8Array, now: Instant = NOW, frame = frameOf(packet)) {
    return driven.egress(now, frame).map(({ bytes }) => openMessage(sessionKeys("a").sendKey, bytes).text);
  }

  /** Links a record and lets it go: nothing was punted before. */
  function link(driven: DrivenPlane, flow: FlowRecord = MAPPED, now: Instant = NOW): number {
    const id = driven.flows.link(now, flow);
    driven.releaseFlows();
    return id ?? expect.fail("no room");
  }

  const later = (seconds: number) => instant(NOW + seconds * 1000);
  const dropsOf = (driven: DrivenPlane) => {
    const { egress, ingress } = driven.tallies();
    return { ...egress.drops, ...ingress.drops };
  };

  return { plane, gateway, client, receive, send, link, later, dropsOf };
}
