import { describe, expect, it } from "vitest";
import { formatIp, instant, ip, prefix, unixMs } from "../../../src/base/index.ts";
import { encodeGoodbye } from "../../../src/packet/index.ts";
import type { AuthorizeFlow, GatewayMessage, GatewayResource } from "../../../src/portal/protocol/index.ts";
import { createTunnelGateway, type TunnelGatewayEvent } from "../../../src/tunnel/index.ts";
import {
  CID,
  CREDENTIALS,
  createLoneFlows,
  createLoneTunnel,
  packetTo,
  RID,
  START,
  UNIX_START,
} from "./lone-tunnel.ts";

const office: GatewayResource = {
  kind: "cidr",
  rid: RID,
  name: "office",
  address: prefix("172.20.0.0/16"),
  filters: [],
};

const authorize = (change: Partial<AuthorizeFlow> = {}): AuthorizeFlow => ({
  kind: "authorize-flow",
  ref: "ref-1",
  resource: office,
  client: {
    cid: CID,
    publicKey: new Uint8Array(32).fill(9),
    presharedKey: new Uint8Array(32),
    ipv4: ip("100.64.0.2"),
    ipv6: ip("fd00:2021:1111::2"),
    device: {},
  },
  clientCredentials: CREDENTIALS.client,
  gatewayCredentials: CREDENTIALS.gateway,
  subject: {},
  ...change,
});

function createGateway(isReady = true) {
  const flows = createLoneFlows();
  const lone = createLoneTunnel<TunnelGatewayEvent, ReturnType<typeof createTunnelGateway>>(
    "gateway",
    (connections) =>
      createTunnelGateway({ connections, flows, now: START, unixNow: UNIX_START, isHostOpen: false }),
  );
  const tell = (message: GatewayMessage): void =>
    lone.apply((gateway) => gateway.handlePortalMessage(START, message));
  const addresses = { ipv4: ip("100.64.0.1"), ipv6: ip("fd00:2021:1111::1") };
  if (isReady) tell({ kind: "init", interface: addresses, relays: [], authorizations: [] });
  const answers = (): readonly string[] =>
    lone.events.flatMap((event) =>
      event.kind === "request" && event.request.kind === "flow-authorized" ? [event.request.ref] : [],
    );
  return { ...lone, tell, answers, flows };
}

