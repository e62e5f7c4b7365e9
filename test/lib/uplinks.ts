/** A client with two uplinks and a ping through its tunnel, to see what a change of the way out costs. */
import { expect } from "vitest";
import type { Child } from "../../src/program/lab/index.ts";
import { longestGapMs, startPinging } from "./gaps.ts";
import { echo, eventually, timesOf } from "./observe.ts";
import { createOffice, OFFICE_V4, type Office } from "./office.ts";

const UPLINKS = ["via 10.30.0.1 dev wan", "via 10.40.0.1 dev spare"] as const;
/** A reset does not begin within a second after another one (PG-76). */
const CHANGE_EVERY_MS = 2_500;
/** 500 ms until the change has settled (PG-73), and a second for the portal, a path and a session. */
export const OUTAGE_MS_MAX = 1_500;

export interface TwoUplinks {
  readonly office: Office;
  readonly client: Child;
  /** How often the client has taken a change for one. */
  resets(): number;
  /** Makes a change; the longest time without an answer in the seconds after it. */
  outageAfter(change: () => Promise<void>): Promise<number>;
  /** Moves the default route so often. @returns the outages */
  switchRoutes(times: number): Promise<readonly number[]>;
}

/** The first uplink is `wan`; `route(1)` names the way by the other. */
export function route(uplink: 0 | 1): string {
  return `default ${UPLINKS[uplink]}`;
}

export async function createTwoUplinks(): Promise<TwoUplinks> {
  const office = await createOffice();
  await office.lab.connect(
    { namespace: office.client, device: "spare", addresses: ["10.40.0.2/24"] },
    { namespace: office.router, device: "spare", addresses: ["10.40.0.1/24"] },
  );
  // One family: an IPv6 route that stays would be a way out, too.
  await office.client.ip("addr del fd30::2/64 dev wan");
  office.configure([{ resource: "Office" }]);
  await office.startPortal();
  const [, client] = await Promise.all([office.startGateway(), office.startClient()]);
  await eventually(async () => expect(await echo(office.client, OFFICE_V4)).toBe("answered"), 15_000);
  const pinging = startPinging(office.client, OFFICE_V4);
  await pinging.answered();

  const outageAfter = async (change: () => Promise<void>): Promise<number> => {
    const from = Date.now();
    await change();
    await new Promise((resolve) => setTimeout(resolve, CHANGE_EVERY_MS));
    await pinging.answered();
    return longestGapMs(pinging.answers(), from, Date.now() - 200);
  };
  return {
    office,
    client,
    resets: () => timesOf(client, /Resetting network state/).length,
    outageAfter,
    async switchRoutes(times) {
      const outages: number[] = [];
      for (let i = 1; i <= times; i++) {
        const change = `route replace ${route(i % 2 === 0 ? 0 : 1)}`;
        outages.push(await outageAfter(() => office.client.ip(change)));
      }
      return outages.map(Math.round);
    },
  };
}
