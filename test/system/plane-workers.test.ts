/** The workers on real descriptors (`plane-ends.ts`). */

import { readdirSync, readFileSync } from "node:fs";
import { afterEach, beforeEach, expect, it } from "vitest";
import { equalValues, ip } from "../../src/base/index.ts";
import { patient } from "../../src/program/lab/index.ts";
import {
  createPlaneEnds,
  FAR_FUTURE,
  INNER,
  PEER,
  type PlaneEnds,
  PORT,
  SIDES,
  type Side,
} from "../lib/plane-ends.ts";
import { expectEachCounted } from "../lib/plane-losses.ts";
import { describeWith } from "../lib/requirements.ts";
import { sessionKeys } from "../unit/plane/pair.ts";

/** Sessions of a peer that are there at the same time, one on the way included. */
const ROWS_KEPT = 5;

describeWith(["netns", "tun", "ipv6"], "plane workers", () => {
  let ends: PlaneEnds;
  const end = (side: Side) => ends[side];
  const transfer = (bytes: number) => ends.transfer(bytes);
  const numberedDatagrams = (count: number) => ends.numberedDatagrams(count);
  const startAll = () => ends.start();
  const stopAll = () => ends.stop();

  beforeEach(async () => {
    ends = await createPlaneEnds();
  });
  afterEach(() => ends.close());

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
      expect(performance.now() - began).toBeLessThan(patient(900));
      ends.bindAgain("b");
    }
  });

  it("PG-65: each worker's thread has its name", async () => {
    await startAll();
    const names = readdirSync("/proc/self/task").map((id) =>
      readFileSync(`/proc/self/task/${id}/comm`, "utf8").trim(),
    );
    const ours = names.filter((name) => name.startsWith("postern-"));
    expect([...ours].sort()).toEqual([
      ...["postern-egress", "postern-egress", "postern-ingress", "postern-ingress"],
    ]);
  });

  it("PG-66, PG-75: after a pause the same threads run again, on other sockets", async () => {
    for (let i = 0; i < 5; i++) {
      await startAll();
      expect(await transfer(100_000)).toBe(100_000);
      await Promise.all(SIDES.map((side) => end(side).plane.pause()));
      ends.bindAgain("b");
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
    let isCarried = false;
    const retired = { a: 0, b: 0 };
    // Datagrams come in order: nothing of a session is under way any more once a later one's have come.
    const isPast = (side: Side, number: number) =>
      isCarried ||
      Array.from({ length: rollovers - number }, (_, i) => sessionKeys(side, number + 1 + i).local).some(
        (local) => (end(side).plane.records.received(0, local)?.packets ?? 0) > 0,
      );
    const timer = setInterval(() => {
      if (rollovers === 100) return clearInterval(timer);
      for (const side of SIDES) {
        const next = retired[side] + 1;
        if (rollovers - next < ROWS_KEPT || !isPast(side, next)) continue;
        end(side).plane.execute({ kind: "retire", slot: 0, local: sessionKeys(side, next).local });
        retired[side] = next;
      }
      // A busy machine is given time to carry what waits.
      if (SIDES.some((side) => rollovers - retired[side] > ROWS_KEPT)) return;
      rollovers++;
      // As a handshake does it (WG-52): the responder first, then the initiator, which sends at once.
      install("b", rollovers);
      const local = install("a", rollovers);
      end("a").plane.execute({ kind: "set-current", slot: 0, local });
      // Control takes counters of its own for keepalives (WG-45).
      for (const side of SIDES) end(side).plane.records.takeCounter(0, sessionKeys(side, rollovers).local);
    }, 5);
    expect(await traffic).toBe(30_000_000);
    isCarried = true;
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
    expectEachCounted(ends, 4000, arrived.length);
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
