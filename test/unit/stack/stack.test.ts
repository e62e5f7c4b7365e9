import { describe, expect, it } from "vitest";
import {
  createSeededRandom,
  type Instant,
  type IpAddress,
  instant,
  ip,
  type SocketAddress,
} from "../../../src/base/index.ts";
import { encodeEchoRequest, encodeIcmp, encodeIp, encodeUdp, viewPacket } from "../../../src/packet/index.ts";
import { createStack, type Stack, type StackEvent } from "../../../src/stack/index.ts";

const OWN = [ip("100.64.0.2"), ip("fd00:2021:1111::2")] as const;
const SERVER: SocketAddress = { address: ip("10.0.0.1"), port: 80 };
const SERVER6: SocketAddress = { address: ip("2001:db8::1"), port: 80 };
const NOW = instant(1_000);

function stackOf({ isRouter = false } = {}): Stack {
  const stack = createStack({ random: createSeededRandom(1), isRouter });
  stack.configure(OWN);
  return stack;
}

function packetsOf(stack: Stack): Uint8Array[] {
  const packets: Uint8Array[] = [];
  for (let next = stack.pollPacket(); next !== undefined; next = stack.pollPacket()) packets.push(next);
  return packets;
}

function eventsOf(stack: Stack): StackEvent[] {
  const events: StackEvent[] = [];
  for (let next = stack.pollEvent(); next !== undefined; next = stack.pollEvent()) events.push(next);
  return events;
}

/** Carries packets between two stacks until none is left. */
function exchange(a: Stack, b: Stack, now: Instant = NOW): void {
  for (let isQuiet = false; !isQuiet; ) {
    const [fromA, fromB] = [packetsOf(a), packetsOf(b)];
    for (const packet of fromA) b.handlePacket(now, packet);
    for (const packet of fromB) a.handlePacket(now, packet);
    isQuiet = fromA.length + fromB.length === 0;
  }
}

function icmpAbout(packet: Uint8Array, type: number, code: number, source: IpAddress): Uint8Array {
  const { source: destination } = viewPacket(packet);
  const error = encodeIcmp({ source, destination, type, code, body: packet.subarray(0, 48) });
  if (!error.ok) throw new Error(error.reason);
  return error.value;
}

