import { describe, expect, it } from "vitest";
import { contents, createAccess, testPacket } from "./access.ts";
import { createDuo, isEstablished } from "./duo.ts";
import { createWorld } from "./world.ts";

const OFFICE = "00000000-0000-4000-8000-0000000000a1";
const SERVER = "172.20.0.9";
const CLIENT = "100.64.0.2";
const SEEDS = 100;

/** From the first packet to the first answer, with a packet every 100 ms and a server that echoes. */
function setUpMs(seed: number): number {
  const world = createWorld(seed);
  const access = createAccess(world);
  access.init({ [OFFICE]: "172.20.0.0/16" });
  access.client.host.link = { ...access.client.host.link, loss: 0.2 };
  const start = world.now();
  let echoed = 0;
  const echo = (): void => {
    for (; echoed < access.gateway.delivered.length; echoed++) {
      access.send(access.gateway, testPacket(SERVER, CLIENT, echoed));
    }
  };
  for (let i = 0; i < 300; i++) {
    world.at(i * 100, () => access.send(access.client, testPacket(CLIENT, SERVER, i & 0xff)));
    for (let ms = 0; ms < 100; ms += 5) world.at(i * 100 + ms, echo);
  }
  const at = world.runUntil(
    () => contents(access.client.delivered).some((n) => typeof n === "number"),
    30_000,
  );
  return (at ?? Number.POSITIVE_INFINITY) - start;
}

describe("setting up under loss", () => {
  it("WG-75, SN-140, SN-144: at 20 % each way, 99 of 100 connections stand within 2 s, 95 within 1 s", {
    timeout: 60_000,
  }, () => {
    const times = Array.from({ length: SEEDS }, (_, seed) => setUpMs(seed)).sort((a, b) => a - b);
    expect(times.filter((ms) => ms <= 2_000).length).toBeGreaterThanOrEqual(99);
    expect(times.filter((ms) => ms <= 1_000).length).toBeGreaterThanOrEqual(95);
  });

  it("WG-77: at 20 % each way, the gateway of 99 in 100 can send 2 s after its client, without any data", () => {
    const late = Array.from({ length: SEEDS }, (_, seed) => {
      const world = createWorld(seed);
      const { client, gateway, ...duo } = createDuo(world, { client: { link: { loss: 0.2 } } });
      duo.connect();
      expect(world.runUntil(() => isEstablished(client), 30_000)).toBeDefined();
      return world.runUntil(() => isEstablished(gateway), 2_000) === undefined;
    });
    expect(late.filter((isLate) => isLate).length).toBeLessThanOrEqual(1);
  });
});
