/** What many clients cost a gateway. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, it } from "vitest";
import { createNodeCrypto } from "../../src/program/crypto-node.ts";
import { createLog } from "../../src/program/log.ts";
import { parseLogFilter } from "../../src/program/log-filter.ts";
import { createCrowd } from "./crowd.ts";

/** Longer than until a client is idle: 20 s without data (SN-75). */
const IDLE_MS = 30_000;
/** So that the code is compiled, and tables have their first size. */
const BEFORE = 32;
const MORE = 64;
/** Measured: 22 and 23, with what is compiled meanwhile; 32 when each log and agent had functions of its own. */
const KIB_EACH_MAX = 27;

it("G-14: an idle client with a path, a session and a grant takes little of the gateway's heap", async () => {
  const crowd = createCrowd({ crypto: createNodeCrypto(), clientsMax: 128, log: infoLog() });
  const add = (count: number): void => {
    crowd.connect(count);
    crowd.run(IDLE_MS);
  };
  add(BEFORE);
  crowd.letClientsGo();
  const before = await livingBytes();
  add(MORE);
  crowd.letClientsGo();
  const kibEach = ((await livingBytes()) - before) / MORE / 1024;
  expect(crowd.established()).toBe(BEFORE + MORE);
  expect(kibEach).toBeLessThan(KIB_EACH_MAX);
}, 60_000);

describe("a gateway with little time", () => {
  /** Some 6 ms for a client in all, as measured. */
  const work = { datagramMs: 0.1, clientMs: 3 };
  /** So many come at once: until all are connected, or a minute is over. */
  const setUp = (clients: number) => {
    const crowd = createCrowd({ crypto: createNodeCrypto(), clientsMax: 1_024, work });
    crowd.connect(clients);
    let ms = 0;
    for (; crowd.established() < clients && ms < 60_000; ms += 100) crowd.run(100);
    return { rate: (clients * 1000) / ms, established: crowd.established(), failed: crowd.failed() };
  };

  it("TN-122: sets up 160 that come at once as fast as 64, and none fails", () => {
    // With all of them under way: 27 a second.
    const [few, many] = [setUp(64), setUp(160)];
    expect([few, many].map(({ established, failed }) => [established, failed])).toEqual([
      [64, 0],
      [160, 0],
    ]);
    expect(many.rate).toBeGreaterThan(0.8 * few.rate);
  }, 60_000);
});

/** As a program's, so that its scopes are counted, too. */
function infoLog() {
  const filter = parseLogFilter("info");
  if (!filter.ok) throw new Error(filter.reason);
  const clocks = { wallMs: () => 0, monotonicMs: () => 0 };
  return createLog({ filter: filter.value, format: "human", write: () => {}, ...clocks }).log;
}

/** Of the heap and of byte arrays beside it, when nothing is left to collect. */
async function livingBytes(): Promise<number> {
  setFlagsFromString("--expose-gc");
  const collect: () => void = runInNewContext("gc");
  for (let i = 0; i < 3; i++) {
    collect();
    // What is finalised is free at the next turn of the loop.
    await new Promise((resolve) => setImmediate(resolve));
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
