import { describe, expect, it } from "vitest";
import { createSeededRandom, formatIp, instant, ip } from "../../../src/base/index.ts";
import { createResolver, encodeQuery, TYPE, toName } from "../../../src/dns/index.ts";
import { encodeUdp, viewPacket } from "../../../src/packet/index.ts";
import type { ClientResource } from "../../../src/portal/protocol/index.ts";
import { createTunnelClient, type TunnelClientEvent } from "../../../src/tunnel/index.ts";
import { createLoneFlows, createLoneTunnel, RID, SITE, START } from "./lone-tunnel.ts";

const OWN = { ipv4: ip("100.64.0.5"), ipv6: ip("fd00:2021:1111::5") };
const SENTINEL = ip("100.100.111.1");
const wiki: ClientResource = {
  kind: "dns",
  rid: RID,
  name: "Wiki",
  address: "*.corp",
  sites: [SITE],
  ipStack: "dual",
  filters: [],
};

function createClient(hasResolver = true) {
  const resolver = createResolver({ random: createSeededRandom(1) });
  const lone = createLoneTunnel<TunnelClientEvent, ReturnType<typeof createTunnelClient>>(
    "client",
    (connections) =>
      createTunnelClient({ connections, flows: createLoneFlows(), ...(hasResolver && { resolver }) }),
  );
  const tell = (resources: readonly ClientResource[]): void =>
    lone.apply((client) =>
      client.handlePortalMessage(START, {
        kind: "init",
        interface: { ...OWN, upstreamDo53: [], upstreamDoh: [], searchDomain: "corp" },
        resources,
        relays: [],
      }),
    );
  lone.apply((client) =>
    client.useResolver(START, (one) => one.handleSystemResolvers(START, [{ address: ip("192.0.2.53") }])),
  );
  tell([wiki]);
  const ask = (text: string, type: number = TYPE.A) => {
    const name = toName(text);
    if (name === undefined) throw new Error(`${text} is a name`);
    const query = encodeQuery({ id: 7, name, type });
    const packet = encodeUdp({ address: OWN.ipv4, port: 40_000 }, { address: SENTINEL, port: 53 }, query);
    if (!packet.ok) throw new Error(packet.reason);
    lone.commands.length = 0;
    lone.events.length = 0;
    lone.apply((client) => client.handlePunt(START, { reason: "first", packet: packet.value }));
  };
  const dnsEvents = () => lone.events.flatMap((event) => (event.kind === "dns" ? [event.event] : []));
  return { ...lone, tell, ask, dnsEvents, resolver };
}

describe("names at the client", () => {
  it("DN-24: the portal's interface and the resources reach the resolver", () => {
    const client = createClient();
    const changed = client.dnsEvents().filter(({ kind }) => kind === "mapping-changed");
    expect(changed.at(-1)).toMatchObject({ searchDomain: "corp", suffixes: ["corp"] });
    client.events.length = 0;
    client.tell([wiki]);
    expect(client.dnsEvents()).toEqual([]);
  });

  it("DN-58: a query to a sentinel is punted to control, and answered in the same turn", () => {
    const client = createClient();
    const tables = client.commands.findLast((command) => command.kind === "publish")?.tables;
    const targetOf = (range: string) =>
      tables?.routes.find(({ prefix }) => formatIp(prefix.address) === range)?.target.kind;
    expect(["100.100.111.0", "224.0.0.252", "ff02::1:3"].map(targetOf)).toEqual(["punt", "punt", "punt"]);
    client.ask("wiki.corp");
    expect(client.commands.map(({ kind }) => kind)).toEqual(["write-tun"]);
    const [answer] = client.commands;
    const view = answer?.kind === "write-tun" ? viewPacket(answer.packet) : undefined;
    expect(view && [formatIp(view.source), view.ports?.destination]).toEqual(["100.100.111.1", 40_000]);
    expect(client.resolver.proxiesOf("wiki.corp", RID)).toHaveLength(8);
    expect(client.dnsEvents()).toEqual([{ kind: "records-changed" }]);
  });

  it("DN-57: what goes past the tunnel is the shell's, and its answer comes back by it", () => {
    const client = createClient();
    client.ask("example.com");
    const [event] = client.dnsEvents();
    if (event?.kind !== "direct-query") throw new Error("a query");
    expect(client.commands).toEqual([]);
    client.apply((machine) =>
      machine.useResolver(START, (one) =>
        one.handleDirectResult(START, event.query.token, { kind: "failed", reason: "ECONNREFUSED" }),
      ),
    );
    expect(client.commands.map(({ kind }) => kind)).toEqual(["write-tun"]);
  });

  it("DN-64: the resolver's deadlines are the machine's", () => {
    const client = createClient();
    client.ask("example.com");
    const due = client.machine.pollTimeout();
    expect(due).toBeLessThanOrEqual(START + 2_000);
    client.events.length = 0;
    client.apply((machine) => machine.handleTimeout(instant(START + 2_000)));
    expect(client.dnsEvents().map(({ kind }) => kind)).toContain("direct-query");
  });

  it("DN-82: a reset of the network resets the resolver", () => {
    const client = createClient();
    client.ask("example.com");
    client.events.length = 0;
    client.apply((machine) => machine.reset(START));
    expect(new Set(client.dnsEvents().map(({ kind }) => kind))).toEqual(
      new Set(["direct-done", "direct-query"]),
    );
  });

  it("without a resolver a sentinel is refused like any address that nobody has", () => {
    const client = createClient(false);
    const tables = client.commands.findLast((command) => command.kind === "publish")?.tables;
    const route = tables?.routes.find(({ prefix }) => formatIp(prefix.address) === "100.100.111.0");
    expect(route?.target.kind).toBe("refuse");
    expect(client.dnsEvents()).toEqual([]);
  });
});
