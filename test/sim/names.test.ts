/** A name, from the question to packets that go both ways, with both ends' machines and planes (TN-45 to TN-73). */
import { beforeEach, describe, expect, it } from "vitest";
import { type IpAddress, ip } from "../../src/base/index.ts";
import { encodeQuery, parseResponse, TYPE, toName } from "../../src/dns/index.ts";
import { encodeEchoRequest, encodeUdp, viewPacket } from "../../src/packet/index.ts";
import { DEFAULT_PLANE, PLANE_KINDS, type PlaneKind } from "../twin/driven-plane.ts";
import { type Access, CID, contents, createAccess } from "./access.ts";
import { createWorld } from "./world.ts";

const WIKI = "00000000-0000-4000-8000-0000000000d1";
const GIT = "00000000-0000-4000-8000-0000000000d2";
const CLIENT = ip("100.64.0.2");
const SENTINEL = ip("100.100.111.1");
const REAL = ip("198.51.100.7");
const PORT = 40_000;

let kind: PlaneKind = DEFAULT_PLANE;

function createOffice(seed = 1): Access {
  const access = createAccess(createWorld(seed), kind);
  access.init({ [WIKI]: "*.wiki.example", [GIT]: "git.example" });
  access.records.set("a.wiki.example", ["198.51.100.7"]);
  access.records.set("git.example", ["198.51.100.7"]);
  return access;
}

function udp(from: IpAddress, fromPort: number, to: IpAddress, toPort: number, body: Uint8Array | number) {
  const payload = typeof body === "number" ? Uint8Array.of(body) : body;
  const made = encodeUdp({ address: from, port: fromPort }, { address: to, port: toPort }, payload);
  if (!made.ok) throw new Error(made.reason);
  return made.value;
}

/** Asks the resolver, which answers at once. */
function resolve(access: Access, text: string, type: number = TYPE.A): readonly IpAddress[] {
  const name = toName(text);
  if (name === undefined) throw new Error("no name");
  const before = access.client.delivered.length;
  access.send(access.client, udp(CLIENT, 5_353, SENTINEL, 53, encodeQuery({ id: 7, name, type })));
  const answer = access.client.delivered[before];
  if (answer === undefined) throw new Error("no answer");
  const response = parseResponse(viewPacket(answer).transport.slice(8), { id: 7, name, type });
  return response.ok ? response.value.addresses : [];
}

/** Packets that the plane hands to an end's control from now on. */
function countPunts({ tunnel }: Access["client"] | Access["gateway"]): () => number {
  let count = 0;
  const handle = tunnel.handlePunt;
  tunnel.handlePunt = (now, punt) => {
    count++;
    handle(now, punt);
  };
  return () => count;
}

/** Runs until the gateway has written so many packets. */
function arrived(access: Access, count: number, withinMs = 3_000): readonly Uint8Array[] {
  access.world.runUntil(() => access.gateway.delivered.length >= count, withinMs);
  return access.gateway.delivered;
}

