/** The path's MTU in the simulated world (SN-150 to SN-152, TN-108, TN-109, TN-121). */
import { describe, expect, it } from "vitest";
import { ip } from "../../src/base/index.ts";
import { encodeIcmp } from "../../src/packet/index.ts";
import { PLANE_KINDS, type PlaneKind } from "../twin/driven-plane.ts";
import { counting, tcp, udp } from "../unit/plane/packets.ts";
import { createAccess } from "./access.ts";
import { createDuo, type Duo, type End, shown } from "./duo.ts";
import { listRelays, relayedDuo } from "./relayed.ts";
import { createWorld, type LinkConditions, pathMtuOf } from "./world.ts";

const V6 = { client: "2001:db8:1::10", gateway: "2001:db8:2::20" };
const NARROW = "warn path carries no full packets";
/** Three tries by three, at 100 to 250 ms. */
const LEARNT_WITHIN_MS = 2_000;
const REST_MS = 60_000;

interface Conditions {
  readonly link?: Partial<LinkConditions>;
  readonly isV6?: boolean;
  readonly seed?: number;
  readonly areKernelsDeaf?: boolean;
  readonly plane?: PlaneKind;
}

/** Two ends with a session; the client's link is the narrow one. Both keep on sending. */
function connected({ link = {}, isV6 = false, seed = 1, ...options }: Conditions): Duo {
  const world = createWorld(seed);
  const addresses = (role: keyof typeof V6) => (isV6 ? { addresses: [V6[role]] } : {});
  const duo = createDuo(world, {
    client: { ...addresses("client"), link: { latencyMs: 10, ...link } },
    gateway: addresses("gateway"),
    ...options,
  });
  duo.establish(60_000);
  return duo;
}

/** Traffic, so that no connection goes idle. */
function runWithTraffic({ world, client, send }: Duo, durationMs: number): void {
  for (let passed = 0; passed < durationMs; passed += 1_000) {
    send(client, 1);
    world.run(1_000);
  }
}

const mtuOf = (end: End) => shown(end)?.path?.mtu;
const warnings = (end: End) => end.lines.filter(({ line }) => line === NARROW);
/** Checks of a size that an end has sent, by their length. */
const sizeChecks = (end: End) => end.sent.filter(({ isWhole }) => isWhole).map(({ bytes }) => bytes.length);

describe("a path that carries everything", () => {
  it("SN-150, SN-151: is found so by one check of full size from each end", () => {
    const duo = connected({});
    runWithTraffic(duo, 10_000);
    for (const end of [duo.client, duo.gateway]) {
      expect(sizeChecks(end)).toEqual([1312]);
      expect(mtuOf(end)).toEqual({ outside: 1340, inside: 1280 });
      expect(warnings(end)).toEqual([]);
    }
  });

  it("SN-150: over IPv6 full is 20 bytes more", () => {
    const duo = connected({ isV6: true });
    runWithTraffic(duo, 5_000);
    expect(sizeChecks(duo.client)).toEqual([1312]);
    expect(mtuOf(duo.client)).toEqual({ outside: 1360, inside: 1280 });
  });

  it("SN-150: is checked again after 60 s with traffic, and not while it is idle", () => {
    const duo = connected({});
    runWithTraffic(duo, REST_MS + 2_000);
    expect(sizeChecks(duo.client)).toHaveLength(2);
    duo.world.run(300_000);
    expect(shown(duo.client)?.state).toBe("idle");
    expect(sizeChecks(duo.client)).toHaveLength(2);
    // What was due meanwhile is done when it wakes.
    runWithTraffic(duo, 2_000);
    expect(sizeChecks(duo.client)).toHaveLength(3);
  });

  it("SN-150: is not taken for a narrow one where a fifth is lost each way", () => {
    const link = { loss: 0.2 };
    const insides = Array.from({ length: 30 }, (_, seed) => {
      const duo = createDuo(createWorld(seed), { client: { link } });
      duo.connect();
      runWithTraffic(duo, 8_000);
      return [mtuOf(duo.client), mtuOf(duo.gateway)].map((mtu) => mtu?.inside);
    }).flat();
    expect(insides.filter((inside) => inside === 1280).length).toBeGreaterThanOrEqual(58);
  });
});

