/**
 * The workers on real descriptors: two planes of this process, each with a TUN device and sockets in a
 * namespace of its own. What runs is what the build made, because threads cannot load sources.
 *
 *     program ── tun ── plane A ══ UDP over veth ══ plane B ── tun ── program
 */
import { createSocket } from "node:dgram";
import { connect as connectTo, createServer } from "node:net";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { Kernel, Tun, UdpSockets } from "../../bindings/linux/index.ts";
import type { Plane, PlaneDescriptors } from "../../bindings/plane/index.ts";
import type { PlaneThreads } from "../../bindings/thread/index.ts";
import { equalValues, instant, ip, prefix } from "../../src/base/index.ts";
import { describeWith } from "../lib/requirements.ts";
import { compileVariant } from "../unit/crypto/modules.ts";
import { sessionKeys } from "../unit/plane/pair.ts";
import { createNamespace, joinByVeth, type OwnNamespace } from "./own-namespace.ts";

type Built = typeof import("../../bindings/plane/index.ts") &
  typeof import("../../bindings/linux/index.ts") &
  typeof import("../../bindings/thread/index.ts");

const built = (path: string) => import(new URL(`../../build/bindings/${path}`, import.meta.url).href);
const FAR_FUTURE = instant(Number.MAX_SAFE_INTEGER / 2);
const SIDES = ["a", "b"] as const;
type Side = (typeof SIDES)[number];
const PORT = { a: 51820, b: 51821 } as const;
const INNER = { a: "10.9.1.1", b: "10.9.2.1" } as const;
const PEER = { a: 0x0b0b0b, b: 0x0a0a0a } as const;

interface End {
  readonly host: OwnNamespace;
  readonly kernel: Kernel;
  readonly tun: Tun;
  readonly plane: Plane;
  /** Threads that the plane has asked for. */
  readonly taken: readonly string[];
  udp: UdpSockets;
  descriptors: PlaneDescriptors;
}

