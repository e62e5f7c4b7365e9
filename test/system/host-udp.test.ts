import { afterEach, beforeEach, expect, it } from "vitest";
import {
  errnoName,
  errnoOf,
  getSocketOption,
  openKernel,
  openUdpSockets,
  POLLIN,
  pollOne,
  receiveDatagram,
  sendDatagram,
  type UdpOptions,
} from "../../bindings/linux/index.ts";
import { ip } from "../../src/base/index.ts";
import { describeWith, missingRequirement } from "../lib/requirements.ts";
import { createNamespace, joinByVeth, type OwnNamespace } from "./own-namespace.ts";

/** The first packet on a fresh veth can wait for a second neighbour solicitation, one second later. */
const ARRIVES_WITHIN_MS = 5000;

const OPTIONS: UdpOptions = {
  port: { kind: "preferred", port: 52625 },
  gro: true,
  sendBufferBytes: 1 << 20,
  receiveBufferBytes: 7 << 20,
};
const SOL_SOCKET = 1;
const SO_MARK = 36;
const SO_REUSEADDR = 2;
const SO_REUSEPORT = 15;
const FWMARK = 0xfd002021;

describeWith(["netns"], "UDP sockets", () => {
  const kernel = openKernel();
  let a: OwnNamespace;
  let b: OwnNamespace;
  beforeEach(() => {
    a = createNamespace();
    b = createNamespace();
    joinByVeth(a, b);
  });
  afterEach(() => {
    a.close();
    b.close();
  });
  const openIn = (host: OwnNamespace, changes: Partial<UdpOptions> = {}) =>
    host.enter(() => openUdpSockets(kernel, { ...OPTIONS, ...changes }));

  it.skipIf(missingRequirement(["users"]) !== undefined)(
    "PG-41, PG-43: both families on 52625, marked, never shared, with the buffers asked for",
    () => {
      const sockets = openIn(a, { mark: FWMARK });
      for (const socket of [sockets.v4, sockets.v6]) {
        expect(socket).toMatchObject({
          port: 52625,
          gro: true,
          sendBufferBytes: 1 << 20,
          receiveBufferBytes: 7 << 20,
        });
        const fd = socket?.fd ?? -1;
        expect((getSocketOption(kernel, fd, SOL_SOCKET, SO_MARK) ?? 0) >>> 0).toBe(FWMARK);
        expect(getSocketOption(kernel, fd, SOL_SOCKET, SO_REUSEADDR)).toBe(0);
        expect(getSocketOption(kernel, fd, SOL_SOCKET, SO_REUSEPORT)).toBe(0);
      }
      expect(sockets.missing).toEqual([]);
      sockets.close();
    },
  );

  it("PG-41: a taken port falls back to a random one, family by family", () => {
    const first = openIn(a);
    const second = openIn(a);
    expect(second.v4?.port).not.toBe(52625);
    expect(second.v4?.port).toBeGreaterThan(0);
    expect(second.v6?.port).toBeGreaterThan(0);
    second.close();
    first.close();
  });

  it("PG-41, PG-176: with several pairs a port that somebody has is noticed, even one who would share it", () => {
    const first = openIn(a, { pairs: 2 });
    expect(first.others).toMatchObject([{ v4: { port: 52625 }, v6: { port: 52625 } }]);
    const second = openIn(a, { pairs: 2 });
    for (const one of [second, ...second.others]) {
      expect(one.v4?.port).toBe(second.v4?.port);
      expect(one.v4?.port).not.toBe(52625);
      expect(one.v6?.port).not.toBe(52625);
    }
    second.close();
    first.close();
    const alone = openIn(a, { port: { kind: "fixed", port: 52625 } });
    alone.close();
  });

  it("PG-176: each sender has one of the sockets, and all of them have some", () => {
    const sockets = openIn(b, { pairs: 4 });
    const all = [sockets, ...sockets.others].map(({ v4 }) => v4?.fd ?? -1);
    const to = { address: ip("10.0.0.2"), port: 52625 };
    const heard = all.map(() => new Set<number>());
    for (let i = 0; i < 24; i++) {
      const from = openIn(a, { port: { kind: "any" } });
      for (let n = 0; n < 3; n++) sendDatagram(kernel, from.v4?.fd ?? -1, { to, bytes: new Uint8Array(8) });
      from.close();
    }
    let count = 0;
    for (let tries = 0; count < 72 && tries < 500; tries++) {
      for (const [i, fd] of all.entries()) {
        if (pollOne(kernel, fd, POLLIN, 10) === 0) continue;
        const got = receiveDatagram(kernel, fd);
        if (got === undefined) continue;
        heard[i]?.add(got.from.port);
        count++;
      }
    }
    expect(count).toBe(72);
    expect(heard.reduce((sum, ports) => sum + ports.size, 0)).toBe(24);
    expect(heard.filter(({ size }) => size > 0).length).toBeGreaterThan(1);
    sockets.close();
  });

  it("PG-67: the port can be bound again at once, a hundred times", () => {
    for (let i = 0; i < 100; i++) {
      const sockets = openIn(a);
      expect([sockets.v4?.port, sockets.v6?.port]).toEqual([52625, 52625]);
      sockets.close();
    }
  });

  it("WG-57: a fixed port that is taken is an error that tells its number", () => {
    const first = openIn(a, { port: { kind: "fixed", port: 51820 } });
    let caught: unknown;
    try {
      openIn(a, { port: { kind: "fixed", port: 51820 } });
    } catch (error) {
      caught = error;
    }
    expect(String(caught)).toContain("cannot bind UDP port 51820");
    expect(errnoName(errnoOf(caught) ?? 0)).toBe("EADDRINUSE");
    first.close();
    openIn(a, { port: { kind: "fixed", port: 51820 } }).close();
  });

  it("WG-57: a port that the system chooses is the same for both families", () => {
    const sockets = openIn(a, { port: { kind: "any" } });
    expect(sockets.v4?.port).toBeGreaterThan(0);
    expect(sockets.v6?.port).toBe(sockets.v4?.port);
    sockets.close();
  });

  it.each([
    { family: 4, from: "10.0.0.1", to: "10.0.0.2" },
    { family: 6, from: "fd00::1", to: "fd00::2" },
  ] as const)(
    "PG-43, PG-45: IPv$family source, ECN and local address travel with a datagram",
    ({ family, from, to }) => {
      const sender = openIn(a);
      const receiver = openIn(b);
      const [fd, at] = family === 4 ? [sender.v4?.fd, receiver.v4?.fd] : [sender.v6?.fd, receiver.v6?.fd];
      const sent = a.enter(() =>
        sendDatagram(kernel, fd ?? -1, {
          to: { address: ip(to), port: 52625 },
          bytes: new Uint8Array([1, 2, 3]),
          source: ip(from),
          trafficClass: 1,
        }),
      );
      expect(sent).toEqual({ kind: "sent", sourceLost: false });
      // On a link that has just come up IPv6's first neighbour solicitation may be lost; the next follows
      // after a second.
      expect(pollOne(kernel, at ?? -1, POLLIN, ARRIVES_WITHIN_MS)).toBe(POLLIN);
      expect(receiveDatagram(kernel, at ?? -1)).toEqual({
        bytes: new Uint8Array([1, 2, 3]),
        from: { address: ip(from), port: 52625 },
        control: { local: ip(to), trafficClass: 1 },
      });
      expect(receiveDatagram(kernel, at ?? -1)).toBeUndefined();
      sender.close();
      receiver.close();
    },
  );

  it.each([
    { family: 4, to: "10.0.0.2" },
    { family: 6, to: "fd00::2" },
  ] as const)("PF-40: IPv$family segments sent at once arrive as one GRO run", ({ family, to }) => {
    const sender = openIn(a);
    const receiver = openIn(b);
    const [fd, at] = family === 4 ? [sender.v4?.fd, receiver.v4?.fd] : [sender.v6?.fd, receiver.v6?.fd];
    const bytes = Uint8Array.from({ length: 1200 * 10 + 500 }, (_, i) => i & 0xff);
    const outcome = sendDatagram(kernel, fd ?? -1, {
      to: { address: ip(to), port: 52625 },
      bytes,
      segmentBytes: 1200,
    });
    expect(outcome).toEqual({ kind: "sent", sourceLost: false });
    expect(pollOne(kernel, at ?? -1, POLLIN, ARRIVES_WITHIN_MS)).toBe(POLLIN);
    const run = receiveDatagram(kernel, at ?? -1);
    expect(run?.control.segmentBytes).toBe(1200);
    expect(run?.bytes).toEqual(bytes);
    sender.close();
    receiver.close();
  });

  it("PG-60: without GRO the same segments arrive one by one", () => {
    const sender = openIn(a);
    const receiver = openIn(b, { gro: false });
    expect(receiver.v4?.gro).toBe(false);
    const to = { address: ip("10.0.0.2"), port: 52625 };
    sendDatagram(kernel, sender.v4?.fd ?? -1, { to, bytes: new Uint8Array(2500), segmentBytes: 1200 });
    const fd = receiver.v4?.fd ?? -1;
    expect(pollOne(kernel, fd, POLLIN, ARRIVES_WITHIN_MS)).toBe(POLLIN);
    expect([1, 2, 3, 4].map(() => receiveDatagram(kernel, fd)?.bytes.length)).toEqual([
      1200,
      1200,
      100,
      undefined,
    ]);
    sender.close();
    receiver.close();
  });

  it("PF-41a: a source that the host has lost is given up, and said so", () => {
    const sender = openIn(a);
    const outcome = sendDatagram(kernel, sender.v4?.fd ?? -1, {
      to: { address: ip("10.0.0.2"), port: 9 },
      bytes: new Uint8Array(1),
      source: ip("10.0.0.77"),
    });
    expect(outcome).toEqual({ kind: "sent", sourceLost: true });
    sender.close();
  });

  it("PG-43, PG-46: names what became of a datagram that the kernel refuses", () => {
    const sender = openIn(a);
    const fd = sender.v4?.fd ?? -1;
    const send = (to: string, bytes: number) =>
      sendDatagram(kernel, fd, { to: { address: ip(to), port: 9 }, bytes: new Uint8Array(bytes) });
    expect(send("198.51.100.1", 1)).toMatchObject({ kind: "dropped", reason: "unreachable" });
    // One byte beyond the link's 1500 - 28 goes out in two fragments (PG-43).
    expect(send("10.0.0.2", 1472)).toMatchObject({ kind: "sent" });
    expect(send("10.0.0.2", 1473)).toMatchObject({ kind: "sent" });
    // UDP's own limit is 65,535 - 28.
    expect(send("10.0.0.2", 65_507)).toMatchObject({ kind: "sent" });
    expect(send("10.0.0.2", 65_508)).toMatchObject({ kind: "dropped", reason: "too-long" });
    sender.close();
    expect(send("10.0.0.2", 1)).toMatchObject({ kind: "broken" });
  });
});
