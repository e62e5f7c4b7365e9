/** Queries of a client's resolver through the tunnel, with both ends' machines and planes (DN-66 to DN-69, TN-38). */
import { beforeEach, describe, expect, it } from "vitest";
import { concatBytes, createSeededRandom, formatIp, type IpAddress, ip } from "../../src/base/index.ts";
import { encodeQuery, parseMessage, TYPE, toName } from "../../src/dns/index.ts";
import { encodeRefusal, encodeUdp, viewPacket } from "../../src/packet/index.ts";
import { createTcpHost } from "../../src/tcp/index.ts";
import { DEFAULT_PLANE, PLANE_KINDS, type PlaneKind } from "../twin/driven-plane.ts";
import { type Access, createAccess } from "./access.ts";
import { createWorld } from "./world.ts";

const WIKI = "00000000-0000-4000-8000-0000000000d1";
const OFFICE = "00000000-0000-4000-8000-0000000000d2";
const CLIENT = ip("100.64.0.2");
const SENTINEL = ip("100.100.111.1");
const SERVER = ip("10.1.0.53");
const PORT = 40_000;

let kind: PlaneKind = DEFAULT_PLANE;

/** A name of a resource, and the portal's own server inside of another one. */
function createOffice(seed = 1): Access {
  const access = createAccess(createWorld(seed), kind);
  access.init({ [WIKI]: "*.wiki.example", [OFFICE]: "10.1.0.0/16" });
  const own = { ipv4: CLIENT, ipv6: ip("fd00:2021:1111::2") };
  access.apply(access.client, ({ tunnel }) =>
    tunnel.handlePortalMessage(access.world.now(), {
      kind: "config-changed",
      interface: { ...own, upstreamDo53: [SERVER], upstreamDoh: [] },
    }),
  );
  return access;
}

function udp(from: IpAddress, fromPort: number, to: IpAddress, toPort: number, payload: Uint8Array) {
  const made = encodeUdp({ address: from, port: fromPort }, { address: to, port: toPort }, payload);
  if (!made.ok) throw new Error(made.reason);
  return made.value;
}

function queryOf(text: string, type: number): Uint8Array {
  const name = toName(text);
  if (name === undefined) throw new Error("no name");
  return encodeQuery({ id: 7, name, type });
}

const ask = (access: Access, name: string, type: number = TYPE.A): void =>
  access.send(access.client, udp(CLIENT, PORT, SENTINEL, 53, queryOf(name, type)));

/** What has come to the client's device: the answers, by their code and number of records. */
function answers({ client }: Access): readonly string[] {
  return client.delivered.flatMap((packet) => {
    const { protocol, ports, transport } = viewPacket(packet);
    if (protocol !== 17 || ports?.source !== 53 || ports.destination !== PORT) return [];
    const message = parseMessage(transport.slice(8));
    return message.ok ? [`${message.value.header.rcode}: ${message.value.answers.length}`] : ["malformed"];
  });
}

/** A query as the gateway has written it to its device. */
function arrived(access: Access, count = 1) {
  access.world.runUntil(() => access.gateway.delivered.length >= count, 8_000);
  const packet = access.gateway.delivered[count - 1];
  if (packet === undefined) throw new Error("nothing arrived");
  const { source, destination, ports = { source: 0, destination: 0 }, transport } = viewPacket(packet);
  return { packet, source, destination, ports, query: transport.slice(8) };
}

/** Text, behind a pointer to the question. */
function answerTo(query: Uint8Array): Uint8Array {
  const record = Uint8Array.of(0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 100, 0, 3, 2, 0x68, 0x69);
  const answer = concatBytes(query, record);
  answer.set([0x81, 0x80], 2);
  answer.set([0, 1], 6);
  return answer;
}

