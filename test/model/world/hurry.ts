/** Steps that do two things at once: what is under way meets what has just changed. */
import { formatIp, type IpAddress } from "../../../src/base/index.ts";
import { reloadPortal } from "../../sim/portal.ts";
import {
  answerMs,
  type Case,
  describeArrivals,
  judgeMeanwhile,
  type ProbeFlow,
  probe,
  probeWhileCut,
  send,
  takeArrivals,
  violation,
} from "./case.ts";
import type { Draw } from "./draw.ts";
import { isHeld } from "./held.ts";
import { whole } from "./outages.ts";
import { encodeProbe } from "./packets.ts";
import { expect, type Flow, isWithin, permits, resourcesOf } from "./reference.ts";
import { ADDRESSES } from "./setup.ts";
import { drawFlow, hasFamily, ipOf } from "./traffic.ts";
import { settle, type Transition } from "./transition.ts";

const BURST_ID = 4_000;
const END_MS = 10_000;
const END_SLACK_MS = 2_000;

export const HURRY: readonly Transition[] = [
  {
    name: "forbid or allow under way",
    weight: 4,
    candidates: (c) =>
      c.setup.clients.flatMap(({ name: client }) =>
        [...c.reference.listed].flatMap((resource) =>
          isHeld(c, { client, resource }) ? [] : [`${client} ${resource}`],
        ),
      ),
    run(c, pair, draw) {
      const { access } = c.reference;
      const client = pair.split(" ")[0] ?? "";
      const flow = flowTo(c, pair, draw);
      if (flow === undefined) return;
      const before = expect(c.reference, client, flow);
      if (!access.delete(pair)) access.add(pair);
      c.reference.ends.delete(pair);
      reloadPortal(c.play.portal, c.file());
      // The message is under way for as long.
      c.play.world.run(draw.below(2 * c.setup.portalDelayMs + 20));
      probeWhileCut(c, client, flow, [before, expect(c.reference, client, flow)]);
      settle(c);
      probe(c, client, flow);
    },
  },
  {
    name: "a burst of one flow",
    weight: 6,
    candidates: whole((c) => c.setup.clients.map(({ name }) => name)),
    run(c, client, draw) {
      if (c.shaken.size > 0) return;
      const flow = { ...drawFlow(draw, drawDestination(c, client, draw)), protocol: "udp" as const };
      const expectation = expect(c.reference, client, { ...flow, port: flow.port || 53 });
      if (!hasFamily(c, client, flow.destination) || expectation.kind !== "served") return;
      if (expectation.domain !== undefined) probe(c, client, { ...flow, port: flow.port || 53 });
      burst(c, client, { ...flow, port: flow.port || 53 }, draw);
    },
  },
  {
    name: "access ends by the clock",
    weight: 2,
    candidates: whole((c) =>
      isAnyClockWrong(c)
        ? []
        : c.setup.clients.flatMap(({ name: client }) =>
            resourcesOf(c.reference, client).flatMap(({ name: resource }) =>
              isHeld(c, { client, resource }) ? [] : [`${client} ${resource}`],
            ),
          ),
    ),
    run(c, pair, draw) {
      const [client = ""] = pair.split(" ");
      const { world } = c.play;
      const flow = flowTo(c, pair, draw);
      const end = Math.ceil((world.unixNow() + END_MS + answerMs(c)) / 1_000);
      c.reference.ends.set(pair, end);
      reloadPortal(c.play.portal, c.file());
      settle(c);
      // Used until the end, or never.
      if (flow !== undefined && draw.oneIn(2) && world.unixNow() < end * 1_000 - answerMs(c))
        probe(c, client, flow);
      world.run(Math.max(0, end * 1_000 - world.unixNow()) + END_SLACK_MS);
      c.reference.access.delete(pair);
      settle(c);
      if (flow !== undefined) probe(c, client, flow);
      c.reference.ends.delete(pair);
    },
  },
  {
    name: "packets while somebody moves",
    weight: 3,
    candidates: whole(movers),
    run: (c, mover, draw) => sendWhileMoving(c, mover, draw),
  },
  {
    name: "a server sends first",
    weight: 4,
    candidates: whole((c) => (c.shaken.size > 0 ? [] : c.setup.clients.map(({ name }) => name))),
    run: (c, client, draw) => sendFirst(c, client, draw),
  },
];

