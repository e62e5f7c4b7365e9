import { afterEach, beforeEach, expect, it } from "vitest";
import { describeWith } from "../lib/requirements.ts";
import { createMeeting, ROLES } from "../lib/tcp-exchange.ts";

const OCTETS = 10_000_000_000;
const WITHIN_MS = 600_000;

describeWith(["netns", "tun"], "10 GB between our TCP and the kernel's (PG-127)", () => {
  let meeting: ReturnType<typeof createMeeting>;
  beforeEach(() => {
    meeting = createMeeting();
  });
  afterEach(() => meeting.close());

  /** Octets per second, and of what. */
  function tell(what: string, began: number): void {
    const seconds = (performance.now() - began) / 1_000;
    const { frames, host } = meeting.tun();
    const again = host.counters().retransmitted;
    const rate = ((8 * OCTETS) / seconds / 1e9).toFixed(2);
    console.log(`${what}: ${rate} Gbit/s, frames ${frames.in} in, ${frames.out} out, ${again} again`);
  }

  it.each(ROLES)("%s: we send 10 GB, every octet as it should be", async (role) => {
    const began = performance.now();
    const { theirs } = await meeting.exchange({ role, order: {}, toSend: OCTETS, withinMs: WITHIN_MS });
    tell(`${role}, we send`, began);
    expect(theirs).toEqual({ received: OCTETS, isRight: true, hasEnded: true });
  });

  it.each(ROLES)("%s: we receive 10 GB, every octet as it should be", async (role) => {
    const began = performance.now();
    const { ours } = await meeting.exchange({ role, order: { send: OCTETS }, withinMs: WITHIN_MS });
    tell(`${role}, we receive`, began);
    expect(ours).toMatchObject({ received: OCTETS, isRight: true });
  });
});
