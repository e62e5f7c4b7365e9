/** A gateway's names, translations and filters as a machine: what it links, what it sends where (TN-61 to TN-85). */
import { describe, expect, it } from "vitest";
import { equalIp, formatIp, type IpAddress, instant, ip, prefix } from "../../../src/base/index.ts";
import type { Connections } from "../../../src/connections/index.ts";
import {
  checksumAdd,
  encodeAssignedIps,
  encodeIcmp,
  encodeIp,
  encodeUdp,
  isControlEvent,
  PROTOCOL,
  parseControlEvent,
  pseudoHeaderSum,
  viewPacket,
} from "../../../src/packet/index.ts";
import type { EndedFlow } from "../../../src/plane/index.ts";
import type { Filter, GatewayMessage, GatewayResource } from "../../../src/portal/protocol/index.ts";
import { createTunnelGateway, type TunnelGatewayEvent } from "../../../src/tunnel/index.ts";
import { fragmentsOf } from "../plane/packets.ts";
import {
  CID,
  CREDENTIALS,
  createLoneFlows,
  createLoneTunnel,
  RID,
  START,
  UNIX_START,
  UNUSED,
} from "./lone-tunnel.ts";

const OWN = ip("100.64.0.1");
const CLIENT = ip("100.64.0.2");
const PROXY = ip("100.96.0.1");
const PROXIES = ["100.96.0.1", "100.96.0.2", "fd00:2021:1111:8000::"].map(ip);
const REAL = ip("198.51.100.7");
const DOMAIN = "wiki.example.com";
const WEB: Filter = { protocol: "udp", firstPort: 53, lastPort: 443 };

const wiki = (filters: readonly Filter[] = []): GatewayResource => ({
  kind: "dns",
  rid: RID,
  name: "wiki",
  address: "*.example.com",
  filters,
});

function createGateway(resource: GatewayResource = wiki(), areFlowsLogged = false) {
  const flows = createLoneFlows();
  const sent: Uint8Array[] = [];
  const lone = createLoneTunnel<TunnelGatewayEvent, ReturnType<typeof createTunnelGateway>>(
    "gateway",
    (connections) => {
      const spied: Connections = {
        ...connections,
        sendPacket(now, id, packet) {
          sent.push(packet);
          return connections.sendPacket(now, id, packet);
        },
      };
      return createTunnelGateway({
        ...{ connections: spied, flows, now: START, unixNow: UNIX_START, isHostOpen: false, areFlowsLogged },
      });
    },
  );
  const tell = (message: GatewayMessage): void =>
    lone.apply((gateway) => gateway.handlePortalMessage(START, message));
  tell({
    kind: "init",
    interface: { ipv4: OWN, ipv6: ip("fd00:2021:1111::1") },
    relays: [],
    authorizations: [],
  });
  const grant = (granted: GatewayResource): void =>
    tell({
      kind: "authorize-flow",
      ref: granted.rid,
      resource: granted,
      client: {
        ...{ cid: CID, ipv4: CLIENT, ipv6: ip("fd00:2021:1111::2"), device: {} },
        publicKey: new Uint8Array(32).fill(9),
        presharedKey: new Uint8Array(32),
      },
      clientCredentials: CREDENTIALS.client,
      gatewayCredentials: CREDENTIALS.gateway,
      subject: {},
    });
  grant(resource);
  const slot = (): number => lone.connections.slotOf(CID) ?? -1;
  const punt = (
    reason: "flow" | "icmp-error",
    direction: "out" | "in",
    packet: Uint8Array,
    now = START,
  ): void => lone.apply((gateway) => gateway.handlePunt(now, { reason, direction, slot: slot(), packet }));
  const assign = (proxies = PROXIES, domain = DOMAIN, now = START): void =>
    lone.apply((gateway) => {
      const packet = encodeAssignedIps({ rid: RID, domain, proxies });
      gateway.handlePunt(now, { reason: "control-event", slot: slot(), packet });
    });
  const tokens = (): readonly number[] =>
    lone.events.flatMap((event) => (event.kind === "resolve-setup" ? [event.query.token] : []));
  const resolve = (...addresses: readonly string[]): void =>
    lone.apply((gateway) => {
      const result = { kind: "addresses", addresses: addresses.map(ip) } as const;
      gateway.handleSetupResult(START, tokens().at(-1) ?? 0, result);
    });
  /** What was sent to the client since, and written to the TUN device. */
  const take = () => ({
    toClient: sent.splice(0),
    toTun: lone.commands.splice(0).flatMap((one) => (one.kind === "write-tun" ? [one.packet] : [])),
  });
  const statuses = (): readonly (boolean | undefined)[] => sent.splice(0).map(statusIn);
  return { ...lone, flows, slot, tell, grant, punt, assign, tokens, resolve, take, statuses };
}

