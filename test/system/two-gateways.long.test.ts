/** Two gateways of one site: which one serves, and when the client moves to the other (PT-84, PT-90, TN-106). */
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Child, Namespace } from "../../src/program/lab/index.ts";
import { longestGapMs, type Pinging, startPinging } from "../lib/gaps.ts";
import { echo, eventually, timesOf } from "../lib/observe.ts";
import { createOffice, OFFICE_V4, type Office } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";
import { addSpareGateway, startSpareGateway } from "../lib/spare-gateway.ts";

const timeout = 90_000;
const FAIL_OVER_MS_MAX = 5_000;
/** PT-32: the longest pause between two attempts, and a join. */
const PORTAL_BACK_MS_MAX = 15_000;
/** What the portal sends the gateway is refused: the portal loses it at its next heartbeat, nobody else does. */
const cutFromPortal = (gateway: string): string => `
  table inet cut {
    chain forward {
      type filter hook forward priority filter;
      ip saddr 203.0.113.10 ip daddr ${gateway} reject with tcp reset
    }
  }`;

describeWith(["netns", "tun", "nft", "ipv6", "build"], "two gateways", () => {
  let office: Office;
  let portal: Child;
  let client: Child;
  let spare: Namespace;
  let gateways: { readonly first: Child; readonly second: Child };
  let pinging: Pinging;

  beforeAll(async () => {
    office = await createOffice();
    spare = await addSpareGateway(office);
    office.configure([{ resource: "Office" }]);
    portal = await office.startPortal();
    gateways = { first: await office.startGateway(), second: await startSpareGateway(office, spare) };
    client = await office.startClient();
    await eventually(async () => expect(await echo(office.client, OFFICE_V4)).toBe("answered"), 15_000);
    pinging = startPinging(office.client, OFFICE_V4);
    await pinging.answered();
  });
  afterAll(() => office?.close());

  /** The gateway that the client's connection goes to now: the last that made one. */
  function serving(): {
    readonly name: "first" | "second";
    readonly program: Child;
    readonly address: string;
  } {
    const madeAt = (program: Child): number => timesOf(program, /INFO connections.*: creating/).at(-1) ?? 0;
    return madeAt(gateways.first) > madeAt(gateways.second)
      ? { name: "first", program: gateways.first, address: "10.31.0.2" }
      : { name: "second", program: gateways.second, address: "10.32.0.2" };
  }

  const lostAt = (): number => timesOf(client, /the portal has lost a gateway/).at(-1) ?? 0;

  it("TN-106, SN-142: a gateway that has only lost its portal goes on serving", { timeout }, async () => {
    const { address, name } = serving();
    const before = { lost: lostAt(), moves: timesOf(client, /gateway disconnected/).length };
    await office.router.run("nft", ["--", cutFromPortal(address)]);
    await eventually(() => expect(lostAt()).toBeGreaterThan(before.lost), 40_000);
    await new Promise((resolve) => setTimeout(resolve, FAIL_OVER_MS_MAX));
    await pinging.answered();
    expect(longestGapMs(pinging.answers(), lostAt() - 500, Date.now() - 200)).toBeLessThan(1_000);
    expect(timesOf(client, /gateway disconnected/)).toHaveLength(before.moves);
    expect(serving().name).toBe(name);
    await office.router.run("nft", ["delete", "table", "inet", "cut"]);
  });

  it("PT-32: when a killed portal returns, client and gateways are back within 15 s", {
    timeout,
  }, async () => {
    const peers = [client, gateways.first, gateways.second];
    await portal.stop({ signal: "SIGKILL" });
    // Long enough for the pauses between attempts to have grown.
    await new Promise((resolve) => setTimeout(resolve, 8_000));
    portal = await office.startPortal();
    const ready = Date.now();
    const back = (peer: Child): number => timesOf(peer, /portal connected/).at(-1) ?? 0;
    await eventually(() => {
      for (const peer of peers) expect(back(peer), peer.name).toBeGreaterThan(ready - 1_000);
    }, PORTAL_BACK_MS_MAX);
    await pinging.answered();
    expect(longestGapMs(pinging.answers(), ready - 8_000, Date.now() - 200), "tunnels live on").toBeLessThan(
      1_000,
    );
  });

  it("TN-106, PT-84: after kill -9 of the gateway that serves, traffic comes back by itself within 5 s, by the other", {
    timeout,
  }, async () => {
    const { program, name } = serving();
    const killed = Date.now();
    await program.stop({ signal: "SIGKILL" });
    await pinging.answered();
    await new Promise((resolve) => setTimeout(resolve, FAIL_OVER_MS_MAX));
    await pinging.answered();
    expect(longestGapMs(pinging.answers(), killed - 200, Date.now() - 200)).toBeLessThan(FAIL_OVER_MS_MAX);
    expect(serving().name).not.toBe(name);
  });
});
