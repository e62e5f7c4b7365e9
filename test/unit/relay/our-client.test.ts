/** The relay client of our own with the relay's machine, datagram by datagram. */
import { describe, expect, it } from "vitest";
import { createSeededRandom } from "../../../src/base/index.ts";
import { createRelayClient, type RelayClient, relayPassword } from "../../../src/turn/index.ts";
import { at, createWorld, REALM, SECRET, START_UNIX, saltOf, type World } from "./relay-world.ts";

const OWN = at("192.0.2.1:51820");
const SERVER = at("198.51.100.7:3478");

interface Pair {
  readonly client: RelayClient;
  /** Datagrams of the client's on their way to the relay, oldest first. */
  readonly sent: Uint8Array[];
  /** The relay gets the oldest one; its answer reaches the client at once. */
  deliver(): void;
  collect(): void;
}

function createPair(world: World): Pair {
  const salt = saltOf("alice");
  const expiry = START_UNIX / 1000 + 86_400;
  const client = createRelayClient({
    servers: { v4: SERVER },
    credentials: { username: `${expiry}:${salt}`, password: relayPassword(SECRET, { expiry, salt }) },
    realm: REALM,
    dialect: "strict",
    software: "postern/test",
    random: createSeededRandom(7),
    now: world.now,
    unixNow: world.unix(),
  });
  const pair: Pair = {
    client,
    sent: [],
    deliver() {
      const datagram = pair.sent.shift();
      const message = datagram && world.send(OWN, datagram);
      if (message !== undefined) client.handleStun(world.now, { from: SERVER, local: OWN, message });
      pair.collect();
    },
    collect() {
      for (let next = client.pollTransmit(); next !== undefined; next = client.pollTransmit())
        pair.sent.push(next.datagram);
    },
  };
  pair.collect();
  return pair;
}

describe("the relay client and the relay", () => {
  it.each([0, 1, 2, 3])(
    "RL-113: closed after %i exchanges of its beginning it leaves no allocation behind",
    (exchanges) => {
      const world = createWorld();
      const pair = createPair(world);
      for (let i = 0; i < exchanges; i++) pair.deliver();
      expect(pair.client.state()).toBe(["probing", "allocating", "allocating", "active"][exchanges]);
      pair.client.close(world.now);
      pair.collect();
      while (pair.sent.length > 0) pair.deliver();
      expect(world.server.stats()).toMatchObject({ allocations: 0, pending: 0 });
      // One allocation was made, if it was asked for with a nonce, and its port is free again.
      const kinds = world.commands.map(({ kind }) => kind);
      expect(kinds).toEqual(exchanges < 2 ? [] : ["bind-port", "free-port"]);
    },
  );
});
