import { describe, expect, it } from "vitest";
import { equalPrefix, instant, ip, prefix } from "../../../src/base/index.ts";
import { encodeRefusal } from "../../../src/packet/index.ts";
import type { ClientMessage, ClientResource, FlowCreated } from "../../../src/portal/protocol/index.ts";
import {
  createTunnelClient,
  type TunnelClientEvent,
  type TunnelClientOptions,
} from "../../../src/tunnel/index.ts";
import {
  CREDENTIALS,
  createLoneFlows,
  createLoneTunnel,
  GID,
  packetTo,
  RID,
  SITE,
  START,
} from "./lone-tunnel.ts";

const SERVER = "172.20.0.9";
const office: ClientResource = {
  kind: "cidr",
  rid: RID,
  name: "office",
  address: prefix("172.20.0.0/16"),
  sites: [SITE],
  filters: [],
};

const init = (resources: readonly ClientResource[]): ClientMessage => ({
  kind: "init",
  interface: {
    ipv4: ip("100.64.0.2"),
    ipv6: ip("fd00:2021:1111::2"),
    upstreamDo53: [],
    upstreamDoh: [],
  },
  resources,
  relays: [],
});

const created = (change: Partial<FlowCreated> = {}): FlowCreated => ({
  kind: "flow-created",
  rid: RID,
  gid: GID,
  siteId: SITE.id,
  gatewayKey: new Uint8Array(32).fill(9),
  gatewayIpv4: ip("100.64.0.1"),
  gatewayIpv6: ip("fd00:2021:1111::1"),
  presharedKey: new Uint8Array(32),
  clientCredentials: CREDENTIALS.client,
  gatewayCredentials: CREDENTIALS.gateway,
  ...change,
});

function createClient(
  resources: readonly ClientResource[] = [office],
  options: Partial<TunnelClientOptions> = {},
) {
  const lone = createLoneTunnel<TunnelClientEvent, ReturnType<typeof createTunnelClient>>(
    "client",
    (connections) => createTunnelClient({ connections, flows: createLoneFlows(), ...options }),
  );
  const tell = (message: ClientMessage, at = START): void =>
    lone.apply((client) => client.handlePortalMessage(at, message));
  tell(init(resources));
  const first = (destination: string, at = START): void =>
    lone.apply((client) => client.handlePunt(at, { reason: "first", packet: packetTo(destination) }));
  const intents = (): number =>
    lone.events.filter((event) => event.kind === "request" && event.request.kind === "create-flow").length;
  const kinds = (): readonly string[] => lone.commands.map(({ kind }) => kind);
  return { ...lone, tell, first, intents, kinds };
}