describe("a stack's connections", () => {
  it.each([
    [SERVER, 3, 13, "prohibited"],
    [SERVER, 3, 9, "prohibited"],
    [SERVER, 3, 10, "prohibited"],
    [SERVER, 3, 3, "refused"],
    [SERVER, 3, 0, "unreachable"],
    [SERVER, 3, 1, "unreachable"],
    [SERVER, 11, 0, "unreachable"],
    [SERVER6, 1, 1, "prohibited"],
    [SERVER6, 1, 4, "refused"],
    [SERVER6, 1, 3, "unreachable"],
    [SERVER6, 3, 0, "unreachable"],
  ] as const)(
    "PG-124: ICMP to %o of type %i, code %i ends an opening connection: %s",
    (to, type, code, reason) => {
      const stack = stackOf();
      const begun = stack.connect(NOW, to);
      const [syn] = packetsOf(stack);
      if (syn === undefined || begun === undefined) throw new Error("a SYN leaves");
      stack.handlePacket(NOW, icmpAbout(syn, type, code, to.address));
      expect(eventsOf(stack)).toEqual([{ kind: "tcp-closed", id: begun, reason }]);
    },
  );

  it("PG-128: a narrower path is no reason to end", () => {
    const stack = stackOf();
    stack.connect(NOW, SERVER);
    const [syn = new Uint8Array()] = packetsOf(stack);
    stack.handlePacket(NOW, icmpAbout(syn, 3, 4, SERVER.address));
    expect(eventsOf(stack)).toEqual([]);
  });

  it("PG-124: ICMP about somebody else's segment ends nothing", () => {
    const [stack, other] = [stackOf(), stackOf()];
    stack.connect(NOW, SERVER);
    other.connect(NOW, { ...SERVER, port: 81 });
    const [, [foreign = new Uint8Array()]] = [packetsOf(stack), packetsOf(other)];
    stack.handlePacket(NOW, icmpAbout(foreign, 3, 13, SERVER.address));
    expect(eventsOf(stack)).toEqual([]);
  });

  it("PG-129: a router's connection waits for its answer, and opens or is refused by it", () => {
    const [client, router] = [stackOf(), stackOf({ isRouter: true })];
    router.configure([]);
    client.connect(NOW, SERVER);
    client.connect(NOW, { ...SERVER, port: 81 });
    exchange(client, router);
    const asked = eventsOf(router);
    expect(asked).toMatchObject([
      { kind: "tcp-asked", asked: 1, local: SERVER },
      { kind: "tcp-asked", asked: 2 },
    ]);
    expect(eventsOf(client)).toEqual([]);
    router.decide(NOW, 1, "accept");
    router.decide(NOW, 2, "refuse");
    exchange(client, router);
    expect(eventsOf(router)).toMatchObject([{ kind: "tcp-opened", asked: 1, local: SERVER }]);
    const heard = eventsOf(client);
    expect(heard).toHaveLength(2);
    expect(heard).toContainEqual(expect.objectContaining({ kind: "tcp-opened", remote: SERVER }));
    expect(heard).toContainEqual(expect.objectContaining({ kind: "tcp-closed", reason: "refused" }));
  });

  it("PG-127, PG-129: three hundred open at once at one place behind a router", () => {
    const [client, router] = [stackOf(), stackOf({ isRouter: true })];
    router.configure([]);
    for (let i = 0; i < 300; i++) client.connect(NOW, SERVER);
    for (const packet of packetsOf(client)) router.handlePacket(NOW, packet);
    const asked = eventsOf(router).flatMap((event) => (event.kind === "tcp-asked" ? [event.asked] : []));
    expect(asked).toHaveLength(300);
    for (const one of asked) router.decide(NOW, one, "accept");
    exchange(client, router);
    expect(eventsOf(client).filter(({ kind }) => kind === "tcp-opened")).toHaveLength(300);
  });

  it("PG-129: a refusal by ICMP is what the client hears, and a decision counts once", () => {
    const [client, router] = [stackOf(), stackOf({ isRouter: true })];
    router.configure([]);
    client.connect(NOW, SERVER);
    exchange(client, router);
    router.decide(NOW, 1, "prohibited");
    router.decide(NOW, 1, "accept");
    exchange(client, router);
    expect(eventsOf(client)).toMatchObject([{ kind: "tcp-closed", reason: "prohibited" }]);
  });

  it("PG-129: what nobody decides about is forgotten", () => {
    const [client, router] = [stackOf(), stackOf({ isRouter: true })];
    client.connect(NOW, SERVER);
    exchange(client, router);
    eventsOf(router);
    expect(router.pollTimeout()).toBe(NOW + 120_000);
    router.handleTimeout(instant(NOW + 119_999));
    expect(eventsOf(router)).toEqual([]);
    router.handleTimeout(instant(NOW + 120_000));
    expect(eventsOf(router)).toEqual([{ kind: "tcp-forgotten", asked: 1 }]);
  });

  it("PG-122: nobody connects to a client", () => {
    const [client, other] = [stackOf(), createStack({ random: createSeededRandom(2), isRouter: false })];
    other.configure([ip("100.64.0.3")]);
    other.connect(NOW, { address: OWN[0], port: 22 });
    exchange(other, client);
    expect(eventsOf(other)).toMatchObject([{ kind: "tcp-closed", reason: "refused" }]);
  });

  it("DN-84: its own port is connected to while it listens there, and by nobody before or after", () => {
    const [gateway, client] = [
      stackOf({ isRouter: true }),
      createStack({ random: createSeededRandom(2), isRouter: false }),
    ];
    client.configure([ip("100.64.0.3")]);
    const attempt = (port: number): string | undefined => {
      client.connect(NOW, { address: OWN[0], port });
      exchange(client, gateway);
      eventsOf(gateway);
      return eventsOf(client)[0]?.kind;
    };
    expect(attempt(53_535)).toBe("tcp-closed");
    gateway.listenTcp(53_535);
    expect([attempt(53_535), attempt(53_534)]).toEqual(["tcp-opened", "tcp-closed"]);
    gateway.ignoreTcp(53_535);
    expect(attempt(53_535)).toBe("tcp-closed");
  });
});