/** What a domain status says; `undefined`: it is none. */
function statusIn(packet: Uint8Array): boolean | undefined {
  const event = isControlEvent(packet) ? parseControlEvent(packet) : undefined;
  return event?.ok && event.value.kind === "domain-status" ? event.value.isActive : undefined;
}

function udp(
  source: IpAddress,
  from: number,
  destination: IpAddress,
  to: number,
  payload = Uint8Array.of(1, 2, 3),
): Uint8Array {
  const made = encodeUdp({ address: source, port: from }, { address: destination, port: to }, payload);
  if (!made.ok) throw new Error(made.reason);
  return made.value;
}

/** Ready: the name is known, and one flow has been translated. */
function translating() {
  const gateway = createGateway();
  gateway.assign();
  gateway.resolve("198.51.100.7");
  gateway.statuses();
  gateway.punt("flow", "out", udp(CLIENT, 40_000, PROXY, 53));
  return gateway;
}

describe("a name that a client tells", () => {
  it("TN-63, TN-64: is looked up once, answered, and its packets are translated", () => {
    const gateway = createGateway();
    gateway.assign();
    gateway.assign();
    expect(gateway.events.filter(({ kind }) => kind === "resolve-setup")).toEqual([
      { kind: "resolve-setup", query: { token: 1, domain: DOMAIN } },
    ]);
    expect(gateway.statuses()).toEqual([]);
    gateway.resolve("198.51.100.7");
    expect(gateway.statuses()).toEqual([true]);
    gateway.punt("flow", "out", udp(CLIENT, 40_000, PROXY, 53));
    expect(gateway.take().toTun).toEqual([udp(CLIENT, 40_000, REAL, 53)]);
    expect([...gateway.flows.linked.values()]).toEqual([
      {
        ...{ protocol: PROTOCOL.udp, slot: gateway.slot(), out: "nat", in: "nat" },
        client: { address: CLIENT, port: 40_000 },
        remote: { address: PROXY, port: 53 },
        outside: { address: REAL, port: 40_000 },
        first: { direction: "out", bytes: 3 },
      },
    ]);
  });

  describe("in fragments", () => {
    const datagram = udp(CLIENT, 40_000, PROXY, 53, new Uint8Array(300));
    const [first = CLIENT, second = CLIENT, third = CLIENT] = fragmentsOf(datagram, 120, 9);
    const translated = fragmentsOf(udp(CLIENT, 40_000, REAL, 53, new Uint8Array(300)), 120, 9);
    const named = (areFlowsLogged = false) => {
      const gateway = createGateway(wiki(), areFlowsLogged);
      gateway.assign();
      gateway.resolve("198.51.100.7");
      gateway.statuses();
      return gateway;
    };

    it("TN-112: the first datagram of a flow passes whole, though control has all of it", () => {
      const gateway = named();
      for (const packet of [first, second, third]) gateway.punt("flow", "out", packet);
      expect(gateway.take().toTun).toEqual(translated);
      expect(gateway.machine.counters()["fragment-unknown"]).toBe(0);
    });

    it("TN-91, TN-112: later ones that come first wait for it, and are counted for its flow", () => {
      const gateway = named(true);
      for (const packet of [third, second]) gateway.punt("flow", "out", packet);
      expect(gateway.take().toTun).toEqual([]);
      gateway.punt("flow", "out", first);
      expect(gateway.take().toTun).toEqual([translated[0], translated[2], translated[1]]);
      gateway.apply((machine) => machine.shutdown(instant(START + 1)));
      // The first one is what the record begins with.
      const counted = { packets: 2, bytes: 300 - (gateway.flows.linked.get(1)?.first?.bytes ?? 0) };
      expect(gateway.events.at(-1)).toMatchObject({ kind: "flow-ended", flow: { tx: counted } });
    });

    it("TN-112: in vain, if it does not come within 200 ms, or is refused", () => {
      const gateway = named();
      gateway.punt("flow", "out", second);
      gateway.apply((machine) => machine.handleTimeout(instant(START + 200)));
      gateway.punt("flow", "out", first);
      expect(gateway.take().toTun).toEqual(translated.slice(0, 1));
      const [refused = CLIENT, rest = CLIENT] = fragmentsOf(
        udp(CLIENT, 40_000, ip("100.96.0.9"), 53, new Uint8Array(300)),
        120,
        9,
      );
      for (const packet of [rest, refused, rest]) gateway.punt("flow", "out", packet, instant(START + 300));
      expect(gateway.take()).toMatchObject({ toTun: [], toClient: [expect.any(Uint8Array)] });
      expect(gateway.machine.counters()["fragment-unknown"]).toBe(3);
    });

    it("TN-82, TN-112: not after what was decided holds no more", () => {
      const gateway = named();
      gateway.punt("flow", "out", first);
      gateway.take();
      gateway.grant(wiki());
      gateway.punt("flow", "out", second);
      expect(gateway.take().toTun).toEqual([]);
    });
  });

  it.each([
    ["a name that the resource does not have", PROXIES, "wiki.example.net"],
    ["an address outside the proxy range", [ip("10.0.0.1")], DOMAIN],
    ["no address", [], DOMAIN],
  ])("TN-63: %s is refused at once, and nothing is installed", (_, proxies, domain) => {
    const gateway = createGateway();
    gateway.assign(proxies, domain);
    expect(gateway.statuses()).toEqual([false]);
    expect(gateway.tokens()).toEqual([]);
  });

  it("TN-63: a resource without names has none", () => {
    const gateway = createGateway({
      kind: "cidr",
      rid: RID,
      name: "o",
      address: prefix("10.0.0.0/8"),
      filters: [],
    });
    gateway.assign();
    expect(gateway.statuses()).toEqual([false]);
  });

  it("TN-64: without addresses it is inactive, and its packets are unreachable", () => {
    for (const finish of ["none", "error", "time-out"] as const) {
      const gateway = createGateway();
      gateway.assign();
      gateway.apply((machine) =>
        finish === "time-out"
          ? machine.handleTimeout(instant(START + 10_000))
          : machine.handleSetupResult(START, 1, { kind: finish }),
      );
      expect(gateway.statuses()).toEqual([false]);
      // No path was found meanwhile: the client comes again, and is remembered (TN-50).
      gateway.grant(wiki());
      gateway.punt("flow", "out", udp(CLIENT, 1, PROXY, 53));
      const [refusal] = gateway.take().toClient;
      expect(refusal?.subarray(20, 22)).toEqual(Uint8Array.of(3, 0));
    }
  });

  it("TN-64 no. 6: looked up again, a name leaves all records but those that refuse packets to it", () => {
    const gateway = createGateway();
    const OTHER = ["100.96.0.5", "100.96.0.6"].map(ip);
    const refusedTo = () =>
      [...gateway.flows.linked.values()].flatMap(({ out, remote }) =>
        out === "unreachable" || out === "prohibited" ? [[out, formatIp(remote.address)]] : [],
      );
    gateway.assign();
    gateway.resolve("2001:db8::7");
    gateway.assign(OTHER, "other.example.com");
    gateway.resolve("2001:db8::7");
    const { length: before } = gateway.flows.revoked;
    for (const last of [1, 2, 5, 9]) gateway.punt("flow", "out", udp(CLIENT, 1, ip(`100.96.0.${last}`), 53));
    gateway.assign();
    gateway.resolve("2001:db8::8");
    const others = [
      ["unreachable", "100.96.0.5"],
      ["prohibited", "100.96.0.9"],
    ];
    // Its IPv4 addresses still lead nowhere.
    expect(refusedTo()).toEqual([["unreachable", "100.96.0.1"], ["unreachable", "100.96.0.2"], ...others]);
    gateway.assign();
    gateway.resolve("198.51.100.7");
    expect(refusedTo()).toEqual(others);
    gateway.take();
    gateway.punt("flow", "out", udp(CLIENT, 40_000, PROXY, 53));
    expect(gateway.take().toTun).toEqual([udp(CLIENT, 40_000, REAL, 53)]);
    expect(gateway.flows.revoked).toHaveLength(before);
  });

  it("TN-64, TN-66: new addresses are for new flows; what is translated goes on by its record", () => {
    const gateway = translating();
    const [record] = gateway.flows.linked.values();
    gateway.assign();
    gateway.resolve("198.51.100.99");
    expect([...gateway.flows.linked.values()]).toEqual([record]);
    gateway.take();
    gateway.punt("flow", "out", udp(CLIENT, 40_000, PROXY, 53));
    gateway.punt("flow", "out", udp(CLIENT, 40_001, PROXY, 53));
    expect(gateway.take().toTun).toEqual([
      udp(CLIENT, 40_000, REAL, 53),
      udp(CLIENT, 40_001, ip("198.51.100.99"), 53),
    ]);
  });

  it("TN-64: a client that numbers anew has none of its old translations", () => {
    const gateway = translating();
    gateway.assign(PROXIES, "other.example.com");
    gateway.resolve("198.51.100.8");
    gateway.take();
    gateway.punt("flow", "out", udp(CLIENT, 40_000, PROXY, 53));
    expect(gateway.take().toTun).toEqual([udp(CLIENT, 40_000, ip("198.51.100.8"), 53)]);
  });

  it("TN-54: revoked, its packets are prohibited, although translations are remembered", () => {
    const gateway = translating();
    gateway.grant({ kind: "internet", rid: "00000000-0000-4000-8000-0000000000b1" });
    gateway.tell({ kind: "reject-access", cid: CID, rid: RID });
    expect(gateway.flows.revoked.at(-1)).toBe(gateway.slot());
    gateway.take();
    gateway.punt("flow", "out", udp(CLIENT, 40_000, PROXY, 53));
    const { toClient, toTun } = gateway.take();
    expect(toTun).toEqual([]);
    expect(toClient[0]?.subarray(20, 22)).toEqual(Uint8Array.of(3, 13));
    gateway.punt("flow", "in", udp(REAL, 53, CLIENT, 40_000));
    expect(gateway.take().toClient).toEqual([]);
    expect(gateway.machine.counters()["not-allowed"]).toBe(1);
  });
});