describeWith(["netns", "tun", "ipv6"], "plane workers", () => {
  let lib: Built;
  const ends = new Map<Side, End>();
  const end = (side: Side): End => {
    const found = ends.get(side);
    if (found === undefined) throw new Error(`end ${side} is set up`);
    return found;
  };

  function openSockets(host: OwnNamespace, kernel: Kernel, side: Side): UdpSockets {
    // As the programs ask for: a worker that waits for a processor then loses nothing.
    const options = { gro: true, sendBufferBytes: 16 << 20, receiveBufferBytes: 128 << 20 };
    return host.enter(() =>
      lib.openUdpSockets(kernel, { port: { kind: "fixed", port: PORT[side] }, ...options }),
    );
  }

  function describe(tun: Tun, udp: UdpSockets): PlaneDescriptors {
    const { v4, v6 } = udp;
    if (v4 === undefined || v6 === undefined) throw new Error("both families are there");
    return {
      tun: tun.fd,
      udp4: v4.fd,
      udp6: v6.fd,
      hasSegmentation: true,
      hasTcpOffload: true,
      hasUdpOffload: true,
    };
  }

  function setUp(side: Side, host: OwnNamespace): End {
    const { memory, scratch } = lib.createPlaneMemory();
    const kernel = lib.openKernel({ memory, area: scratch });
    const tun = host.enter(() => lib.openTun(kernel, { name: "pt0" }));
    host.run("ip", "addr", "add", `${INNER[side]}/24`, "dev", "pt0");
    host.run("ip", "link", "set", "pt0", "mtu", "1400", "up");
    host.run("ip", "route", "add", "10.9.0.0/16", "dev", "pt0");
    const udp = openSockets(host, kernel, side);
    const module = compileVariant("turbofan");
    const taken: string[] = [];
    const threads: PlaneThreads = {
      loaded: Promise.resolve(),
      take(kind) {
        taken.push(kind);
        return lib.spawnThread(kind);
      },
    };
    const plane = lib.createPlane({
      memory,
      module,
      sys: kernel.sys,
      threads,
      mode: "plain",
      mtu: 1400,
      maxPeers: 4,
    });
    const other = side === "a" ? "b" : "a";
    const address = ip(side === "a" ? "10.0.0.2" : "10.0.0.1");
    const path = { kind: "direct", headRoom: 0, isIdle: false, isBroken: false, generation: 1 } as const;
    plane.execute({ kind: "add-peer", slot: 0, peerId: PEER[side] });
    plane.execute({
      kind: "set-path",
      slot: 0,
      path: { ...path, destination: { address, port: PORT[other] } },
    });
    const session = sessionKeys(side, 1, { sendUntil: FAR_FUTURE, recvUntil: FAR_FUTURE });
    plane.execute({ kind: "install", slot: 0, peerId: PEER[side], session });
    plane.execute({ kind: "set-current", slot: 0, local: session.local });
    plane.publish({
      routes: [{ prefix: prefix(`${INNER[other]}/24`), target: { kind: "peer", slot: 0 } }],
      permits: [],
    });
    return { host, kernel, tun, udp, plane, taken, descriptors: describe(tun, udp) };
  }

  /** Sends bytes through the tunnel by TCP, and resolves with their number at the other end. */
  async function transfer(bytes: number): Promise<number> {
    let received = 0;
    const server = createServer((socket) =>
      socket.on("data", (chunk) => {
        received += chunk.length;
      }),
    );
    await end("b").host.enterUntil(
      () => new Promise<void>((resolve) => server.listen(7000, INNER.b, () => resolve())),
    );
    const socket = await end("a").host.enterUntil(
      () =>
        new Promise<ReturnType<typeof connectTo>>((resolve, reject) => {
          const opened = connectTo({ host: INNER.b, port: 7000 }, () => resolve(opened)).on("error", reject);
        }),
    );
    socket.end(new Uint8Array(bytes));
    await new Promise((resolve) => socket.on("close", resolve));
    await new Promise((resolve) => server.close(resolve));
    return received;
  }

  /** Sends datagrams with running numbers through the tunnel; resolves with the numbers in their order. */
  async function numberedDatagrams(count: number): Promise<readonly number[]> {
    const arrived: number[] = [];
    const receiver = createSocket("udp4").on("message", (bytes) => arrived.push(bytes.readUInt32BE(0)));
    await end("b").host.enterUntil(
      () => new Promise<void>((resolve) => receiver.bind(7001, INNER.b, () => resolve())),
    );
    const sender = createSocket("udp4");
    await end("a").host.enterUntil(
      () => new Promise<void>((resolve) => sender.bind(0, INNER.a, () => resolve())),
    );
    for (let i = 0; i < count; i++) {
      const bytes = new Uint8Array(100);
      new DataView(bytes.buffer).setUint32(0, i);
      sender.send(bytes, 7001, INNER.b);
      if (i % 10 === 9) await new Promise((resolve) => setTimeout(resolve, 0));
    }
    for (let silent = 0, before = -1; silent < 5; silent = before === arrived.length ? silent + 1 : 0) {
      before = arrived.length;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    receiver.close();
    sender.close();
    return arrived;
  }

  beforeEach(async () => {
    lib = {
      ...(await built("plane/index.js")),
      ...(await built("linux/index.js")),
      ...(await built("thread/index.js")),
    };
    const a = createNamespace();
    const b = createNamespace();
    joinByVeth(a, b);
    ends.set("a", setUp("a", a));
    ends.set("b", setUp("b", b));
  });

  afterEach(async () => {
    for (const { plane, udp, tun, host } of ends.values()) {
      await plane.stop();
      udp.close();
      tun.close();
      host.close();
    }
  });

  const startAll = () => Promise.all(SIDES.map((side) => end(side).plane.start(end(side).descriptors)));
  const stopAll = () => Promise.all(SIDES.map((side) => end(side).plane.stop()));

  it("D-5, G-6: carry a TCP stream in batches, and count every packet", async () => {
    await startAll();
    expect(await transfer(20_000_000)).toBe(20_000_000);
    await stopAll();
    const { egress } = end("a").plane.counters();
    const { ingress } = end("b").plane.counters();
    expect(egress.drops).toEqual({});
    expect(ingress.drops).toEqual({});
    expect(egress.counters.packets_passed).toBe(egress.counters.segments_out);
    expect(ingress.counters.udp_overflow ?? 0).toBe(0);
    expect(ingress.counters.packets_in).toBe(egress.counters.segments_out);
    expect(egress.counters.segments_out / egress.counters.writes).toBeGreaterThan(10);
    expect(ingress.counters.bytes_out / ingress.counters.writes).toBeGreaterThan(10_000);
  });

  it("D-13: stop and start again under traffic, on a port bound anew each time", {
    timeout: 60_000,
  }, async () => {
    for (let i = 0; i < 12; i++) {
      await startAll();
      expect(await transfer(300_000)).toBe(300_000);
      const flood = end("a").host.run(
        "sh",
        "-c",
        `ping -q -f -s 1000 -w 1 ${INNER.b} >/dev/null 2>&1 & echo $!`,
      );
      expect(Number(flood)).toBeGreaterThan(0);
      const began = performance.now();
      await stopAll();
      expect(performance.now() - began).toBeLessThan(900);
      const b = end("b");
      b.udp.close();
      b.udp = openSockets(b.host, b.kernel, "b");
      b.descriptors = describe(b.tun, b.udp);
    }
  });

  it("PG-66, PG-75: after a pause the same threads run again, on other sockets", async () => {
    const b = end("b");
    for (let i = 0; i < 5; i++) {
      await startAll();
      expect(await transfer(100_000)).toBe(100_000);
      await Promise.all(SIDES.map((side) => end(side).plane.pause()));
      b.udp.close();
      b.udp = openSockets(b.host, b.kernel, "b");
      b.descriptors = describe(b.tun, b.udp);
    }
    for (const side of SIDES) expect(end(side).taken).toEqual(["egress", "ingress"]);
  });

  it("G-13, D-5: an idle plane does nothing at all", { timeout: 40_000 }, async () => {
    await startAll();
    await transfer(1000);
    const epochs = () =>
      SIDES.flatMap((side) => {
        const { egress, ingress } = end(side).plane.counters();
        return [egress.epoch, ingress.epoch];
      });
    // Addresses settle and the connection closes: nothing to wait for but silence.
    for (let tries = 0, before = epochs(); tries < 10; tries++, before = epochs()) {
      await new Promise((resolve) => setTimeout(resolve, 2000));
      if (equalValues(epochs(), before)) return;
    }
    expect.fail("the workers never rest");
  });

  it("WG-44, WG-15: a hundred roll-overs under load reuse rows, repeat no counter and lose nothing", async () => {
    await startAll();
    const traffic = transfer(30_000_000);
    const install = (side: Side, number: number) => {
      const session = sessionKeys(side, number, { sendUntil: FAR_FUTURE, recvUntil: FAR_FUTURE });
      end(side).plane.execute({ kind: "install", slot: 0, peerId: PEER[side], session });
      return session.local;
    };
    let rollovers = 1;
    const timer = setInterval(() => {
      if (rollovers === 100) return clearInterval(timer);
      rollovers++;
      // As a handshake does it (WG-52): the responder first, then the initiator, which sends at once.
      install("b", rollovers);
      const local = install("a", rollovers);
      end("a").plane.execute({ kind: "set-current", slot: 0, local });
      for (const side of SIDES) {
        // Control takes counters of its own for keepalives (WG-45).
        end(side).plane.records.takeCounter(0, sessionKeys(side, rollovers).local);
        const old = sessionKeys(side, rollovers - 5).local;
        if (rollovers > 5) end(side).plane.execute({ kind: "retire", slot: 0, local: old });
      }
    }, 5);
    expect(await traffic).toBe(30_000_000);
    while (rollovers < 100) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(await transfer(100_000)).toBe(100_000);
    await stopAll();
    for (const side of SIDES) {
      const { egress, ingress } = end(side).plane.counters();
      // A counter used twice would be a replay, a row reused too early a bad tag.
      expect({ egress: egress.drops, ingress: ingress.drops }).toEqual({ egress: {}, ingress: {} });
    }
    const confirmed = end("b")
      .plane.takeEvents(1000)
      .filter(({ kind }) => kind === "confirmed");
    expect(confirmed.length).toBeGreaterThan(10);
  });

  it("WG-46: packets before, during and after a missing session arrive in order", async () => {
    const { plane } = end("a");
    let handled = 0;
    plane.onWake(() => {
      // What a machine does with staged packets as soon as there is a session. Others do not count: the
      // kernel's own multicast is punted, too.
      const staged = plane.takePunts(1000).filter(({ reason }) => reason === "no-session");
      const packets = staged.map(({ packet }) => packet);
      plane.execute({ kind: "inject", slot: 0, packets });
      handled += packets.length;
      plane.execute({ kind: "release", slot: 0, handled });
    });
    await startAll();
    let holds = 0;
    const timer = setInterval(() => {
      holds++;
      plane.execute({ kind: "hold", slot: 0 });
    }, 3);
    const arrived = await numberedDatagrams(4000);
    clearInterval(timer);
    await stopAll();
    expect(holds).toBeGreaterThan(5);
    expect(plane.counters().egress.counters.packets_injected).toBeGreaterThan(0);
    expect(arrived).toEqual([...arrived].sort((x, y) => x - y));
    expect(arrived.length + (plane.counters().egress.drops.wg_no_session ?? 0)).toBeGreaterThan(3000);
  });

  it("PG-38: a device that is removed ends the loops, and says so once each", async () => {
    const { plane, host } = end("a");
    const reasons: string[] = [];
    plane.onEnd(({ worker, reason }) => reasons.push(`${worker} ${reason}`));
    await plane.start(end("a").descriptors);
    host.run("ip", "link", "del", "pt0");
    for (let tries = 0; reasons.length === 0 && tries < 100; tries++) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(reasons).toEqual(["egress tun-removed"]);
    await plane.stop();
  });

  it("PF-41a: a source that the host has lost is forgotten without losing the packet", async () => {
    const { plane, host } = end("a");
    host.run("ip", "addr", "add", "10.0.0.77/24", "dev", "veth0");
    const destination = { address: ip("10.0.0.2"), port: PORT.b };
    const path = { kind: "direct", headRoom: 0, isIdle: false, isBroken: false, generation: 2 } as const;
    plane.execute({ kind: "set-path", slot: 0, path: { ...path, destination, source: ip("10.0.0.77") } });
    await startAll();
    expect(await transfer(1000)).toBe(1000);
    const roamed = end("b")
      .plane.takeEvents(100)
      .find(({ kind }) => kind === "roamed");
    expect(roamed).toMatchObject({ from: { address: ip("10.0.0.77"), port: PORT.a } });
    host.run("ip", "addr", "del", "10.0.0.77/24", "dev", "veth0");
    expect(await transfer(1000)).toBe(1000);
    const { egress } = plane.counters();
    expect(egress.counters.udp_source_refused).toBe(1);
    expect(egress.drops).toEqual({});
  });
});