/** Peers that have another place to be at; gateways as in `outages.ts`. */
function movers(c: Case): readonly string[] {
  const { clients, sites } = c.setup;
  const gateways = sites.flatMap((site) =>
    site.gateways.filter(
      ({ name, nat }) => nat && (site.gateways.length === 1 || !isHeld(c, { gateway: name })),
    ),
  );
  return [...clients, ...gateways].map(({ name }) => name);
}

/** What is under way when a peer moves, and what is sent before all know of it, may be lost, and goes nowhere else. */
function sendWhileMoving(c: Case, mover: string, draw: Draw): void {
  const { play, setup } = c;
  const isGateway = mover.startsWith("gateway");
  const client = isGateway ? draw.of(setup.clients).name : mover;
  const all: Parameters<typeof judgeMeanwhile>[2][number][] = [];
  const sendSome = (): void => {
    for (let i = 1 + draw.below(3); i > 0; i--) {
      const flow = drawFlow(draw, drawDestination(c, client, draw));
      const sent = hasFamily(c, client, flow.destination) ? send(c, client, flow) : undefined;
      if (sent !== undefined) all.push({ sent, expectations: [expect(c.reference, client, flow)] });
    }
  };
  sendSome();
  play.world.run(draw.of([0, 5, 40, 200]));
  const place = isGateway ? `office of ${mover}` : `${draw.of(["cafe", "home"])} of ${mover}`;
  play.roam(isGateway ? play.gateway(mover) : play.client(mover), place);
  sendSome();
  play.world.run(draw.of([0, 5, 40, 200]));
  sendSome();
  c.shaken.add(mover);
  settle(c, 2_000);
  play.world.run(answerMs(c));
  const arrived = judgeMeanwhile(c, client, all);
  if (arrived > 0) c.labels.add("arrived while somebody moves");
  if (arrived < all.length) c.labels.add("lost while somebody moves");
}

function isAnyClockWrong({ play, setup }: Case): boolean {
  const names = [...setup.clients, ...setup.sites.flatMap(({ gateways }) => gateways)].map(
    ({ name }) => name,
  );
  return names.some((name) => play.hostOf(name).clockSkewMs !== 0);
}

/** A packet that the resource would be asked for. */
function flowTo(c: Case, pair: string, draw: Draw): ProbeFlow | undefined {
  const [client = "", name = ""] = pair.split(" ");
  const resource = c.reference.resources.get(name);
  if (resource === undefined) return undefined;
  const destinations =
    resource.kind === "dns"
      ? [...c.reference.proxies].flatMap(([key, named]) =>
          key.startsWith(`${client} `) && named.resource === name ? [ipOf(key.split(" ")[1] ?? "")] : [],
        )
      : ADDRESSES.map(ipOf).filter(
          (address) => resource.kind === "internet" || isWithin(address, resource.address),
        );
  const mine = destinations.filter((address) => hasFamily(c, client, address));
  return mine.length === 0 ? undefined : drawFlow(draw, draw.of(mine));
}

function drawDestination(c: Case, client: string, draw: Draw) {
  const names = [...c.reference.proxies.keys()].filter((key) => key.startsWith(`${client} `));
  return ipOf(draw.of([...ADDRESSES, ...names.map((key) => key.split(" ")[1] ?? "")]));
}

