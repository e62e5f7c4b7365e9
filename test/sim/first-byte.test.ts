/** How long the first byte of a new name takes whose resource is authorised on a connected gateway (issue on names). */
import { describe, expect, it } from "vitest";
import { type IpAddress, ip } from "../../src/base/index.ts";
import { encodeQuery, parseResponse, TYPE, toName } from "../../src/dns/index.ts";
import { encodeUdp, viewPacket } from "../../src/packet/index.ts";
import { PLANE_KINDS } from "../twin/driven-plane.ts";
import { tcp } from "../unit/plane/packets.ts";
import { type Access, type ClientEnd, createAccess, type GatewayEnd } from "./access.ts";
import { createWorld } from "./world.ts";

const WIKI = "00000000-0000-4000-8000-0000000000d1";
const CLIENT = ip("100.64.0.2");
const SENTINEL = ip("100.100.111.1");
const REAL = ip("198.51.100.7");
const PORTS = [40_000, 80] as const;
/** Between the two hosts, both ways. */
const ROUND_TRIP_MS = 40;
/** What the gateway's resolver takes in this world. */
const LOOKUP_MS = 20;
const [SYN, ACK, PSH] = [0x02, 0x10, 0x08];

function ask(access: Access, text: string, type: number) {
  const name = toName(text);
  if (name === undefined) throw new Error("no name");
  const before = access.client.delivered.length;
  const query = encodeQuery({ id: 7, name, type });
  const packet = encodeUdp({ address: CLIENT, port: 5_353 }, { address: SENTINEL, port: 53 }, query);
  if (!packet.ok) throw new Error(packet.reason);
  access.send(access.client, packet.value);
  const answer = access.client.delivered[before];
  return answer && parseResponse(viewPacket(answer).transport.slice(8), { id: 7, name, type });
}

function resolve(access: Access, text: string): IpAddress {
  const response = ask(access, text, TYPE.A);
  const [address] = response?.ok ? response.value.addresses : [];
  if (address === undefined) throw new Error("no answer");
  return address;
}

/** When it has written one more packet, which is this one's flags. */
function next(
  access: Access,
  end: ClientEnd | GatewayEnd,
): { readonly flags: number; readonly source: IpAddress } {
  const before = end.delivered.length;
  access.world.runUntil(() => end.delivered.length > before, 5_000);
  const packet = end.delivered[before];
  if (packet === undefined) throw new Error("nothing arrived");
  const { transport, source } = viewPacket(packet);
  return { flags: transport[13] ?? 0, source: source.slice() };
}

/** A page of a name, as the host's TCP and the server's do it; how long it took from the query to its first byte. */
function fetchFirstByte(access: Access, name: string, port: number): number {
  const begun = access.world.now();
  const proxy = resolve(access, name);
  const out = { family: 4, source: CLIENT, destination: proxy, ports: [port, PORTS[1]] } as const;
  const back = { family: 4, source: REAL, destination: CLIENT, ports: [PORTS[1], port] } as const;
  const nothing = new Uint8Array(0);
  access.send(access.client, tcp(nothing, { ...out, flags: SYN }));
  expect(next(access, access.gateway).flags).toBe(SYN);
  access.send(access.gateway, tcp(nothing, { ...back, flags: SYN | ACK }));
  expect(next(access, access.client)).toEqual({ flags: SYN | ACK, source: proxy });
  access.send(access.client, tcp(Uint8Array.of(1), { ...out, flags: ACK | PSH }));
  expect(next(access, access.gateway).flags).toBe(ACK | PSH);
  access.send(access.gateway, tcp(Uint8Array.of(2), { ...back, flags: ACK | PSH }));
  expect(next(access, access.client)).toEqual({ flags: ACK | PSH, source: proxy });
  return access.world.now() - begun;
}

describe.each(PLANE_KINDS)("the first byte of a new name, on the plane as %s", (kind) => {
  it("TN-46, DN-40: three round trips and the gateway's lookup: one for the name, two of TCP", () => {
    const access = createAccess(createWorld(1), kind);
    access.init({ [WIKI]: "*.wiki.example" });
    for (const name of ["a", "b"]) access.records.set(`${name}.wiki.example`, ["198.51.100.7"]);
    // With access and connection to be made first it takes longer.
    expect(fetchFirstByte(access, "a.wiki.example", 40_000)).toBeGreaterThan(4 * ROUND_TRIP_MS);
    access.world.run(10_000);
    const intents = access.intents.length;
    expect(fetchFirstByte(access, "b.wiki.example", 41_000)).toBe(3 * ROUND_TRIP_MS + LOOKUP_MS);
    expect(access.intents).toHaveLength(intents);
    expect(access.lookups).toEqual(["a.wiki.example", "b.wiki.example"]);
    // Once it is known, TCP alone.
    access.world.run(5_000);
    expect(fetchFirstByte(access, "b.wiki.example", 42_000)).toBe(2 * ROUND_TRIP_MS);
  });

  it("TN-47, DN-41: the same when hints are asked for first", () => {
    const access = createAccess(createWorld(2), kind);
    access.init({ [WIKI]: "*.wiki.example" });
    for (const name of ["a", "b"]) access.records.set(`${name}.wiki.example`, ["198.51.100.7"]);
    fetchFirstByte(access, "a.wiki.example", 40_000);
    access.world.run(10_000);
    expect(ask(access, "b.wiki.example", TYPE.HTTPS)).toMatchObject({ ok: true, value: { rcode: 0 } });
    expect(access.lookups).toEqual(["a.wiki.example"]);
    expect(fetchFirstByte(access, "b.wiki.example", 41_000)).toBe(3 * ROUND_TRIP_MS + LOOKUP_MS);
    expect(access.lookups).toEqual(["a.wiki.example", "b.wiki.example"]);
  });
});