describe.each(PLANE_KINDS)("names, on the plane as %s (SN-130)", (plane) => {
  beforeEach(() => {
    kind = plane;
  });

  it("DN-40, TN-31, TN-46: a name is answered at once; its first packets wait for access and arrive in order", () => {
    const access = createOffice();
    const proxies = resolve(access, "a.wiki.example");
    expect(proxies).toEqual(["100.96.0.1", "100.96.0.2", "100.96.0.3", "100.96.0.4"].map(ip));
    expect(access.intents).toEqual([]);
    const [proxy = SENTINEL] = proxies;
    for (let i = 0; i < 30; i++) {
      access.world.at(i * 10, () => access.send(access.client, udp(CLIENT, PORT, proxy, 53, i)));
    }
    expect(arrived(access, 30)).toEqual(Array.from({ length: 30 }, (_, i) => udp(CLIENT, PORT, REAL, 53, i)));
    expect(access.intents).toEqual([WIKI]);
    expect(access.lookups).toEqual(["a.wiki.example"]);
  });

  it("TN-67, TN-85: what comes back is translated; a known flow reaches control on neither side", () => {
    const access = createOffice();
    const [proxy = SENTINEL] = resolve(access, "a.wiki.example");
    access.send(access.client, udp(CLIENT, PORT, proxy, 53, 0));
    arrived(access, 1);
    const before = access.client.delivered.length;
    access.send(access.gateway, udp(REAL, 53, CLIENT, PORT, 1));
    access.world.run(100);
    expect(access.client.delivered.slice(before)).toEqual([udp(proxy, 53, CLIENT, PORT, 1)]);
    // The flow is linked by the first packet that the plane asks about by flow.
    access.send(access.client, udp(CLIENT, PORT, proxy, 53, 2));
    access.world.run(100);
    const punted = [access.client, access.gateway].map(countPunts);
    for (let i = 3; i < 20; i++) {
      access.send(access.client, udp(CLIENT, PORT, proxy, 53, i));
      access.send(access.gateway, udp(REAL, 53, CLIENT, PORT, i));
    }
    access.world.run(200);
    expect(access.gateway.delivered).toHaveLength(19);
    expect(punted.map((count) => count())).toEqual([0, 0]);
  });

  it("TN-65: two names behind one real address: the same port twice, and no answer mixed up", () => {
    const access = createOffice();
    const [wiki = SENTINEL] = resolve(access, "a.wiki.example");
    const [git = SENTINEL] = resolve(access, "git.example");
    access.send(access.client, udp(CLIENT, PORT, wiki, 53, 1));
    arrived(access, 1);
    access.send(access.client, udp(CLIENT, PORT, git, 53, 2));
    const [, second] = arrived(access, 2);
    expect(second).toEqual(udp(CLIENT, PORT + 1, REAL, 53, 2));
    const before = access.client.delivered.length;
    access.send(access.gateway, udp(REAL, 53, CLIENT, PORT, 1));
    access.send(access.gateway, udp(REAL, 53, CLIENT, PORT + 1, 2));
    access.world.run(100);
    expect(access.client.delivered.slice(before)).toEqual([
      udp(wiki, 53, CLIENT, PORT, 1),
      udp(git, 53, CLIENT, PORT, 2),
    ]);
  });

  it("TN-48, TN-61 row 9, TN-64: a name that is not there, and a family that it has not, are unreachable", () => {
    const access = createOffice();
    access.records.delete("git.example");
    const [git = SENTINEL] = resolve(access, "git.example");
    const before = access.client.delivered.length;
    access.send(access.client, udp(CLIENT, PORT, git, 53, 1));
    access.world.run(3_000);
    expect(contents(access.client.delivered.slice(before))).toEqual(["unreachable"]);
    expect(access.gateway.delivered).toEqual([]);
    // Unrelated queries leave it alone; one for it asks again, and its packets wait for the answer.
    access.records.set("git.example", ["198.51.100.9"]);
    access.world.run(5_000);
    resolve(access, "a.wiki.example");
    access.world.run(500);
    expect(access.lookups).toEqual(["git.example"]);
    resolve(access, "git.example");
    access.send(access.client, udp(CLIENT, PORT + 1, git, 53, 2));
    expect(arrived(access, 1)).toEqual([udp(CLIENT, PORT + 1, ip("198.51.100.9"), 53, 2)]);
    const [git6 = SENTINEL] = resolve(access, "git.example", TYPE.AAAA);
    expect(git6).toHaveLength(16);
    const made = encodeEchoRequest({
      ...{ source: ip("fd00:2021:1111::2"), destination: git6 },
      ...{ identifier: 1, sequence: 1, body: new Uint8Array(4) },
    });
    if (!made.ok) throw new Error(made.reason);
    const last = access.client.delivered.length;
    access.send(access.client, made.value);
    access.world.run(200);
    const [refusal] = access.client.delivered.slice(last);
    expect(refusal?.subarray(40, 42)).toEqual(Uint8Array.of(1, 3));
  });

  it("TN-56, TN-58: the gateway's filters judge a name's packets by its port", () => {
    const access = createOffice();
    const filters = [{ protocol: "udp", firstPort: 53, lastPort: 53 }] as const;
    access.answers.set(GIT, { kind: "grant", filters });
    const [git = SENTINEL] = resolve(access, "git.example");
    const before = access.client.delivered.length;
    access.send(access.client, udp(CLIENT, PORT, git, 54, 1));
    access.send(access.client, udp(CLIENT, PORT, git, 53, 2));
    expect(arrived(access, 1)).toEqual([udp(CLIENT, PORT, REAL, 53, 2)]);
    access.world.run(200);
    expect(contents(access.client.delivered.slice(before))).toEqual(["prohibited"]);
  });

  it("TN-54, TN-82: revoked, a flow at full rate is prohibited at once, and nothing of it arrives", () => {
    const access = createOffice();
    const [wiki = SENTINEL] = resolve(access, "a.wiki.example");
    const [git = SENTINEL] = resolve(access, "git.example");
    for (const proxy of [wiki, git]) {
      access.send(access.client, udp(CLIENT, PORT, proxy, 53, 0));
      access.world.run(3_000);
    }
    const flow = (i: number) => access.send(access.client, udp(CLIENT, PORT, wiki, 53, i));
    for (let i = 1; i < 10; i++) flow(i);
    access.world.run(200);
    const [arrivedBefore, toldBefore] = [access.gateway.delivered.length, access.client.delivered.length];
    access.apply(access.gateway, ({ tunnel }) =>
      tunnel.handlePortalMessage(access.world.now(), { kind: "reject-access", cid: CID, rid: WIKI }),
    );
    for (let i = 10; i < 20; i++) flow(i);
    access.world.run(200);
    expect(access.gateway.delivered).toHaveLength(arrivedBefore);
    const told = contents(access.client.delivered.slice(toldBefore));
    expect(new Set(told)).toEqual(new Set(["prohibited"]));
    // The other name goes on.
    access.send(access.client, udp(CLIENT, PORT, git, 53, 1));
    access.world.run(200);
    expect(access.gateway.delivered).toHaveLength(arrivedBefore + 1);
  });

  it("TN-21: a proxy address that stands for nothing is unreachable, whatever else is there", () => {
    const access = createOffice();
    access.init({ [WIKI]: "*.wiki.example", [GIT]: "100.0.0.0/8" });
    const before = access.client.delivered.length;
    access.send(access.client, udp(CLIENT, PORT, ip("100.96.0.77"), 53, 1));
    expect(contents(access.client.delivered.slice(before))).toEqual(["unreachable"]);
    expect(access.intents).toEqual([]);
  });

  it("TN-26, TN-43: the last name's removal closes the gateway; its addresses stay, and are unreachable", () => {
    const access = createOffice();
    const [git = SENTINEL] = resolve(access, "git.example");
    access.send(access.client, udp(CLIENT, PORT, git, 53, 0));
    arrived(access, 1);
    access.init({ [WIKI]: "*.wiki.example" });
    access.world.run(500);
    expect(access.gateway.events.at(-1)).toEqual({ kind: "disconnected", cid: CID });
    const before = access.client.delivered.length;
    access.send(access.client, udp(CLIENT, PORT, git, 53, 1));
    expect(contents(access.client.delivered.slice(before))).toEqual(["unreachable"]);
    access.init({ [WIKI]: "*.wiki.example", [GIT]: "git.example" });
    expect(resolve(access, "git.example")[0]).toEqual(git);
  });
});