describe("flows of a gateway", () => {
  it("TN-67, TN-85: what comes back is translated back, also from another port", () => {
    const gateway = translating();
    gateway.take();
    gateway.punt("flow", "in", udp(REAL, 53, CLIENT, 40_000));
    gateway.punt("flow", "in", udp(REAL, 54, CLIENT, 40_000));
    expect(gateway.take().toClient).toEqual([udp(PROXY, 53, CLIENT, 40_000), udp(PROXY, 54, CLIENT, 40_000)]);
    // The first was known already: one record, and one for the other port.
    expect(gateway.flows.linked.size).toBe(2);
  });

  it("TN-65: two names behind one real address: their packets are told apart by the port", () => {
    const gateway = translating();
    const other = ["100.96.0.5", "100.96.0.6"].map(ip);
    gateway.assign(other, "git.example.com");
    gateway.resolve("198.51.100.7");
    gateway.take();
    gateway.punt("flow", "out", udp(CLIENT, 40_000, ip("100.96.0.5"), 53));
    expect(gateway.take().toTun).toEqual([udp(CLIENT, 40_001, REAL, 53)]);
    gateway.punt("flow", "in", udp(REAL, 53, CLIENT, 40_001));
    expect(gateway.take().toClient).toEqual([udp(ip("100.96.0.5"), 53, CLIENT, 40_000)]);
  });

  it("TN-65: an untranslated flow to the real address keeps its port", () => {
    const gateway = createGateway();
    gateway.grant({
      kind: "cidr",
      rid: "00000000-0000-4000-8000-0000000000b2",
      name: "net",
      address: prefix("198.51.100.0/24"),
      filters: [],
    });
    gateway.assign();
    gateway.resolve("198.51.100.7");
    gateway.punt("flow", "out", udp(CLIENT, 40_000, REAL, 53));
    gateway.punt("flow", "out", udp(CLIENT, 40_000, PROXY, 53));
    expect(gateway.take().toTun).toEqual([udp(CLIENT, 40_000, REAL, 53), udp(CLIENT, 40_001, REAL, 53)]);
    const [id = 0] = gateway.flows.linked.keys();
    gateway.flows.over.push({ id, ending: "idle", ...UNUSED });
    gateway.apply((machine) => machine.handleTimeout(instant(START + 1_000)));
    gateway.punt("flow", "out", udp(CLIENT, 40_000, ip("100.96.0.2"), 53), instant(START + 1_000));
    expect(gateway.take().toTun).toEqual([udp(CLIENT, 40_000, REAL, 53)]);
  });

  it("TN-68, TN-69, TN-90: a flow's end goes to its mapping; what comes then is for nobody", () => {
    const gateway = translating();
    const [id = 0] = gateway.flows.linked.keys();
    const last = instant(START + 30_000);
    const over: EndedFlow = { id, ending: "idle", ...UNUSED, out: { ...UNUSED.out, last } };
    gateway.flows.over.push(over);
    const look = (ms: number): void => gateway.apply((machine) => machine.handleTimeout(instant(START + ms)));
    look(149_999);
    // No path was found meanwhile: the client comes again, and is remembered (TN-50).
    gateway.grant(wiki());
    gateway.take();
    gateway.punt("flow", "in", udp(REAL, 53, CLIENT, 40_000), instant(START + 149_999));
    expect(gateway.take().toClient).toHaveLength(1);
    for (const id of gateway.flows.linked.keys()) gateway.flows.over.push({ id, ending: "idle", ...UNUSED });
    look(151_000);
    look(152_000 + 240_000);
    gateway.grant(wiki());
    gateway.punt("flow", "in", udp(REAL, 53, CLIENT, 40_000), instant(START + 400_000));
    expect(gateway.take().toClient).toEqual([]);
    expect(gateway.machine.counters()["expired-nat"]).toBe(1);
  });

  it("TN-58, TN-60: a filter refuses at once, both verdicts are linked", () => {
    const gateway = createGateway(wiki([WEB]));
    gateway.assign();
    gateway.resolve("198.51.100.7");
    gateway.take();
    gateway.punt("flow", "out", udp(CLIENT, 1, PROXY, 444));
    expect(gateway.take().toClient[0]?.subarray(20, 22)).toEqual(Uint8Array.of(3, 13));
    expect([...gateway.flows.linked.values()][0]).toMatchObject({ out: "prohibited" });
    expect(gateway.machine.counters().refused).toBe(1);
  });

  it("TN-78: a SYN on a flow that saw RST begins another one with the same translation", () => {
    const gateway = createGateway();
    gateway.assign();
    gateway.resolve("198.51.100.7");
    gateway.punt("flow", "out", tcp(CLIENT, PROXY, { flags: 0x02 }));
    const [id = 0] = gateway.flows.linked.keys();
    gateway.punt("flow", "out", tcp(CLIENT, PROXY, { flags: 0x02 }));
    expect([...gateway.flows.linked.keys()]).toEqual([id]);
    gateway.flows.seen.set(id, { ...UNUSED, in: { ...UNUSED.in, hasRst: true } });
    gateway.punt("flow", "out", tcp(CLIENT, PROXY, { flags: 0x10 }));
    expect([...gateway.flows.linked.keys()]).toEqual([id]);
    gateway.take();
    gateway.punt("flow", "out", tcp(CLIENT, PROXY, { flags: 0x02 }));
    expect([...gateway.flows.linked.keys()]).toEqual([id + 1]);
    expect(gateway.take().toTun).toEqual([tcp(CLIENT, REAL, { flags: 0x02 })]);
  });
});