describe("a stack's datagrams", () => {
  const from = { address: ip("10.0.0.1"), port: 53 };
  const datagram = (to: SocketAddress, payload = Uint8Array.of(1, 2, 3)): Uint8Array => {
    const packet = encodeUdp(from, to, payload);
    if (!packet.ok) throw new Error(packet.reason);
    return packet.value;
  };

  it("PG-120: come to the port that is bound, and are refused where none is", () => {
    const stack = stackOf();
    const port = stack.bindUdp() ?? 0;
    stack.handlePacket(NOW, datagram({ address: OWN[0], port }));
    expect(eventsOf(stack)).toMatchObject([
      { kind: "datagram", remote: from, bytes: Uint8Array.of(1, 2, 3) },
    ]);
    stack.releaseUdp(port);
    stack.handlePacket(NOW, datagram({ address: OWN[0], port }));
    expect(eventsOf(stack)).toEqual([]);
    expect(packetsOf(stack).map((packet) => [packet[20], packet[21]])).toEqual([[3, 3]]);
  });

  it.each([
    [ip("10.0.0.1"), 1_252, 65_507],
    [ip("2001:db8::1"), 1_232, 65_487],
  ])(
    "PG-129: leave in one packet, in fragments, or not at all, by their length, to %o",
    (address, whole, most) => {
      const stack = stackOf();
      const local = { address: OWN[address.length === 4 ? 0 : 1], port: 1 };
      const send = (length: number): number[] => {
        expect(stack.sendUdp(local, { address, port: 2 }, new Uint8Array(length))).toBe("sent");
        return packetsOf(stack).map(({ length: bytes }) => bytes);
      };
      expect(send(whole)).toEqual([1_280]);
      const [first = 0, second = 0, ...none] = send(whole + 1);
      expect(first).toBeLessThanOrEqual(1_280);
      // Both have headers, and the datagram one of its own.
      expect(first + second).toBe(whole + 1 + 8 + 2 * (address.length === 4 ? 20 : 48));
      expect(none).toEqual([]);
      for (const bytes of send(most)) expect(bytes).toBeLessThanOrEqual(1_280);
      expect(stack.sendUdp(local, { address, port: 2 }, new Uint8Array(most + 1))).toBe("too-big");
    },
  );

  it.each([1_253, 3_000, 65_487])("PG-129: of %d bytes are the same at the other end", (length) => {
    const [client, router] = [stackOf(), stackOf({ isRouter: true })];
    router.configure([]);
    const payload = Uint8Array.from({ length }, (_, i) => i * 31);
    for (const [i, remote] of [SERVER, SERVER6].entries()) {
      client.sendUdp({ address: OWN[i] ?? OWN[0], port: 1 }, remote, payload);
      exchange(client, router);
      const [event] = eventsOf(router);
      expect(event?.kind === "datagram" && Buffer.compare(event.bytes, payload)).toBe(0);
    }
    expect(router.counters().stack_drop_fragment).toBe(0);
  });

  it("TN-3: what cannot be read, or is for nobody, is dropped under a counter", () => {
    const stack = stackOf();
    stack.handlePacket(NOW, datagram({ address: OWN[0], port: 1 }).subarray(0, 19));
    const esp = encodeIp({
      source: from.address,
      destination: OWN[0],
      protocol: 50,
      transport: new Uint8Array(8),
    });
    if (esp.ok) stack.handlePacket(NOW, esp.value);
    expect(stack.counters()).toMatchObject({
      stack_drop_fragment: 0,
      stack_drop_malformed: 1,
      stack_drop_protocol: 1,
    });
  });
});

describe("a stack's echoes", () => {
  it.each([ip("10.0.0.1"), ip("2001:db8::1")])("PG-120: an echo comes back to who asked, %o", (remote) => {
    const [client, router] = [stackOf(), stackOf({ isRouter: true })];
    router.configure([]);
    const ping = client.ping(remote);
    exchange(client, router);
    const [asked] = eventsOf(router);
    if (asked?.kind !== "echo-asked") throw new Error("the router is asked");
    expect(asked.local).toEqual(remote);
    router.echo(asked.packet);
    exchange(client, router);
    expect(eventsOf(client)).toEqual([{ kind: "echoed", ping }]);
    // One answer to each.
    router.echo(asked.packet);
    exchange(client, router);
    expect(eventsOf(client)).toEqual([]);
  });

  it("PG-124: what is refused says so", () => {
    const [client, router] = [stackOf(), stackOf({ isRouter: true })];
    const ping = client.ping(ip("10.0.0.1"));
    exchange(client, router);
    const [asked] = eventsOf(router);
    if (asked?.kind === "echo-asked") router.refuse(asked.packet, "prohibited");
    exchange(client, router);
    expect(eventsOf(client)).toEqual([{ kind: "echo-unreached", ping, reason: "prohibited" }]);
  });

  it("TN-61: our own address answers by itself", () => {
    const stack = stackOf();
    const request = encodeEchoRequest({
      source: ip("100.64.0.9"),
      destination: OWN[0],
      ...{ identifier: 7, sequence: 1, body: Uint8Array.of(1) },
    });
    if (request.ok) stack.handlePacket(NOW, request.value);
    expect(packetsOf(stack).map((packet) => packet[20])).toEqual([0]);
  });
});