describe("the gateway", () => {
  it("TN-52: grants, publishes, answers, in this order, and signals candidates behind the answer", () => {
    const gateway = createGateway();
    gateway.tell(authorize());
    expect(gateway.answers()).toEqual(["ref-1"]);
    const requests = gateway.events.filter((event) => event.kind === "request");
    expect(requests.map(({ request }) => request.kind)).toEqual([
      "flow-authorized",
      "broadcast-ice-candidates",
    ]);
    expect(gateway.commands.at(-1)?.kind).toBe("set-policy");
  });

  it("TN-55, PT-61: takes the filters that a resource has got while it was away, and keeps flows where none changed", () => {
    const gateway = createGateway();
    gateway.tell(authorize());
    const before = gateway.flows.revoked.length;
    const listed = [{ cid: CID, rid: RID, expiresAt: unixMs(UNIX_START + 60_000) }];
    const init = (resource: GatewayResource): void => {
      const addresses = { ipv4: ip("100.64.0.1"), ipv6: ip("fd00:2021:1111::1") };
      const common = { kind: "init", interface: addresses, relays: [] } as const;
      gateway.tell({ ...common, authorizations: listed, resources: [resource] });
    };
    init(office);
    expect(gateway.flows.revoked).toHaveLength(before);
    init({ ...office, filters: [{ protocol: "icmp" }] });
    expect(gateway.flows.revoked).toHaveLength(before + 1);
    const policy = gateway.commands.findLast((command) => command.kind === "set-policy");
    expect(policy).toMatchObject({ kind: "set-policy" });
    expect(JSON.stringify(policy)).not.toEqual(
      JSON.stringify(gateway.commands.find(({ kind }) => kind === "set-policy")),
    );
  });

  it.each([
    ["unusable credentials", { gatewayCredentials: { username: "x", password: "y" } }],
  ] satisfies readonly (readonly [string, Partial<AuthorizeFlow>])[])(
    "TN-52: %s: no grant and no answer",
    (_, change) => {
      const gateway = createGateway();
      gateway.tell(authorize(change));
      expect(gateway.answers()).toEqual([]);
    },
  );

  it("TN-52: nothing is granted before the portal has sent our addresses", () => {
    const gateway = createGateway(false);
    gateway.tell(authorize());
    expect(gateway.answers()).toEqual([]);
    expect(gateway.connections.slotOf(CID)).toBeUndefined();
  });

  it("TN-53, TN-54: the last grant's end closes the connection, at the lease and not before", () => {
    const gateway = createGateway();
    gateway.tell(authorize({ expiresAt: unixMs(UNIX_START + 5_000) }));
    const look = (ms: number): void => gateway.apply((machine) => machine.handleTimeout(instant(START + ms)));
    look(4_999);
    expect(gateway.connections.slotOf(CID)).toBeDefined();
    look(5_000);
    expect(gateway.connections.slotOf(CID)).toBeUndefined();
    expect(gateway.events.at(-1)).toEqual({ kind: "disconnected", cid: CID });
  });

  it.each([
    ["forward", 3_000],
    ["back", -3_000],
  ])("TN-53: a clock that is set %s takes the leases with it", (_, stepMs) => {
    const gateway = createGateway();
    gateway.tell(authorize({ expiresAt: unixMs(UNIX_START + 5_000) }));
    const clock = (ms: number, unix: number): void =>
      gateway.apply((machine) => machine.handleWallClock(instant(START + ms), unixMs(unix)));
    const isOpenAt = (ms: number): boolean => {
      gateway.apply((machine) => machine.handleTimeout(instant(START + ms)));
      return gateway.connections.slotOf(CID) !== undefined;
    };
    clock(1_000, UNIX_START + 1_000 + stepMs);
    expect(isOpenAt(5_000 - stepMs - 1)).toBe(true);
    expect(gateway.machine.pollTimeout()).toBe(START + 5_000 - stepMs);
    expect(isOpenAt(5_000 - stepMs)).toBe(false);
  });

  it("TN-53: what a step has ended does not come back when the clock does", () => {
    const gateway = createGateway();
    gateway.tell(authorize({ expiresAt: unixMs(UNIX_START + 5_000) }));
    const step = (unix: number): void =>
      gateway.apply((machine) => {
        machine.handleWallClock(START, unixMs(unix));
        machine.handleTimeout(START);
      });
    step(UNIX_START + 6_000);
    step(UNIX_START);
    expect(gateway.connections.slotOf(CID)).toBeUndefined();
  });

  it("TN-16, TN-19: the addresses of clients are told as connections to them come and go", () => {
    const gateway = createGateway();
    const peers = () =>
      gateway.events.flatMap((event) =>
        event.kind === "peers"
          ? [[event.change.removed.map(formatIp), event.change.added.map(formatIp)]]
          : [],
      );
    const both = ["100.64.0.2", "fd00:2021:1111::2"];
    gateway.tell(authorize());
    // Once more: nothing that the host does not know.
    gateway.tell(authorize({ ref: "ref-2" }));
    gateway.tell({ kind: "reject-access", cid: CID, rid: RID });
    expect(peers()).toEqual([
      [[], both],
      [both, []],
    ]);
  });

  it("TN-50: grants outlive a connection that failed: the client comes back and still believes in them", () => {
    const gateway = createGateway();
    gateway.tell(authorize());
    const later = instant(START + 10_000);
    gateway.apply((machine) => machine.handleTimeout(later));
    expect(gateway.connections.slotOf(CID)).toBeUndefined();
    expect(gateway.events).toContainEqual({ kind: "disconnected", cid: CID });
    expect(gateway.machine.grantsOf(CID, later)).toEqual([{ resource: office }]);
  });

  it("TN-61: refuses within the client's rate, and counts", () => {
    const gateway = createGateway();
    gateway.tell(authorize());
    const slot = gateway.connections.slotOf(CID) ?? -1;
    for (let i = 0; i < 60; i++) {
      gateway.apply((machine) =>
        machine.handlePunt(START, { reason: "refused", slot, packet: packetTo("172.21.0.1") }),
      );
    }
    expect(gateway.machine.counters()).toMatchObject({ refused: 50, "icmp-rate": 10 });
  });

  it("TN-43: goodbye takes the client's state and connection away", () => {
    const gateway = createGateway();
    gateway.tell(authorize());
    const slot = gateway.connections.slotOf(CID) ?? -1;
    gateway.apply((machine) =>
      machine.handlePunt(START, { reason: "control-event", slot, packet: encodeGoodbye() }),
    );
    expect(gateway.connections.slotOf(CID)).toBeUndefined();
    expect(gateway.events.at(-1)).toEqual({ kind: "disconnected", cid: CID });
  });
});
