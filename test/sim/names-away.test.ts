/** Names while something is away: the portal, the name itself (DN-40, TN-46 to TN-48; dns.md §17). */
import { describe, expect, it } from "vitest";
import { type IpAddress, ip } from "../../src/base/index.ts";
import { encodeQuery, parseResponse, TYPE, toName } from "../../src/dns/index.ts";
import { encodeUdp, viewPacket } from "../../src/packet/index.ts";
import { type Access, contents, createAccess } from "./access.ts";
import { createWorld } from "./world.ts";

const WIKI = "00000000-0000-4000-8000-0000000000d1";
const CLIENT = ip("100.64.0.2");
const SENTINEL = ip("100.100.111.1");
const PORT = 40_000;

function udp(from: IpAddress, fromPort: number, to: IpAddress, toPort: number, payload: Uint8Array) {
  const made = encodeUdp({ address: from, port: fromPort }, { address: to, port: toPort }, payload);
  if (!made.ok) throw new Error(made.reason);
  return made.value;
}

function resolve(access: Access, text: string): readonly IpAddress[] {
  const name = toName(text);
  if (name === undefined) throw new Error("no name");
  const before = access.client.delivered.length;
  const query = encodeQuery({ id: 7, name, type: TYPE.A });
  access.send(access.client, udp(CLIENT, 5_353, SENTINEL, 53, query));
  const answer = access.client.delivered[before];
  if (answer === undefined) throw new Error("no answer");
  const response = parseResponse(viewPacket(answer).transport.slice(8), { id: 7, name, type: TYPE.A });
  return response.ok ? response.value.addresses : [];
}

/** A name is asked for, and a packet goes to it. */
function use(access: Access, text: string): void {
  const [proxy] = resolve(access, text);
  if (proxy !== undefined) access.send(access.client, udp(CLIENT, PORT, proxy, 53, Uint8Array.of(1)));
}

function createOffice(): Access {
  const access = createAccess(createWorld(1));
  access.init({ [WIKI]: "*.wiki.example" });
  return access;
}

describe("names while something is away", () => {
  it("§17, TN-46, TN-48: a name without records asked once is not asked for ever", () => {
    const access = createOffice();
    access.records.set("there.wiki.example", ["198.51.100.7"]);
    use(access, "gone.wiki.example");
    access.world.run(3_000);
    expect(access.lookups).toEqual(["gone.wiki.example"]);
    // An hour of queries for another name: nothing is sent for the one that failed.
    for (let minute = 0; minute < 60; minute++) {
      resolve(access, "there.wiki.example");
      access.world.run(60_000);
    }
    expect(access.lookups.filter((name) => name.startsWith("gone"))).toHaveLength(1);
    // Its own query asks again, exactly once; its packets are refused meanwhile.
    const before = access.client.delivered.length;
    resolve(access, "gone.wiki.example");
    access.world.run(3_000);
    resolve(access, "there.wiki.example");
    access.world.run(3_000);
    expect(access.lookups.filter((name) => name.startsWith("gone"))).toHaveLength(2);
    use(access, "gone.wiki.example");
    access.world.run(3_000);
    expect(contents(access.client.delivered.slice(before))).toContain("unreachable");
  });

  it("§17, DN-40: a name is answered while the portal is away, and known ones are reached", () => {
    const access = createOffice();
    access.records.set("a.wiki.example", ["198.51.100.7"]);
    access.records.set("b.wiki.example", ["198.51.100.8"]);
    use(access, "a.wiki.example");
    access.world.runUntil(() => access.gateway.delivered.length > 0, 5_000);
    // From here on the portal hears nothing, and says nothing.
    const { intents } = access;
    access.answers.set(WIKI, { kind: "refuse", reason: "offline" });
    const asked = intents.length;
    use(access, "b.wiki.example");
    access.world.runUntil(() => access.gateway.delivered.length > 1, 5_000);
    expect(access.gateway.delivered).toHaveLength(2);
    expect(intents).toHaveLength(asked);
    expect(resolve(access, "c.wiki.example")).toHaveLength(4);
  });

  it("§17, DN-40: before the portal is reached at all, addresses are given without a connection", () => {
    const access = createOffice();
    access.answers.set(WIKI, { kind: "client-only" });
    const before = access.client.delivered.length;
    expect(resolve(access, "a.wiki.example")).toHaveLength(4);
    expect(access.intents).toEqual([]);
    expect(access.client.delivered).toHaveLength(before + 1);
  });
});