describe.each([
  [true, "blocked"],
  [false, "allowed"],
])("a network that takes 1300 bytes and drops fragments, ICMP %s", (isIcmpBlocked) => {
  const link = { mtu: 1300, isIcmpBlocked, dropsFragments: true };

  it.each([
    [false, 1240],
    [true, 1220],
  ])("SN-150: both ends learn it and say it once (IPv6: %s)", (isV6, inside) => {
    const duo = connected({ link, isV6 });
    const { world, client, gateway } = duo;
    const isKnown = (): boolean => [client, gateway].every((end) => mtuOf(end)?.inside === inside);
    expect(world.runUntil(isKnown, LEARNT_WITHIN_MS)).toBeDefined();
    // Nothing longer than what the kernel was told is tried again.
    if (!isIcmpBlocked) expect(sizeChecks(client)).toEqual([1312, 1300 - (isV6 ? 48 : 28)]);
    runWithTraffic(duo, 10 * REST_MS);
    for (const end of [client, gateway]) {
      expect(mtuOf(end)).toEqual({ outside: 1300, inside });
      expect(warnings(end)).toHaveLength(1);
      expect(warnings(end)[0]?.fields).toMatchObject({ mtu: 1300, mtuInside: inside });
    }
    expect(warnings(client)[0]?.fields["learntBy"]).toBe(isIcmpBlocked ? "check" : "kernel");
  });

  it.each(PLANE_KINDS)("TN-108, TN-109: the senders inside are told, and TCP is lowered (%s)", (kind) => {
    const { world, client, gateway, ...access } = createAccess(createWorld(3), kind);
    client.host.link = { ...client.host.link, ...link };
    access.init({ "00000000-0000-4000-8000-0000000000a1": "172.20.0.0/16" });
    const own = ip("100.64.0.2");
    const server = ip("172.20.0.9");
    const out = { family: 4, source: own, destination: server } as const;
    const back = { family: 4, source: server, destination: own } as const;
    access.send(client, udp(counting(8), out));
    world.run(LEARNT_WITHIN_MS + 1_000);
    expect(gateway.delivered).toHaveLength(1);

    for (const [end, ends] of [
      [client, out],
      [gateway, back],
    ] as const) {
      const before = end.delivered.length;
      const tooBig = udp(counting(1241 - 28), ends);
      access.send(end, tooBig);
      const { source, destination } = ends;
      const error = encodeIcmp({
        source: destination,
        destination: source,
        type: 3,
        code: 4,
        rest: Uint8Array.of(0, 0, 1240 >> 8, 1240 & 0xff),
        body: tooBig.subarray(0, 28),
        hopLimit: 20,
      });
      expect(end.delivered.slice(before)).toEqual(error.ok ? [error.value] : []);
    }

    const full = udp(counting(1240 - 28), out);
    const syn = (mss: number) =>
      tcp(new Uint8Array(0), { ...out, flags: 2, tcpOptions: Uint8Array.of(2, 4, mss >> 8, mss & 0xff) });
    access.send(client, full);
    access.send(client, syn(1460));
    world.run(100);
    expect(gateway.delivered.slice(-2)).toEqual([full, syn(1200)]);
  });
});

describe("what a search finds", () => {
  const silent = { isIcmpBlocked: true };

  it.each([
    [1340, 1340],
    [1339, 1320],
    [1300, 1300],
    [1299, 1280],
    [1005, 1000],
    [600, 576],
  ])("SN-150: on a path of %i bytes %i", (mtu, outside) => {
    const duo = connected({ link: { ...silent, mtu } });
    runWithTraffic(duo, 5_000);
    expect(mtuOf(duo.client)?.outside).toBe(outside);
    expect(mtuOf(duo.gateway)?.outside).toBe(outside);
  });

  it.each([
    [1340, 1340],
    [1300, 1300],
    [1280, 1280],
  ])("SN-150: over IPv6 on a path of %i bytes %i", (mtu, outside) => {
    const duo = connected({ link: { ...silent, mtu }, isV6: true });
    runWithTraffic(duo, 5_000);
    expect(mtuOf(duo.client)?.outside).toBe(outside);
  });

  it.each([
    [1301, 1300],
    [1339, 1336],
    [900, 900],
  ])("SN-150: exactly what ICMP says, in fours: of %i bytes %i", (mtu, outside) => {
    const duo = connected({ link: { mtu } });
    runWithTraffic(duo, 5_000);
    expect(mtuOf(duo.client)).toEqual({ outside, inside: outside - 60 });
  });

  it("SN-150: nothing, where the peer answers no padded check", () => {
    const world = createWorld(1);
    const duo = createDuo(world);
    duo.client.host.swallows = ({ isWhole }) => isWhole === true;
    duo.establish();
    runWithTraffic(duo, 20_000);
    expect(mtuOf(duo.client)?.outside).toBe(1340);
    expect(warnings(duo.client)).toEqual([]);
    // After 5 s of rest it tries again.
    expect(sizeChecks(duo.client).filter((bytes) => bytes === 1312).length).toBeGreaterThan(9);
  });
});

