/** A stack at its limits, and under packets that are not for it. */
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
const VNET_BYTES = 10;

function stackOf({ isRouter = false, addresses = OWN as readonly IpAddress[] } = {}): Stack {
  const stack = createStack({ random: createSeededRandom(1), isRouter });
  stack.configure(addresses);
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

/** By frames, as a plane carries them, until none is left. */
function exchange(a: Stack, b: Stack, now: Instant = NOW): void {
  const into = new Uint8Array(VNET_BYTES + 65_535);
  const carry = (from: Stack, to: Stack): boolean => {
    const length = from.pollFrame(into);
    if (length === 0) return false;
    const frame = into.slice(0, length);
    const packet = frame.subarray(VNET_BYTES);
    if (viewPacket(packet).protocol === 6) to.handleTcpFrame(now, frame);
    else to.handlePacket(now, packet);
    return true;
  };
  for (let isQuiet = false; !isQuiet; ) {
    const [there, back] = [carry(a, b), carry(b, a)];
    isQuiet = !there && !back;
  }
}

function icmpAbout(
  packet: Uint8Array,
  { type, code, source }: { readonly type: number; readonly code: number; readonly source: IpAddress },
): Uint8Array {
  const { source: destination } = viewPacket(packet);
  const error = encodeIcmp({ source, destination, type, code, body: packet.subarray(0, 48) });
  if (!error.ok) throw new Error(error.reason);
  return error.value;
}

function made(packet: ReturnType<typeof encodeUdp>): Uint8Array<ArrayBuffer> {
  if (!packet.ok) throw new Error(packet.reason);
  return packet.value;
}

/** Client and router with one connection between them. */
function connected() {
  const [client, router] = [stackOf(), stackOf({ isRouter: true, addresses: [] })];
  const id = client.connect(NOW, SERVER) ?? -1;
  exchange(client, router);
  router.decide(NOW, 1, "accept");
  exchange(client, router);
  const [asked, opened] = eventsOf(router);
  if (asked?.kind !== "tcp-asked" || opened?.kind !== "tcp-opened") throw new Error("it opens");
  eventsOf(client);
  return { client, router, id, far: opened.id };
}

describe("a stack's connection", () => {
  it("PG-122: carries octets both ways, says when there is room again, and ends", () => {
    const { client, router, id, far } = connected();
    const much = new Uint8Array(4_000_000).fill(7);
    const taken = client.send(NOW, id, much);
    expect(taken).toBeLessThan(much.length);
    exchange(client, router);
    let got = 0;
    const drain = (): void => {
      for (const event of eventsOf(router)) {
        if (event.kind !== "tcp-data") continue;
        got += event.bytes.length;
        router.take(NOW, far, event.bytes.length);
      }
    };
    for (let i = 0; i < 1_000 && got < taken; i++) {
      drain();
      exchange(client, router);
    }
    expect(got).toBe(taken);
    expect(eventsOf(client)).toContainEqual({ kind: "tcp-writable", id });
    expect(router.send(NOW, far, Uint8Array.of(1, 2, 3))).toBe(3);
    client.end(NOW, id);
    exchange(client, router);
    expect(eventsOf(router)).toContainEqual({ kind: "tcp-ended", id: far });
    expect(eventsOf(client)).toContainEqual({ kind: "tcp-data", id, bytes: Uint8Array.of(1, 2, 3) });
    router.end(NOW, far);
    exchange(client, router);
    expect(eventsOf(client)).toContainEqual({ kind: "tcp-ended", id });
  });

  it("PG-122: that is cut off is reset at the other end", () => {
    const { client, router, id, far } = connected();
    client.abort(NOW, id);
    exchange(client, router);
    expect(eventsOf(router)).toMatchObject([{ kind: "tcp-closed", id: far, reason: "reset" }]);
    expect(client.send(NOW, id, Uint8Array.of(1))).toBe(0);
  });

  it.each([
    ["prohibited: the gateway takes access back", 13, true],
    ["unreachable: a router on the way may be wrong for a while", 0, false],
  ] as const)("PG-124: is open when ICMP says %s", (_, code, isEnd) => {
    const { client, id } = connected();
    client.send(NOW, id, Uint8Array.of(1));
    const [segment = new Uint8Array()] = packetsOf(client);
    client.handlePacket(NOW, icmpAbout(segment, { type: 3, code, source: SERVER.address }));
    const closed = { kind: "tcp-closed", id, reason: "prohibited" };
    expect(eventsOf(client)).toEqual(isEnd ? [closed] : []);
  });

  it("PG-128: that nobody answers is asked for once it is to be kept alive, and wakes nobody before", () => {
    const { client, id } = connected();
    client.keepAlive(NOW, id, 5_000);
    const due = client.pollTimeout() ?? 0;
    expect(due).toBeGreaterThan(NOW);
    expect(due).toBeLessThanOrEqual(NOW + 5_000);
    client.handleTimeout(instant(NOW + 5_000));
    expect(packetsOf(client)).toHaveLength(1);
    client.keepAlive(NOW, id, undefined);
  });

  it("PG-122: needs an address of its family", () => {
    const client = stackOf({ addresses: [OWN[0]] });
    expect(client.connect(NOW, SERVER6)).toBeUndefined();
    expect(client.ping(SERVER6.address)).toBeUndefined();
    expect(client.addressOf(6)).toBeUndefined();
    expect(client.addressOf(4)).toBe(OWN[0]);
  });
});

describe("connections that wait for a router's answer", () => {
  const synOf = (client: Stack): Uint8Array => {
    client.connect(NOW, SERVER);
    const [syn] = packetsOf(client);
    if (syn === undefined) throw new Error("a SYN leaves");
    return syn;
  };

  it("PG-129: a SYN that comes again asks nobody again", () => {
    const router = stackOf({ isRouter: true });
    const syn = synOf(stackOf());
    router.handlePacket(NOW, syn.slice());
    router.handlePacket(NOW, syn.slice());
    expect(eventsOf(router)).toHaveLength(1);
    expect(packetsOf(router)).toEqual([]);
  });

  it("PG-129: 4,096 of them, one more is dropped under its counter", () => {
    const router = stackOf({ isRouter: true });
    const syn = synOf(stackOf());
    for (let port = 1; port <= 4_097; port++) {
      const other = syn.slice();
      new DataView(other.buffer).setUint16(20, port);
      router.handlePacket(NOW, other);
    }
    expect(eventsOf(router)).toHaveLength(4_096);
    expect(router.counters()).toMatchObject({ stack_drop_asked_full: 1 });
  });

  it("PG-129: to the router itself are refused, and an answer to nobody's question is none", () => {
    const router = stackOf({ isRouter: true, addresses: [SERVER.address] });
    router.decide(NOW, 7, "accept");
    router.handlePacket(NOW, synOf(stackOf()));
    expect(eventsOf(router)).toEqual([]);
    // RST, ACK.
    expect(packetsOf(router).map((packet) => viewPacket(packet).transport[13])).toEqual([0x14]);
  });
});

describe("ICMP about datagrams and echoes", () => {
  const local = { address: OWN[0], port: 4_000 };
  const local6 = { address: OWN[1], port: 4_000 };

  it.each([
    [local, SERVER, 3, 13, "prohibited"],
    [local, SERVER, 3, 3, "refused"],
    [local, SERVER, 11, 0, "unreachable"],
    [local6, SERVER6, 1, 1, "prohibited"],
    [local6, SERVER6, 1, 5, "prohibited"],
    [local6, SERVER6, 1, 6, "prohibited"],
    [local6, SERVER6, 1, 4, "refused"],
    [local6, SERVER6, 3, 0, "unreachable"],
    // A narrower path, and a header that somebody did not like.
    [local, SERVER, 3, 4, undefined],
    [local6, SERVER6, 2, 0, undefined],
    [local, SERVER, 12, 0, undefined],
  ] as const)("PG-124: from %o to %o, type %i, code %i: %s", (from, to, type, code, reason) => {
    const stack = stackOf();
    stack.sendUdp(from, to, Uint8Array.of(1, 2, 3, 4));
    const [sent = new Uint8Array()] = packetsOf(stack);
    stack.handlePacket(NOW, icmpAbout(sent, { type, code, source: to.address }));
    const told = { kind: "datagram-unreached", local: from, remote: to, reason };
    expect(eventsOf(stack)).toEqual(reason === undefined ? [] : [told]);
  });

  it("TN-7: an error whose quote is too short, or names no ports, is nobody's", () => {
    const stack = stackOf();
    const esp = encodeIp({
      source: OWN[0],
      destination: SERVER.address,
      protocol: 50,
      transport: new Uint8Array(8),
    });
    if (!esp.ok) throw new Error(esp.reason);
    const about = { type: 3, code: 1, source: SERVER.address };
    stack.handlePacket(NOW, icmpAbout(esp.value, about));
    stack.handlePacket(NOW, icmpAbout(esp.value.subarray(0, 12), about));
    expect(eventsOf(stack)).toEqual([]);
  });

  it("PG-124: an error ends an echo only if it quotes that echo", () => {
    const stack = stackOf();
    const ping = stack.ping(SERVER.address);
    if (ping === undefined) throw new Error("an echo is sent");
    const [request = new Uint8Array()] = packetsOf(stack);
    const about = { type: 3, code: 13, source: SERVER.address };
    // A datagram's port, and another's segment, may be the same number; so may be an echo to somebody else.
    const segment = encodeIp({
      ...{ source: OWN[0], destination: SERVER.address, protocol: 6 },
      transport: Uint8Array.of(ping >> 8, ping & 255, 0, 80, ...new Uint8Array(16)),
    });
    if (!segment.ok) throw new Error(segment.reason);
    stack.handlePacket(NOW, icmpAbout(segment.value, about));
    const elsewhere = request.slice();
    elsewhere.set(ip("10.0.0.2"), 16);
    stack.handlePacket(NOW, icmpAbout(elsewhere, about));
    expect(eventsOf(stack)).toEqual([]);
    stack.handlePacket(NOW, icmpAbout(request, about));
    expect(eventsOf(stack)).toEqual([{ kind: "echo-unreached", ping, reason: "prohibited" }]);
    stack.handlePacket(NOW, icmpAbout(request, about));
    expect(eventsOf(stack)).toEqual([]);
  });

  it("PG-120: an echo's answer comes from who was asked, and not after it is forgotten", () => {
    const [stack, router] = [stackOf(), stackOf({ isRouter: true, addresses: [] })];
    const [ping, forgotten] = [stack.ping(SERVER.address), stack.ping(SERVER.address)];
    if (forgotten !== undefined) stack.forgetPing(forgotten);
    for (const packet of packetsOf(stack)) router.handlePacket(NOW, packet);
    for (const event of eventsOf(router)) if (event.kind === "echo-asked") router.echo(event.packet);
    const replies = packetsOf(router);
    expect(replies).toHaveLength(2);
    const stranger = replies[0]?.slice() ?? new Uint8Array();
    stranger.set(ip("10.0.0.2"), 12);
    stack.handlePacket(NOW, stranger);
    expect(eventsOf(stack)).toEqual([]);
    for (const reply of replies) stack.handlePacket(NOW, reply);
    expect(eventsOf(stack)).toEqual([{ kind: "echoed", ping }]);
  });

  it("PG-120: an echo longer than a packet, and ICMP that is neither echo nor error, are not answered", () => {
    const stack = stackOf();
    const long = made(encodeUdp(SERVER, { address: OWN[0], port: 1 }, new Uint8Array(1_200)));
    const request = new Uint8Array(1_400);
    request.set(long);
    // ICMP instead of UDP, type 8; nobody checks its checksum here.
    const view = new DataView(request.buffer);
    view.setUint16(2, request.length);
    request[9] = 1;
    request.set([8, 0, 0, 0, 0, 1, 0, 1], 20);
    stack.handlePacket(NOW, request);
    const router = encodeIcmp({
      source: SERVER.address,
      destination: OWN[0],
      type: 9,
      code: 0,
      body: new Uint8Array(8),
    });
    if (router.ok) stack.handlePacket(NOW, router.value);
    expect(packetsOf(stack)).toEqual([]);
    expect(eventsOf(stack)).toEqual([]);
  });

  it("PG-120: our own address answers IPv6 as well", () => {
    const stack = stackOf();
    const request = encodeEchoRequest({
      ...{ source: ip("fd00:2021:1111::9"), destination: OWN[1] },
      ...{ identifier: 7, sequence: 1, body: Uint8Array.of(1) },
    });
    if (request.ok) stack.handlePacket(NOW, request.value);
    expect(packetsOf(stack).map((packet) => packet[40])).toEqual([129]);
  });
});

describe("ports and identifiers", () => {
  it("PG-120: a port that is taken is not given twice, and none is given when none is left", () => {
    const stack = stackOf();
    expect(stack.bindUdp(5_000)).toBe(5_000);
    expect(stack.bindUdp(5_000)).toBeUndefined();
    stack.releaseUdp(5_000);
    expect(stack.bindUdp(5_000)).toBe(5_000);
    for (let port = 32_768; port < 61_000; port++) stack.bindUdp(port);
    expect(stack.bindUdp()).toBeUndefined();
  });

  it("PG-120: 32,768 echoes at a time", () => {
    const stack = stackOf();
    const pings = Array.from({ length: 32_768 }, () => stack.ping(SERVER.address));
    expect(pings).not.toContain(undefined);
    expect(stack.ping(SERVER.address)).toBeUndefined();
    expect(new Set(packetsOf(stack).map((packet) => ((packet[24] ?? 0) << 8) | (packet[25] ?? 0))).size).toBe(
      32_768,
    );
  });

  it("PG-129: a router hands datagrams on with their packet, and refuses those to itself where no port is bound", () => {
    const router = stackOf({ isRouter: true });
    const from = { address: ip("100.64.0.9"), port: 9 };
    const through = made(encodeUdp(from, SERVER, Uint8Array.of(5)));
    router.handlePacket(NOW, through);
    expect(eventsOf(router)).toMatchObject([
      { kind: "datagram", local: SERVER, remote: from, packet: through },
    ]);
    router.refuse(through, "prohibited");
    expect(packetsOf(router).map((packet) => [packet[20], packet[21]])).toEqual([[3, 13]]);
    router.handlePacket(NOW, made(encodeUdp(from, { address: OWN[0], port: 7 }, Uint8Array.of(5))));
    expect(packetsOf(router).map((packet) => [packet[20], packet[21]])).toEqual([[3, 3]]);
  });

  it("PG-122: there is no frame when nothing is to be sent, and an idle stack wakes nobody", () => {
    const stack = stackOf();
    expect(stack.pollFrame(new Uint8Array(VNET_BYTES + 65_535))).toBe(0);
    expect(stack.pollTimeout()).toBeUndefined();
  });
});

it("PG-125: datagrams that a program sends in one go leave without a standstill", () => {
  const stack = stackOf();
  const local = { address: OWN[0], port: 1 };
  for (let i = 0; i < 64_000; i++) stack.sendUdp(local, SERVER, Uint8Array.of(1));
  const into = new Uint8Array(VNET_BYTES + 65_535);
  let frames = 0;
  const startedAt = process.cpuUsage();
  while (stack.pollFrame(into) > 0) frames++;
  expect(frames).toBe(64_000);
  // Some milliseconds; with an array that is shifted, which moves what is left, seconds.
  expect(process.cpuUsage(startedAt).user / 1e6).toBeLessThan(0.7);
});
