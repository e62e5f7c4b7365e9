/** Clients that come and go in hundreds leave no memory taken at a gateway (PG-162, G-14). */
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Child } from "../../src/program/lab/index.ts";
import { connectionsOf } from "../lib/ask.ts";
import { eventually, residentMib } from "../lib/observe.ts";
import { API_URL, createOffice, OFFICE_V4, type Office } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";

const SWARM = join(import.meta.dirname, "../lib/swarm.mjs");
const LIBRARY_SWARM = join(import.meta.dirname, "../lib/library-swarm.mjs");
const CLIENTS = 200;
/** Those with sessions and traffic, all in one process. */
const CARRYING = 30;
const PAGE_BYTES = 2_000_000;
const WAVES = 4;
/** Of a wave, and of what garbage is left to lie. Without PG-162 it was 102. */
const GROWTH_MIB_MAX = 75;

describeWith(["root", "netns", "tun", "nft", "build"], "waves of clients", () => {
  let office: Office;
  let gateway: Child;

  beforeAll(async () => {
    office = await createOffice();
    office.configure([{ resource: "Office" }]);
    await office.startPortal();
    gateway = await office.startGateway();
  });
  afterAll(() => office?.close());

  async function alive(): Promise<number> {
    const all = await connectionsOf(office, office.gateway);
    return all.filter(({ state }) => state !== "failed").length;
  }

  it(`PG-162: after ${WAVES} waves of ${CLIENTS} a gateway has little more memory than at first`, async () => {
    const resident = [Math.round(residentMib(gateway))];
    for (let n = 0; n < WAVES; n++) {
      const args = [SWARM, API_URL, office.tokens.client, "Office", String(CLIENTS)];
      const swarm = office.client.start({ name: "swarm", command: process.execPath, args });
      await swarm.waitForLine(/^asked/, { withinMs: 180_000 });
      expect(await alive()).toBeGreaterThan(CLIENTS / 4);
      await swarm.stop();
      await eventually(async () => expect(await alive()).toBe(0), 60_000);
      resident.push(Math.round(residentMib(gateway)));
    }
    console.log(`waves: ${resident.join(", ")} MiB`);
    const [first = 0, ...others] = resident;
    expect(Math.max(...others) - first).toBeLessThan(GROWTH_MIB_MAX);
  });

  it(`PG-162: nor after ${WAVES} waves of ${CARRYING} that each carry ${PAGE_BYTES} bytes`, async () => {
    const server = office.traffic(office.resource, "serve", "80");
    await server.waitForLine(/^serving /, { withinMs: 10_000 });
    const resident = [Math.round(residentMib(gateway))];
    for (let n = 0; n < WAVES; n++) {
      const page = `http://${OFFICE_V4}/${PAGE_BYTES}`;
      const args = [LIBRARY_SWARM, API_URL, office.tokens.client, page, String(CARRYING)];
      const swarm = office.client.start({ name: "swarm", command: process.execPath, args });
      const all = new RegExp(`^fetched ${CARRYING} bytes ${CARRYING * PAGE_BYTES}$`);
      await swarm.waitForLine(all, { withinMs: 240_000, stream: "stdout" });
      // Each says farewell to the gateway, which takes a while for all of them.
      swarm.signal("SIGTERM");
      await swarm.exited;
      await eventually(async () => expect(await alive()).toBe(0), 60_000);
      resident.push(Math.round(residentMib(gateway)));
    }
    console.log(`waves with traffic: ${resident.join(", ")} MiB`);
    const [first = 0, ...others] = resident;
    expect(Math.max(...others) - first).toBeLessThan(GROWTH_MIB_MAX);
  });
});