describe("a path that changes", () => {
  it("SN-150: a network that becomes narrow under traffic is noticed within a rest, and a wide one after it", () => {
    const duo = connected({});
    const { client } = duo;
    runWithTraffic(duo, 5_000);
    client.host.link = { ...client.host.link, mtu: 1280, isIcmpBlocked: true };
    runWithTraffic(duo, REST_MS + LEARNT_WITHIN_MS);
    expect(mtuOf(client)).toEqual({ outside: 1280, inside: 1220 });
    client.host.link = { ...client.host.link, mtu: 1500 };
    runWithTraffic(duo, REST_MS + LEARNT_WITHIN_MS);
    expect(mtuOf(client)).toEqual({ outside: 1340, inside: 1280 });
    expect(warnings(client)).toHaveLength(1);
  });

  it("SN-150: the plane's report makes the kernel be asked at once", () => {
    const duo = connected({});
    const { world, client } = duo;
    runWithTraffic(duo, 5_000);
    client.host.pathMtus.set("198.51.100.20", 1300);
    expect(pathMtuOf(client.host, { address: ip("198.51.100.20"), port: 0 })).toBe(1300);
    runWithTraffic(duo, 5_000);
    expect(mtuOf(client)?.outside).toBe(1340);
    const { slot = 0 } = shown(client) ?? {};
    client.machine.apply(world.now(), (connections) =>
      connections.handlePlaneEvent(world.now(), { kind: "too-long", slot }),
    );
    world.flush(client.host);
    expect(mtuOf(client)?.outside).toBe(1300);
    runWithTraffic(duo, 1_000);
    expect(sizeChecks(client).at(-1)).toBe(1300 - 28);
    expect(warnings(client)).toHaveLength(1);
  });

  it("SN-150: a new path has an MTU of its own", () => {
    const world = createWorld(1);
    const both = (role: keyof typeof V6, v4: string) => ({ addresses: [V6[role], v4] });
    const duo = createDuo(world, {
      client: { ...both("client", "192.0.2.10"), link: { latencyMs: 10, mtu: 1300 } },
      gateway: both("gateway", "198.51.100.20"),
    });
    duo.establish();
    runWithTraffic(duo, 5_000);
    const { client } = duo;
    expect(shown(client)?.path?.destination.address.length).toBe(16);
    expect(mtuOf(client)?.outside).toBe(1300);
    client.host.link = { ...client.host.link, mtu: 1500 };
    client.host.swallows = ({ destination }) => destination.address.length === 16;
    runWithTraffic(duo, 30_000);
    expect(shown(client)?.path?.destination.address.length).toBe(4);
    expect(mtuOf(client)).toEqual({ outside: 1340, inside: 1280 });
  });
});

describe("what the kernel is told of a path over IPv6", () => {
  const KERNEL_FORGETS_MS = 600_000;
  const link = { mtu: 1300, isIcmpBlocked: true };
  const known = ({ host }: End) => [...host.pathMtus.entries()];

  it("SN-152: what checks have found, so that it cuts up what is longer", () => {
    const duo = connected({ link, isV6: true });
    runWithTraffic(duo, 5_000);
    expect(known(duo.client)).toEqual([[V6.gateway, 1300]]);
    expect(known(duo.gateway)).toEqual([[V6.client, 1300]]);
  });

  it("SN-152: again when it has forgotten, and at once", () => {
    const duo = connected({ link, isV6: true });
    runWithTraffic(duo, 5_000);
    const { pathMtus } = duo.client.host;
    runWithTraffic(duo, KERNEL_FORGETS_MS - 5_000);
    pathMtus.clear();
    runWithTraffic(duo, LEARNT_WITHIN_MS + 3_000);
    expect(known(duo.client)).toEqual([[V6.gateway, 1300]]);
    expect(warnings(duo.client)).toHaveLength(1);
  });

  it("SN-152, SN-150: a path that has become wider is found so as soon as the kernel has forgotten", () => {
    const duo = connected({ link, isV6: true });
    runWithTraffic(duo, 5_000);
    for (const { host } of [duo.client, duo.gateway]) host.link = { ...host.link, mtu: 1500 };
    runWithTraffic(duo, 2 * REST_MS);
    expect(mtuOf(duo.client)).toEqual({ outside: 1300, inside: 1220 });
    duo.client.host.pathMtus.clear();
    runWithTraffic(duo, REST_MS + 2_000);
    expect(mtuOf(duo.client)).toEqual({ outside: 1360, inside: 1280 });
    expect(known(duo.client)).toEqual([]);
  });

  it.each([
    ["over IPv4", { link }],
    ["of a path that carries everything", { isV6: true }],
  ])("SN-152: nothing %s", (_, conditions) => {
    const duo = connected(conditions);
    runWithTraffic(duo, 5_000);
    expect([...known(duo.client), ...known(duo.gateway)]).toEqual([]);
  });
});

