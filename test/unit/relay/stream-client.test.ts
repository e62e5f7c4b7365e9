/** Clients that come by a stream: the bridge's address is theirs (RL-202, RL-206). */
import { describe, expect, it } from "vitest";
import { codeOf, createClient, createWorld, portOf, UDP } from "./relay-world.ts";

const BRIDGE = "127.64.0.1:40000";
const PEER = "203.0.113.9:40000";

describe("the client of a stream", () => {
  it("RL-202: its allocation and its bindings go with the stream, and nothing cools", () => {
    const world = createWorld();
    const client = createClient(world, BRIDGE);
    const port = portOf(client.allocate());
    client.bind(0x4000, PEER);
    world.commands.length = 0;
    world.server.handleStreamEnd(world.now, client.address);
    world.drain();
    expect(world.commands.map(({ kind }) => kind)).toEqual(["remove-binding", "free-port"]);
    expect(world.commands[1]).toEqual({ kind: "free-port", port, families: [4] });
    expect(world.server.stats()).toMatchObject({ allocations: 0, boundChannels: 0, coolingChannels: 0 });
    expect(codeOf(createClient(world, BRIDGE).allocate())).toBe("success");
  });

  it("RL-202: a stream that ends while its port is being bound leaves no port behind", () => {
    const world = createWorld({ ports: { lowest: 50_000, highest: 50_000 } });
    const client = createClient(world, BRIDGE);
    world.onBind = () => undefined;
    client.allocate();
    world.server.handleStreamEnd(world.now, client.address);
    const [command] = world.commands;
    if (command?.kind !== "bind-port") throw new Error("no port is bound");
    world.server.handlePortBound(world.now, { token: command.token, result: "ok" });
    expect(world.drain()).toEqual([]);
    expect(world.commands[1]).toEqual({ kind: "free-port", port: 50_000, families: [4] });
    world.onBind = () => "ok";
    expect(codeOf(createClient(world, "127.64.0.2:40000").allocate())).toBe("success");
  });

  it("RL-202: the end of a stream without an allocation changes nothing", () => {
    const world = createWorld();
    world.server.handleStreamEnd(world.now, createClient(world, BRIDGE).address);
    world.drain();
    expect(world.commands).toEqual([]);
  });

  it("RL-17: a user has one allocation by UDP and one by stream, each replaced by its like", () => {
    const world = createWorld();
    const [stream, udp] = [createClient(world, BRIDGE), createClient(world, "192.0.2.1:51820")];
    expect(codeOf(stream.allocate())).toBe("success");
    expect(codeOf(udp.allocate())).toBe("success");
    expect(codeOf(stream.refresh())).toBe("success");
    expect(codeOf(createClient(world, "127.127.255.254:1").allocate(UDP))).toBe("success");
    expect(codeOf(stream.refresh())).toBe(437);
    expect(codeOf(udp.refresh())).toBe("success");
  });
});