describe("the client", () => {
  it("TN-19: an init that says the same is announced once", () => {
    const client = createClient();
    expect(client.events.map(({ kind }) => kind)).toEqual(["interface", "resources"]);
    client.tell(init([{ ...office }]));
    expect(client.events).toHaveLength(2);
    client.tell(init([{ ...office, name: "Office" }]));
    expect(client.events.map(({ kind }) => kind)).toEqual(["interface", "resources", "resources"]);
  });

  it("TN-28, TN-31: asks once, and opens the route behind which the packets wait", () => {
    const client = createClient();
    client.first(SERVER);
    client.first("172.20.0.10");
    expect(client.intents()).toBe(1);
    client.commands.length = 0;
    client.tell(created());
    expect(client.kinds()).toEqual(["add-peer", "hold", "publish"]);
    expect(client.connections.stats().connections[0]?.bufferedPackets).toBe(2);
  });

  it("TN-31 no. 1: what was not asked for is not taken", () => {
    const client = createClient();
    client.tell(created());
    client.tell(created({ rid: "00000000-0000-4000-8000-0000000000ff" }));
    expect(client.connections.slotOf(GID)).toBeUndefined();
  });

  it("TN-31 no. 2: unusable credentials leave the packets waiting", () => {
    const client = createClient();
    client.first(SERVER);
    client.tell(created({ clientCredentials: { username: "x", password: "y" } }));
    expect(client.connections.slotOf(GID)).toBeUndefined();
    client.tell(created());
    expect(client.connections.stats().connections[0]?.bufferedPackets).toBe(1);
  });

  it("TN-32: a refusal answers what waited, and offline is shown for its time", () => {
    const client = createClient();
    client.first(SERVER);
    client.commands.length = 0;
    client.tell({ kind: "flow-creation-failed", rid: RID, reason: "offline", violatedProperties: [] });
    expect(client.kinds()).toEqual(["publish", "write-tun"]);
    expect(client.machine.resources()[0]?.status).toBe("offline");
    client.first(SERVER, instant(START + 1_999));
    expect(client.intents()).toBe(1);
    client.first(SERVER, instant(START + 2_000));
    expect(client.intents()).toBe(2);
  });

  describe("where a gateway says prohibited", () => {
    /** About a packet to `destination`, as the plane hands it up. */
    function prohibited(client: ReturnType<typeof createClient>, destination: string, at = START): void {
      const packet = encodeRefusal(packetTo(destination), "prohibited") ?? new Uint8Array();
      const slot = client.connections.slotOf(GID) ?? 0;
      client.apply((machine) =>
        machine.handlePunt(at, { reason: "icmp-error", direction: "in", slot, packet }),
      );
    }

    function granted(options: Partial<TunnelClientOptions> = {}) {
      const client = createClient([office], options);
      client.first(SERVER);
      client.tell(created());
      client.commands.length = 0;
      client.events.length = 0;
      return client;
    }

    const at = (ms: number) => instant(START + ms);

    it("TN-36: the host hears of it, and access is asked for again, at most once in 30 s", () => {
      const client = granted();
      for (const ms of [5_000, 5_001, 34_999]) prohibited(client, SERVER, at(ms));
      expect(client.kinds()).toEqual(["write-tun", "write-tun", "write-tun"]);
      expect(client.intents()).toBe(1);
      // Packets go on by the gateway meanwhile (TN-105).
      expect(client.machine.resourcesOf(GID)).toEqual([RID]);
      client.tell(created(), at(35_000));
      prohibited(client, SERVER, at(35_000));
      expect(client.intents()).toBe(2);
      expect(client.machine.counters()["prohibited-asked-again"]).toBe(2);
    });

    it("TN-36: not for what is no resource, nor with the flag off", () => {
      const client = granted();
      prohibited(client, "192.0.2.1", at(5_000));
      expect([client.kinds(), client.intents()]).toEqual([["write-tun"], 0]);
      const off = granted({ asksWhereProhibited: false });
      prohibited(off, SERVER, at(5_000));
      expect([off.kinds(), off.intents()]).toEqual([["write-tun"], 0]);
    });

    it("TN-36, TN-28: so soon after an intent it waits for its turn", () => {
      const client = granted();
      prohibited(client, SERVER, at(1_000));
      expect(client.intents()).toBe(0);
      client.apply((machine) => machine.handleTimeout(at(2_000)));
      expect(client.intents()).toBe(1);
    });
  });

  it("TN-22: what the filters do not permit is refused here, and asks for nothing", () => {
    const client = createClient([{ ...office, filters: [{ protocol: "icmp" }] }]);
    client.commands.length = 0;
    client.first(SERVER);
    expect(client.kinds()).toEqual(["write-tun"]);
    expect(client.intents()).toBe(0);
  });

  it("TN-26: removing the only resource of a gateway closes it", () => {
    const client = createClient();
    client.first(SERVER);
    client.tell(created());
    client.tell({ kind: "resource-deleted", rid: RID });
    expect(client.connections.slotOf(GID)).toBeUndefined();
    expect(client.events.at(-1)).toMatchObject({ kind: "resources", resources: [] });
    expect(client.events.some((event) => event.kind === "disconnected" && event.gid === GID)).toBe(true);
  });

  it("TN-37: after the farewell nothing is asked for, and the portal is not obeyed", () => {
    const client = createClient();
    client.first(SERVER);
    client.tell(created());
    client.apply((machine) => machine.shutdown(START));
    client.first(SERVER, instant(START + 100));
    client.first(SERVER, instant(START + 5_000));
    expect(client.intents()).toBe(1);
    client.tell(init([office]));
    client.tell(created());
    expect(client.intents()).toBe(1);
    expect(client.connections.slotOf(GID)).toBeUndefined();
  });

  describe("the internet resource", () => {
    const internet: ClientResource = {
      kind: "internet",
      rid: RID,
      name: "Internet",
      canBeDisabled: true,
      sites: [SITE],
    };
    const routesOf = (client: ReturnType<typeof createClient>) => {
      const event = client.events.findLast(({ kind }) => kind === "interface");
      return event?.kind === "interface" ? event.interface.routes : [];
    };
    const turn = (client: ReturnType<typeof createClient>, isOn: boolean) =>
      client.apply((machine) => machine.setInternet(START, isOn));

    it("TN-16, TN-23: leads into the device exactly while it is on", () => {
      const client = createClient([internet]);
      const defaults = [prefix("0.0.0.0/0"), prefix("::/0")];
      expect(routesOf(client)).not.toContainEqual(defaults[0]);
      expect(client.machine.resources()[0]?.isEnabled).toBe(false);
      client.first("203.0.113.1");
      expect(client.intents()).toBe(0);
      turn(client, true);
      expect(routesOf(client)).toEqual(expect.arrayContaining(defaults));
      expect(client.machine.resources()[0]?.isEnabled).toBe(true);
      client.first("203.0.113.1");
      expect(client.intents()).toBe(1);
      turn(client, false);
      expect(routesOf(client)).not.toContainEqual(defaults[0]);
    });

    it("TN-23, TN-26: turning it off ends its access and closes a gateway that serves nothing else", () => {
      const client = createClient([internet]);
      turn(client, true);
      client.first("203.0.113.1");
      client.tell(created());
      expect(client.connections.slotOf(GID)).toBeDefined();
      turn(client, false);
      expect(client.connections.slotOf(GID)).toBeUndefined();
      expect(client.machine.resources()).toHaveLength(1);
    });

    it("TN-21 no. 3: what is not on the internet is refused here", () => {
      const client = createClient([internet]);
      turn(client, true);
      const published = client.commands.findLast(({ kind }) => kind === "publish");
      const routes = published?.kind === "publish" ? published.tables.routes : [];
      const kindOf = (network: string) =>
        routes.find((route) => equalPrefix(route.prefix, prefix(network)))?.target.kind;
      expect(kindOf("0.0.0.0/0")).toBe("refuse");
      expect(kindOf("11.0.0.0/8")).toBe("punt");
      expect(kindOf("10.0.0.0/8")).toBeUndefined();
      client.commands.length = 0;
      client.apply((machine) =>
        machine.handlePunt(START, { reason: "refused", packet: packetTo("10.0.0.1") }),
      );
      expect(client.kinds()).toEqual(["write-tun"]);
    });
  });

  it("TN-44: an event that cannot be read is counted", () => {
    const client = createClient();
    client.first(SERVER);
    client.tell(created());
    const slot = client.connections.slotOf(GID) ?? -1;
    client.apply((machine) =>
      machine.handlePunt(START, { reason: "control-event", slot, packet: packetTo(SERVER) }),
    );
    expect(client.machine.counters()["p2p-bad"]).toBe(1);
  });
});
