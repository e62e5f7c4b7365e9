import { describe, expect, it } from "vitest";
import { createDuo } from "./duo.ts";
import { createWorld } from "./world.ts";

describe("two nodes with host candidates", () => {
  it("SN-137, SN-138: connect without a relay and carry packets", () => {
    const world = createWorld(1);
    const duo = createDuo(world);
    duo.connect();
    const at = world.runUntil(() => duo.isEstablished(duo.client) && duo.isEstablished(duo.gateway), 3_000);
    expect(at).toBeDefined();
    for (let i = 0; i < 10; i++) {
      duo.send(duo.client, i);
      duo.send(duo.gateway, 100 + i);
    }
    world.run(1_000);
    expect(duo.gateway.received).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(duo.client.received).toEqual([100, 101, 102, 103, 104, 105, 106, 107, 108, 109]);
  });
});
