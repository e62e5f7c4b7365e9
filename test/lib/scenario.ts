/** One scenario of TS-30: client, gateway and a relay somewhere, and the path that they find. */

import { expect } from "vitest";
import type { PairView } from "../../src/program/control/index.ts";
import { patient } from "../../src/program/lab/index.ts";
import { connectionsOf, pairInUse, whyOf } from "./ask.ts";
import { eventually } from "./observe.ts";
import { createOffice, type Nats, OFFICE_V4, type Office } from "./office.ts";

export interface PathScenario {
  readonly name: string;
  readonly nats: Nats;
  readonly path: "direct" | "relayed";
  /** What `postern why` may say is the reason (PG-191). */
  readonly causes: readonly string[];
  /** Done before anything is started. */
  readonly prepare?: (office: Office) => Promise<void>;
  /** Looks at the pair of addresses that is used at last. */
  readonly expectPair?: (pair: PairView | undefined) => void;
}

export const SCENARIO_MS_MAX = 90_000;
/** From the first packet to the first answer (TS-30). */
const FIRST_ANSWER_WITHIN_MS = 6000;
/** What is not known to work at first may be found a little later. */
const PATH_WITHIN_MS = 20_000;

export async function findPath({ nats, path, causes, prepare, expectPair }: PathScenario): Promise<void> {
  const office = await createOffice({ nats, relays: 1 });
  try {
    await prepare?.(office);
    const sha256 = await startAll(office);
    const begun = performance.now();
    const page = await office.fetch(office.client, `http://${OFFICE_V4}/`);
    expect(performance.now() - begun, "first answer").toBeLessThan(patient(FIRST_ANSWER_WITHIN_MS));
    expect(page.sha256).toBe(sha256);
    await eventually(async () => {
      const [connection] = await connectionsOf(office, office.client);
      expect(connection?.path).toBe(path);
      expectPair?.(await pairInUse(office, office.client));
    }, PATH_WITHIN_MS);
    for (const where of [office.client, office.gateway]) {
      const [why] = await whyOf(office, where);
      expect(causes, why?.sentence).toContain(why?.cause);
    }
    expect(await office.fetch(office.client, `http://${OFFICE_V4}/`)).toMatchObject({ sha256 });
  } finally {
    await office.close();
  }
}

/** Portal, relay, both ends and a server. @returns the hash of its page */
async function startAll(office: Office): Promise<string> {
  office.configure([{ resource: "Office" }]);
  await office.startPortal();
  await office.startRelay(0);
  const server = office.traffic(office.resource, "serve", "80");
  await Promise.all([office.startGateway(), office.startClient()]);
  return (await server.waitForLine(/^serving (\S+)$/, { withinMs: 10_000 }))[1] ?? "";
}
