/** Where UDP does not pass, TURN over TLS does (TS-30.7, RL-208). The client's router decides what passes. */

import { afterEach, expect, it } from "vitest";
import { patient } from "../../src/program/lab/index.ts";
import { connectionsOf, whyOf } from "../lib/ask.ts";
import { block, NO_UDP, startBlocked, unblock } from "../lib/blocked-office.ts";
import { eventually } from "../lib/observe.ts";
import { OFFICE_V4, type Office } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";

/** From the first packet to the first answer (TS-30.7). */
const FIRST_ANSWER_WITHIN_MS = 6_000;

describeWith(["root", "netns", "tun", "nft", "ipv6", "build"], "without UDP", () => {
  let office: Office;
  afterEach(() => office?.close());

  it("TS-30.7: the first answer comes within 6 s, over TLS, and the path leaves TLS when UDP is open again", {
    timeout: 90_000,
  }, async () => {
    await startBlocked(
      (one) => (office = one),
      ({ router }) => block(router, NO_UDP),
    );
    const begun = performance.now();
    await office.fetch(office.client, `http://${OFFICE_V4}/`);
    expect(performance.now() - begun, "first answer").toBeLessThan(patient(FIRST_ANSWER_WITHIN_MS));
    const [connection] = await connectionsOf(office, office.client);
    expect(connection?.path).toBe("relayed-tls");
    const [why] = await whyOf(office, office.client);
    expect(why?.sentence).toMatch(/over TLS.*no relay answers by UDP/);
    await unblock(office.router);
    await eventually(async () => {
      const [now] = await connectionsOf(office, office.client);
      expect(now?.path).toBe("direct");
    }, 30_000);
    await office.fetch(office.client, `http://${OFFICE_V4}/`);
  });
});