/** Of IPv4, without DF; the first bytes behind the header are the sequence number. */
function long(duo: Duo, from: End, sequence: number): Uint8Array {
  const packet = duo.packet(from, sequence);
  const [source, destination] = [packet.slice(12, 16), packet.slice(16, 20)];
  const ports = [sequence >> 16, sequence & 0xffff] as const;
  return udp(counting(1280 - 28), { family: 4, source, destination, ports, fragmentField: 0 });
}

function sendLong(duo: Duo, from: End, sequence: number): void {
  from.machine.sendPacket(duo.world.now(), long(duo, from, sequence));
  duo.world.flush(from.host);
}

/** What arrives of it in pieces: the second begins with what stands so many bytes behind the ports. */
function piecesOf(duo: Duo, from: End, sequence: number, inside: number): readonly number[] {
  const first = (inside - 20) & ~7;
  return [sequence, new DataView(long(duo, from, sequence).buffer).getUint32(20 + first)];
}

describe.each(PLANE_KINDS)("a narrow path over IPv6 of which the kernel cannot be told (%s)", (plane) => {
  const link = { mtu: 1300, isIcmpBlocked: true };
  const longestData = ({ sent }: End): number =>
    Math.max(...sent.filter(({ isWhole }) => !isWhole).map(({ bytes }) => bytes.length));

  it("TN-121, SN-152: what its senders cannot make smaller arrives in pieces, and in order", () => {
    const duo = connected({ link, isV6: true, areKernelsDeaf: true, plane });
    const { world, client, gateway } = duo;
    runWithTraffic(duo, 5_000);
    expect([...client.host.pathMtus.entries()]).toEqual([]);
    expect(mtuOf(client)).toEqual({ outside: 1300, inside: 1220 });
    const before = gateway.received.length;
    sendLong(duo, client, 7);
    duo.send(client, 8);
    world.run(100);
    expect(gateway.received.slice(before)).toEqual([...piecesOf(duo, client, 7, 1220), 8]);
    expect(longestData(client)).toBeLessThanOrEqual(1300 - 48);
  });

  it("TN-121: nothing is cut where the kernel does it, or the path is wide", () => {
    for (const conditions of [
      { link, isV6: true },
      { isV6: true, areKernelsDeaf: true },
    ]) {
      const duo = connected({ ...conditions, plane });
      const { world, client, gateway } = duo;
      runWithTraffic(duo, 5_000);
      const before = gateway.received.length;
      sendLong(duo, client, 7);
      world.run(100);
      expect(gateway.received.slice(before)).toEqual([7]);
    }
  });

  it("TN-121, SN-150: a path that has become wider carries packets whole again", () => {
    const duo = connected({ link, isV6: true, areKernelsDeaf: true, plane });
    const { world, client, gateway } = duo;
    runWithTraffic(duo, 5_000);
    client.host.link = { ...client.host.link, mtu: 1500 };
    runWithTraffic(duo, REST_MS + 2_000);
    expect(mtuOf(client)).toEqual({ outside: 1360, inside: 1280 });
    const before = gateway.received.length;
    sendLong(duo, client, 7);
    world.run(100);
    expect(gateway.received.slice(before)).toEqual([7]);
  });
});

describe("a narrow path behind a relay", () => {
  const V4 = { client: "192.0.2.10", gateway: "198.51.100.20" };
  const link = { latencyMs: 10, mtu: 1300, isIcmpBlocked: true };

  it.each([
    ["over IPv6", V6.client, V6.gateway],
    ["from IPv6 to IPv4", V6.client, V4.gateway],
    ["from IPv4 to IPv6", V4.client, V6.gateway],
  ])("TN-121, RL-50: what its senders cannot make smaller arrives in pieces, %s", (_, client, gateway) => {
    for (const isClientNarrow of [true, false]) {
      const relayed = relayedDuo(1, {
        client: { addresses: [client], ...(isClientNarrow && { link }) },
        gateway: { addresses: [gateway], ...(!isClientNarrow && { link }) },
      });
      const { world, duo, relays } = relayed;
      listRelays(relayed, relays);
      duo.establish(10_000);
      runWithTraffic(duo, 5_000);
      for (const [from, to] of [
        [duo.client, duo.gateway],
        [duo.gateway, duo.client],
      ] as const) {
        const inside = mtuOf(from)?.inside ?? 0;
        expect(inside).toBeLessThan(1280);
        const before = to.received.length;
        sendLong(duo, from, 7);
        duo.send(from, 8);
        world.run(200);
        expect(to.received.slice(before)).toEqual([...piecesOf(duo, from, 7, inside), 8]);
      }
    }
  });
});