describe.each(PLANE_KINDS)("queries through the tunnel, on the plane as %s (SN-130)", (plane) => {
  beforeEach(() => {
    kind = plane;
  });

  it("DN-66, TN-31, TN-38: a name's text is asked at its site, and the answer is the resolver's", () => {
    const access = createOffice();
    ask(access, "a.wiki.example", TYPE.TXT);
    const { source, destination, ports, query } = arrived(access);
    expect(access.intents).toEqual([WIKI]);
    expect([source, destination].map(formatIp)).toEqual(["100.64.0.2", "100.64.0.1"]);
    expect(ports.destination).toBe(53_535);
    access.send(access.gateway, udp(destination, 53_535, source, ports.source, answerTo(query)));
    access.world.run(200);
    expect(answers(access)).toEqual(["0: 1"]);
    // Nothing of it was for the host.
    expect(access.client.delivered.map((packet) => formatIp(viewPacket(packet).source))).toEqual([
      "100.100.111.1",
    ]);
    // The connection is there by now: the next one is asked at once, by it.
    ask(access, "b.wiki.example", TYPE.TXT);
    expect(arrived(access, 2).ports.destination).toBe(53_535);
    expect(access.intents).toEqual([WIKI]);
  });

  it("DN-67: a server inside of a resource is asked by the resource's gateway", () => {
    const access = createOffice();
    ask(access, "elsewhere.example");
    const { source, destination, ports, query } = arrived(access);
    expect(access.intents).toEqual([OFFICE]);
    expect([formatIp(destination), ports.destination]).toEqual(["10.1.0.53", 53]);
    access.send(access.gateway, udp(destination, 53, source, ports.source, answerTo(query)));
    access.world.run(200);
    expect(answers(access)).toEqual(["0: 1"]);
  });

  it("DN-66, TN-32: refused by the portal, by a filter, or by a router: SERVFAIL at once", () => {
    const refused = createOffice();
    for (const rid of [WIKI, OFFICE]) refused.answers.set(rid, { kind: "refuse", reason: "forbidden" });
    ask(refused, "a.wiki.example", TYPE.TXT);
    ask(refused, "elsewhere.example");
    refused.world.run(500);
    expect(answers(refused)).toEqual(["2: 0", "2: 0"]);
    const filtered = createOffice();
    filtered.answers.set(OFFICE, {
      kind: "grant",
      filters: [{ protocol: "tcp", firstPort: 443, lastPort: 443 }],
    });
    ask(filtered, "elsewhere.example");
    filtered.world.runUntil(() => answers(filtered).length > 0, 3_000);
    expect(answers(filtered)).toEqual(["2: 0"]);
    const unheard = createOffice();
    ask(unheard, "elsewhere.example");
    const { packet } = arrived(unheard);
    const error = encodeRefusal(packet, "port-unreachable");
    if (error === undefined) throw new Error("an error");
    unheard.send(unheard.gateway, error);
    unheard.world.run(200);
    expect(answers(unheard)).toEqual(["2: 0"]);
    // The host hears nothing of errors about packets that are not its own.
    expect(unheard.client.delivered).toHaveLength(1);
  });

  it("TN-38: a program that asks by a port of the resolver gets its answer", () => {
    const access = createOffice();
    access.send(access.client, udp(CLIENT, 61_234, SERVER, 53, Uint8Array.of(1)));
    arrived(access);
    const answer = udp(SERVER, 53, CLIENT, 61_234, Uint8Array.of(2));
    access.send(access.gateway, answer);
    access.world.run(200);
    expect(access.client.delivered).toEqual([answer]);
  });

  it("DN-69: over TCP as over UDP", () => {
    const access = createOffice();
    const random = createSeededRandom(5);
    const program = createTcpHost({ random, admit: () => "refuse" });
    const server = createTcpHost({ random, admit: () => "accept" });
    const told: Uint8Array[] = [];
    const [taken, heard] = [
      { client: 0, gateway: 0 },
      { opened: "", count: 0 },
    ];
    const now = () => access.world.now();
    const id = program.connect(now(), { address: CLIENT, port: PORT }, { address: SENTINEL, port: 53 });
    const query = queryOf("a.wiki.example", TYPE.TXT);
    let isSent = false;
    const turn = (): void => {
      for (; taken.client < access.client.delivered.length; taken.client++)
        program.handlePacket(now(), access.client.delivered[taken.client] ?? query);
      for (; taken.gateway < access.gateway.delivered.length; taken.gateway++)
        server.handlePacket(now(), access.gateway.delivered[taken.gateway] ?? query);
      for (let event = program.pollEvent(); event; event = program.pollEvent())
        if (event.kind === "data") told.push(event.bytes);
      for (let event = server.pollEvent(); event; event = server.pollEvent()) {
        if (event.kind === "opened") heard.opened = `${formatIp(event.local.address)}:${event.local.port}`;
        if (event.kind !== "data") continue;
        const answer = answerTo(event.bytes.slice(2));
        server.send(now(), event.id, concatBytes(Uint8Array.of(0, answer.length), answer));
      }
      if (!isSent) program.send(now(), id ?? 0, concatBytes(Uint8Array.of(0, query.length), query));
      isSent = true;
      for (let packet = program.pollPacket(); packet; packet = program.pollPacket())
        access.send(access.client, packet);
      for (let packet = server.pollPacket(); packet; packet = server.pollPacket())
        access.send(access.gateway, packet);
    };
    for (let i = 0; i < 400 && told.length === 0; i++) {
      turn();
      access.world.run(10);
    }
    expect(heard.opened).toBe("100.64.0.1:53535");
    expect(told.map((bytes) => [bytes[3], bytes[4], bytes[5]])).toEqual([[7, 0x81, 0x80]]);
  });
});