/** All arrive, once, and in the order in which they were sent (TN-85, TN-87, TN-102 no. 8). */
function burst(c: Case, client: string, flow: ProbeFlow, draw: Draw): void {
  const { world } = c.play;
  const application = c.application(client);
  const source = application.own.find(({ length }) => length === flow.destination.length);
  if (source === undefined) return;
  const count = 3 + draw.below(30);
  const gapMs = draw.of([0, 1, 20]);
  const first = c.probes + 1;
  const sightsBefore = application.sights.length;
  for (let i = 0; i < count; i++) {
    const packet = encodeProbe({ ...flow, source, id: BURST_ID + (first % 900), number: ++c.probes });
    world.at(i * gapMs, () => c.play.client(client).send(packet));
  }
  world.run(count * gapMs + answerMs(c));
  const arrivals = takeArrivals(c);
  const came = arrivals.map(({ sight }) => (sight.kind === "request" ? sight.number : 0));
  const sent = Array.from({ length: count }, (_, i) => first + i);
  const where = new Set(arrivals.map(({ gateway }) => gateway));
  const sights = application.sights.splice(sightsBefore);
  // A name may have no address of the family by now.
  if (arrivals.length === 0 && sights.length > 0 && sights.every(({ kind }) => kind === "error")) return;
  if (came.join() !== sent.join() || where.size > 1) {
    violation(
      `${client}: sent ${sent.join(" ")} to ${formatIp(flow.destination)}, but ${describeArrivals(arrivals)}`,
    );
  }
  const answered = sights.flatMap((sight) => (sight.kind === "request" ? [sight.number] : []));
  const isOrdered = answered.every((number, i) => i === 0 || number > (answered[i - 1] ?? 0));
  const isAll = answered.length === count || sights.some(({ kind }) => kind === "error");
  if (!isOrdered || !isAll) violation(`${client}: of ${sent.join(" ")} were answered ${answered.join(" ")}`);
  c.labels.add("a burst in order");
}

/** What a client may reach may reach it, without having been asked (TN-62); nothing else does. */
function sendFirst(c: Case, client: string, draw: Draw): void {
  const from = ipOf(draw.of(ADDRESSES));
  const flow = drawFlow(draw, from);
  const expectation = expect(c.reference, client, flow);
  if (!hasFamily(c, client, from)) return;
  if (expectation.kind !== "served") {
    const [{ name = "" } = {}] = c.setup.sites.flatMap(({ gateways }) => gateways);
    const port = draw.of([22, 53, 443, 1_500]);
    const mayPass = mayLetIn(c, client, { protocol: "udp", destination: from, port });
    if (!mayPass && sendIn(c, client, { gateway: name, from, port })) {
      violation(`${client} was sent UDP from ${formatIp(from)} port ${port} by ${name}`);
    }
    c.labels.add("kept out");
    return;
  }
  const before = c.servers.arrivals.length;
  probe(c, client, flow);
  const gateway = c.servers.arrivals[before]?.gateway;
  if (gateway === undefined) return;
  const port = draw.of([flow.port, 22, 53, 443, 1_500]);
  const back: Flow = { protocol: "udp", destination: from, port };
  const isThere = sendIn(c, client, { gateway, from, port });
  // Which of the client's resources the gateway has been asked for by now is its affair: those alone let in.
  const [only, ...others] = expectation.resources;
  const mustPass = only !== undefined && others.length === 0 && permits(only.filters, back);
  if (isThere && !mayLetIn(c, client, back)) {
    violation(`${client} was sent UDP from ${formatIp(from)} port ${port} by ${gateway}`);
  }
  if (!isThere && mustPass)
    violation(`${client} never got UDP from ${formatIp(from)} port ${port} by ${gateway}`);
  c.labels.add(isThere ? "let in" : "kept out");
}

function mayLetIn(c: Case, client: string, back: Flow): boolean {
  return resourcesOf(c.reference, client).some(
    ({ kind, address, filters }) =>
      (kind === "internet" || (kind === "cidr" && isWithin(back.destination, address))) &&
      permits(filters, back),
  );
}

/** @returns whether the client was brought it */
function sendIn(
  c: Case,
  client: string,
  { gateway, from, port }: { readonly gateway: string; readonly from: IpAddress; readonly port: number },
): boolean {
  const application = c.application(client);
  const own = application.own.find(({ length }) => length === from.length);
  if (own === undefined) return false;
  const number = ++c.probes;
  const before = application.sights.length;
  const way = { source: from, destination: own, id: port, port: 9_999 };
  c.play.gateway(gateway).send(encodeProbe({ protocol: "udp", ...way, number }));
  c.play.world.run(answerMs(c));
  const sights = application.sights.splice(before);
  return sights.some((sight) => sight.kind === "request" && sight.number === number);
}
