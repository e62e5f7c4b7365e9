import { afterEach, beforeEach, expect, it } from "vitest";
import { ip } from "../../src/base/index.ts";
import type { TcpEvent } from "../../src/tcp/index.ts";
import { describeWith } from "../lib/requirements.ts";
import { createMeeting, KERNEL, OURS, type Ours, PORT, ROLES } from "../lib/tcp-exchange.ts";

const MEGA = 1 << 20;

describeWith(["netns", "tun"], "our TCP and the kernel's, by a TUN device (PG-127)", () => {
  let meeting: ReturnType<typeof createMeeting>;
  beforeEach(() => {
    meeting = createMeeting();
  });
  afterEach(() => meeting.close());

  it.each(ROLES.flatMap((role) => ([4, 6] as const).map((family) => [role, family] as const)))(
    "carries 64 MB each way at once, whole and in order: %s, IPv%i",
    async (role, family) => {
      const octets = 64 * MEGA;
      const { ours, theirs } = await meeting.exchange({
        role,
        family,
        order: { send: octets },
        toSend: octets,
      });
      expect(theirs).toEqual({ received: octets, isRight: true, hasEnded: true });
      expect(ours).toMatchObject({ received: octets, isRight: true });
      // Super-segments: far fewer frames than packets.
      expect(meeting.tun().frames.out).toBeLessThan((2 * octets) / 1_240 / 4);
    },
  );

  it.each(ROLES)("half-close: who has ended still reads all that the other sends: %s", async (role) => {
    const { ours, theirs } = await meeting.exchange({ role, order: { endFirst: true }, toSend: 8 * MEGA });
    expect(theirs).toEqual({ received: 8 * MEGA, isRight: true, hasEnded: true });
    expect(ours.events).toEqual(["opened", "ended", "done"]);
  });

  it.each(ROLES)("half-close: we end, and the kernel goes on: %s", async (role) => {
    const { ours, theirs } = await meeting.exchange({ role, order: { send: 8 * MEGA }, toSend: 0 });
    expect(ours).toMatchObject({ received: 8 * MEGA, isRight: true, events: ["opened", "ended", "done"] });
    expect(theirs).toEqual({ received: 0, isRight: true, hasEnded: true });
    // Who ends first waits (RFC 9293 §3.6).
    expect(meeting.tun().host.count()).toBe(1);
  });

  it.each(ROLES)("a reset of the kernel ends ours at once: %s", async (role) => {
    const { ours } = await meeting.exchange({ role, order: { reset: MEGA }, toSend: 8 * MEGA });
    expect(ours.events).toEqual(["opened", "reset"]);
  });

  it.each(ROLES)("our reset ends the kernel's connection at once: %s", async (role) => {
    const during = (ours: Ours): void => {
      if (ours.id !== undefined && ours.received > MEGA)
        meeting.tun().host.abort(meeting.tun().now(), ours.id);
    };
    const { ours, theirs } = await meeting.exchange({ role, order: { send: 64 * MEGA }, during });
    expect(ours.events).toEqual(["opened", "done"]);
    expect(theirs?.error).toMatch(/ECONNRESET|EPIPE/);
  });

  it("a port where nobody listens refuses, and so do we", async () => {
    const tun = meeting.open({ admit: () => "refuse" });
    const events: TcpEvent[] = [];
    meeting
      .tun()
      .host.connect(
        meeting.tun().now(),
        { address: ip(OURS[4]), port: 0 },
        { address: ip(KERNEL[4]), port: 9 },
      );
    const peer = meeting.start({ connect: [OURS[4], PORT] });
    const isOver = (): boolean => events.length > 0 && peer.report() !== undefined;
    await tun.run(isOver, (event) => events.push(event), 10_000);
    expect(events).toMatchObject([{ kind: "closed", reason: "refused" }]);
    expect(peer.report()).toEqual({ error: "ECONNREFUSED" });
  });

  it("a kernel that does not read closes its window: we wait, ask, and go on when it opens", async () => {
    const octets = 16 * MEGA;
    const order = { holdMs: 1_500 };
    const { ours, theirs } = await meeting.exchange({ role: "we connect", order, toSend: octets });
    expect(theirs).toEqual({ received: octets, isRight: true, hasEnded: true });
    expect(ours.events).toEqual(["opened", "ended", "done"]);
  });

  it("we do not read: the kernel waits, and goes on when we do", async () => {
    const octets = 16 * MEGA;
    let opensAt = 0;
    let most = 0;
    const during = (ours: Ours): void => {
      if (ours.id === undefined) return;
      most = Math.max(most, ours.unread);
      if (opensAt === 0) {
        ours.isReading = false;
        opensAt = performance.now() + 1_500;
      }
      if (performance.now() < opensAt || ours.isReading) return;
      ours.isReading = true;
      meeting.tun().host.take(meeting.tun().now(), ours.id, ours.unread);
    };
    const { ours, theirs } = await meeting.exchange({ role: "we connect", order: { send: octets }, during });
    expect(ours).toMatchObject({ received: octets, isRight: true });
    expect(theirs).toEqual({ received: 0, isRight: true, hasEnded: true });
    // The buffer, and what the last steps are rounded to in units of the window's scale.
    expect(most).toBeGreaterThan(MEGA - 65_536);
    expect(most).toBeLessThanOrEqual(MEGA + 2 * 128);
  });

  it("keep-alive: a peer that is there stays; one that is gone is noticed", async () => {
    let cutAt = 0;
    const during = (ours: Ours): void => {
      if (ours.id === undefined) return;
      if (cutAt === 0) {
        meeting.tun().host.keepAlive(meeting.tun().now(), ours.id, 100);
        cutAt = performance.now() + 1_500;
      }
      // Longer than nine probes of a peer that does not answer.
      if (performance.now() > cutAt && ours.events.length === 1) meeting.tun().cut();
    };
    const isOver = (ours: Ours): boolean => ours.events.length > 1;
    const { ours } = await meeting.exchange({ role: "we listen", order: {}, during, isOver });
    expect(ours.events).toEqual(["opened", "timeout"]);
    // The kernel answers such probes twice a second at most (net.ipv4.tcp_invalid_ratelimit).
    expect(performance.now()).toBeGreaterThan(cutAt + 400);
  });

  it.each([
    ["we listen", 1],
    ["we connect", 5],
  ] as const)(
    "%s: carries all of it whole while packets are lost each way, %i in 100",
    async (role, loss) => {
      const octets = 3 * MEGA;
      const options = { offloads: false, loss, seed: 7 };
      const order = { send: octets };
      const { ours, theirs } = await meeting.exchange({ role, order, toSend: octets, options });
      expect(theirs).toEqual({ received: octets, isRight: true, hasEnded: true });
      expect(ours).toMatchObject({ received: octets, isRight: true });
    },
  );
});