describe("ICMP errors at a gateway", () => {
  const error = (source: IpAddress, destination: IpAddress, body: Uint8Array) => {
    const made = encodeIcmp({ source, destination, type: 3, code: 3, body, hopLimit: 20 });
    if (!made.ok) throw new Error(made.reason);
    return made.value;
  };
  const router = ip("192.0.2.1");

  it("TN-70: about a translated packet it is made anew, from the proxy address", () => {
    const gateway = translating();
    gateway.take();
    gateway.punt("icmp-error", "in", error(router, CLIENT, udp(CLIENT, 40_000, REAL, 53)));
    expect(gateway.take().toClient).toEqual([error(PROXY, CLIENT, udp(CLIENT, 40_000, PROXY, 53))]);
  });

  it("TN-70, TN-72: from the gateway itself it keeps its source: the first hop of a trace", () => {
    const gateway = translating();
    gateway.take();
    gateway.punt("icmp-error", "in", error(OWN, CLIENT, udp(CLIENT, 40_000, REAL, 53)));
    expect(gateway.take().toClient).toEqual([error(OWN, CLIENT, udp(CLIENT, 40_000, PROXY, 53))]);
  });

  it("TN-70: about anything else of the client it passes unchanged; about another's it does not", () => {
    const gateway = translating();
    gateway.take();
    const plain = error(router, CLIENT, udp(CLIENT, 40_001, REAL, 53));
    gateway.punt("icmp-error", "in", plain);
    expect(gateway.take().toClient).toEqual([plain]);
    gateway.punt("icmp-error", "in", error(router, CLIENT, udp(ip("100.64.0.3"), 40_000, REAL, 53)));
    expect(gateway.take().toClient).toEqual([]);
    expect(gateway.machine.counters()["icmp-quote"]).toBe(1);
  });

  it("TN-120: of the client's host, about an answer, it goes to the real address", () => {
    const gateway = translating();
    gateway.take();
    gateway.punt("icmp-error", "out", error(CLIENT, PROXY, udp(PROXY, 53, CLIENT, 40_000)));
    expect(gateway.take().toTun).toEqual([error(CLIENT, REAL, udp(REAL, 53, CLIENT, 40_000))]);
  });

  it("TN-61 row 4, TN-120: about what is not translated it is dropped, also when access has ended", () => {
    const gateway = translating();
    gateway.take();
    gateway.punt("icmp-error", "out", error(CLIENT, PROXY, udp(PROXY, 53, CLIENT, 40_001)));
    gateway.punt("icmp-error", "out", error(CLIENT, PROXY, udp(PROXY, 53, ip("100.64.0.3"), 40_000)));
    gateway.grant({ kind: "internet", rid: "00000000-0000-4000-8000-0000000000b1" });
    gateway.tell({ kind: "reject-access", cid: CID, rid: RID });
    gateway.take();
    gateway.punt("icmp-error", "out", error(CLIENT, PROXY, udp(PROXY, 53, CLIENT, 40_000)));
    expect(gateway.take().toTun).toEqual([]);
    expect(gateway.machine.counters()["icmp-error-out"]).toBe(3);
  });
});

/** A TCP segment from port 40000 to 80, with its checksum. */
function tcp(source: IpAddress, destination: IpAddress, { flags }: { readonly flags: number }): Uint8Array {
  const transport = new Uint8Array(20);
  const view = new DataView(transport.buffer);
  view.setUint16(0, 40_000);
  view.setUint16(2, 80);
  transport[12] = 0x50;
  transport[13] = flags;
  const way = { source, destination, protocol: PROTOCOL.tcp };
  view.setUint16(16, ~checksumAdd(transport, pseudoHeaderSum({ ...way, lengthBytes: 20 })) & 0xffff);
  const made = encodeIp({ ...way, transport });
  if (!made.ok || !equalIp(viewPacket(made.value).source, source)) throw new Error("no packet");
  return made.value;
}
