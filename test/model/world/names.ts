/** Steps about names: many at once, events that are lost, traces through a translation. */
import { formatIp } from "../../../src/base/index.ts";
import { isControlEvent } from "../../../src/packet/index.ts";
import type { ClientPeer, GatewayPeer } from "../../sim/peer.ts";
import { answerMs, type Case, describeSight, probe, probeSlowly, takeArrivals, violation } from "./case.ts";
import { whole } from "./outages.ts";
import { encodeProbe } from "./packets.ts";
import { expect } from "./reference.ts";
import { drawRecords } from "./setup.ts";
import { hasFamily, ipOf, resolve } from "./traffic.ts";
import type { Transition } from "./transition.ts";

const RETRY_MS = 2_100;
const TRACE_ID = 2_000;

export const NAMES: readonly Transition[] = [
  {
    name: "ask for new names",
    weight: 2,
    candidates: whole((c) => c.setup.clients.map(({ name }) => name)),
    run(c, client, draw) {
      const first = c.probes;
      for (let i = 0; i < 1 + draw.below(4); i++) {
        const domain = `n${first + i}.${draw.of(["wiki.test", "a.wiki.test", "nowhere.test"])}`;
        c.reference.records.set(domain, drawRecords(draw));
        resolve(c, client, domain, draw.of([4, 6]));
        c.probes++;
      }
    },
  },
  {
    name: "lose control events",
    weight: 3,
    candidates: proxiesInUse,
    run(c, key, draw) {
      const [client = "", address = ""] = key.split(" ");
      const flow = { protocol: "udp" as const, destination: ipOf(address), port: draw.of([53, 1_500]) };
      const domain = c.reference.proxies.get(key)?.domain ?? "";
      const expectation = expect(c.reference, client, flow);
      if (expectation.kind !== "served") return;
      const count = 1 + draw.below(3);
      const peers = [c.play.client(client), ...gatewaysOf(c).map((name) => c.play.gateway(name))];
      const restore = peers.map((peer) => loseEvents(peer, count));
      // Half of them are asked for anew, which tells the gateway again (TN-46).
      if (draw.oneIn(2)) resolve(c, client, domain, flow.destination.length === 4 ? 4 : 6);
      probeSlowly(c, client, flow, () => {
        // The client loses as many as a gateway does.
        for (let i = 0; i <= 2 * count + 1; i++) {
          c.play.world.run(RETRY_MS);
          // Any query brings up again what is unanswered (TN-47).
          c.application(client).ask("unrelated.test", 4);
        }
      });
      for (const back of restore) back();
      c.labels.add("lost events are made up for");
    },
  },
  {
    name: "trace",
    weight: 3,
    candidates: proxiesInUse,
    run(c, key) {
      const [client = "", address = ""] = key.split(" ");
      const destination = ipOf(address);
      const flow = { protocol: "udp" as const, destination, port: 53 };
      if (expect(c.reference, client, flow).kind !== "served") return;
      const before = c.servers.arrivals.length;
      probe(c, client, flow);
      const gateway = c.servers.arrivals[before]?.gateway;
      if (gateway !== undefined) for (const hop of [1, 2]) trace(c, client, { gateway, address, hop });
    },
  },
];

function gatewaysOf({ setup }: Case): readonly string[] {
  return setup.sites.flatMap(({ gateways }) => gateways.map(({ name }) => name));
}

function proxiesInUse(c: Case): readonly string[] {
  if (c.reference.cuts.size > 0 || c.shaken.size > 0) return [];
  return [...c.reference.proxies.keys()].filter((key) => {
    const [client = "", address = ""] = key.split(" ");
    return hasFamily(c, client, ipOf(address));
  });
}

/** The next ones that arrive are lost. @returns what ends this */
function loseEvents({ tunnel }: ClientPeer | GatewayPeer, count: number): () => void {
  const { handlePunt } = tunnel;
  let left = count;
  tunnel.handlePunt = (now, punt) => {
    if (isControlEvent(punt.packet) && left-- > 0) return;
    handlePunt(now, punt);
  };
  return () => {
    tunnel.handlePunt = handlePunt;
  };
}

/** The first hop is the gateway's own address, all behind it are the proxy address (TN-72). */
function trace(
  c: Case,
  client: string,
  { gateway, address, hop }: { readonly gateway: string; readonly address: string; readonly hop: number },
): void {
  const destination = ipOf(address);
  const application = c.application(client);
  const source = application.own.find(({ length }) => length === destination.length);
  if (source === undefined) return;
  const sightsBefore = application.sights.length;
  const number = ++c.probes;
  const packet = encodeProbe({ protocol: "udp", source, destination, id: TRACE_ID, port: 53, number });
  packet[destination.length === 4 ? 8 : 7] = hop;
  if (destination.length === 4) mendChecksum(packet);
  c.play.client(client).send(packet);
  c.play.world.run(answerMs(c));
  // The server behind the last hop never saw it.
  takeArrivals(c);
  const [sight, ...others] = application.sights.splice(sightsBefore);
  const from = hop === 1 ? c.servers.addressOf(gateway, destination.length) : destination;
  const isRight =
    sight?.kind === "error" &&
    others.length === 0 &&
    sight.what === (destination.length === 4 ? "11/0" : "3/0") &&
    sight.source.join() === from?.join() &&
    sight.quotedDestination.join() === destination.join() &&
    sight.id === TRACE_ID;
  if (!isRight) {
    const told = sight === undefined ? "nothing" : describeSight(sight);
    violation(`${client}: hop ${hop} to ${formatIp(destination)} by ${gateway}: ${told}`);
  }
  c.labels.add(`trace, hop ${hop}`);
}

/** Of the IPv4 header, whose hop limit is 64 in every packet that is made here. */
function mendChecksum(packet: Uint8Array): void {
  const view = new DataView(packet.buffer, packet.byteOffset);
  view.setUint16(10, 0);
  let sum = 0;
  for (let at = 0; at < 20; at += 2) sum += view.getUint16(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  view.setUint16(10, ~sum & 0xffff);
}
