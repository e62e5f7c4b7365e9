/** Steps of a client that ignores its own policy: its packets go into the tunnel as they are (TN-98). */
import { formatIp, type IpAddress, ip } from "../../../src/base/index.ts";
import { encodeAssignedIps } from "../../../src/packet/index.ts";
import { answerMs, type Case, describeArrivals, describeSight, takeArrivals, violation } from "./case.ts";
import { encodeProbe } from "./packets.ts";
import { type Flow, isWithin, permits, resourcesOf } from "./reference.ts";
import { ADDRESSES, DOMAINS } from "./setup.ts";
import { drawFlow, ipOf } from "./traffic.ts";
import type { Transition } from "./transition.ts";

/** No application has it. */
const ROGUE_ID = 3_000;
const NO_PROXY = "100.96.200.200";
const METADATA = "169.254.169.254";

export const ROGUE: readonly Transition[] = [
  {
    name: "send past the client's policy",
    weight: 4,
    candidates: connected,
    run(c, pair, draw) {
      const own = c.application(pair.split(" ")[0] ?? "").own;
      const forged: readonly (readonly [IpAddress | undefined, IpAddress])[] = [
        [ip("172.20.1.5"), ip("172.20.1.70")],
        [ip("9.9.9.9"), ip("10.9.0.7")],
      ];
      const [source, destination] = draw.of(
        draw.oneIn(3)
          ? forged
          : [
              ...ADDRESSES.map(
                (text) => [own.find(({ length }) => length === ip(text).length), ip(text)] as const,
              ),
              // Another client's or nobody's, a proxy address that stands for nothing.
              [own[0], ip("100.64.0.3")] as const,
              [own[0], ip("100.100.111.1")] as const,
              [own[0], ip(NO_PROXY)] as const,
              [own[0], ip("255.255.255.255")] as const,
            ],
      );
      if (source !== undefined) sendPast(c, pair, { ...drawFlow(draw, destination), source });
    },
  },
  {
    name: "claim an address as a proxy address",
    weight: 2,
    candidates: connected,
    run(c, pair, draw) {
      const [client = ""] = pair.split(" ");
      const named = resourcesOf(c.reference, client).filter(({ kind }) => kind === "dns");
      const rid = named.length > 0 ? draw.of(named).id : (c.setup.resources[0]?.id ?? "");
      const address = ip(draw.of([METADATA, "10.200.0.1", "100.64.0.3", "192.0.2.200"]));
      const proxies = [address, ip("100.96.0.2"), ip("100.96.0.3"), ip("100.96.0.4")];
      inject(c, pair, encodeAssignedIps({ rid, domain: draw.of(DOMAINS), proxies }));
      c.play.world.run(answerMs(c));
      const own = c.application(client).own.find(({ length }) => length === 4);
      if (own !== undefined) sendPast(c, pair, { ...drawFlow(draw, address), source: own });
    },
  },
];

/** `client gateway-id` of each session; while nobody is cut off, so that a gateway knows what is allowed. */
function connected(c: Case): readonly string[] {
  if (c.reference.cuts.size > 0 || c.shaken.size > 0) return [];
  return c.setup.clients.flatMap(({ name }) =>
    c.play
      .client(name)
      .connections.stats()
      .connections.flatMap(({ id, state }) =>
        state === "connected" || state === "idle" ? [`${name} ${id}`] : [],
      ),
  );
}

function inject(c: Case, pair: string, packet: Uint8Array): void {
  const [client = "", gid = ""] = pair.split(" ");
  const { connections, plane, host } = c.play.client(client);
  const slot = connections.slotOf(gid);
  if (slot === undefined) return;
  plane.execute(c.play.world.now(), { kind: "inject", slot, packets: [packet] });
  c.play.world.flush(host);
}

/** Where nothing allows it, it comes out nowhere; the client may be told so (TN-61). */
function sendPast(
  c: Case,
  pair: string,
  flow: Flow & { readonly protocol: "icmp" | "udp"; readonly source: IpAddress },
): void {
  const [client = "", gid = ""] = pair.split(" ");
  const { play } = c;
  const gateway = play.portal.server
    .status(play.world.now())
    .gateways.find(({ id }) => id === gid)?.externalId;
  const site = c.setup.sites.find(({ gateways }) => gateways.some(({ name }) => name === gateway))?.name;
  const application = c.application(client);
  const isForged = !application.own.some((own) => own.join() === flow.source.join());
  // The gateway's own address answers to echo, and serves names (TN-61 row 6).
  const isOwn =
    c.servers.addressOf(gateway ?? "", flow.destination.length)?.join() === flow.destination.join();
  const mayPass =
    isOwn ||
    resourcesOf(c.reference, client).some(
      (resource) => resource.site === site && isOpenBy(resource, flow) && permits(resource.filters, flow),
    );
  const number = ++c.probes;
  const sightsBefore = application.sights.length;
  inject(c, pair, encodeProbe({ ...flow, id: ROGUE_ID, number }));
  play.world.run(answerMs(c));
  const arrivals = takeArrivals(c);
  const sights = application.sights.splice(sightsBefore);
  if (arrivals.length > 0 && (isForged || !mayPass)) {
    violation(`${client}, past its own policy, from ${formatIp(flow.source)}: ${describeArrivals(arrivals)}`);
  }
  const isToldWell = sights.every((sight) =>
    isForged ? false : sight.kind === "error" || arrivals.length > 0,
  );
  if (!isToldWell)
    violation(`${client} was told about a forged packet: ${sights.map(describeSight).join("; ")}`);
  c.labels.add(
    isForged ? "a forged packet is dropped" : arrivals.length > 0 ? "past the policy, allowed" : "stopped",
  );
}

function isOpenBy(
  { kind, address }: { readonly kind: string; readonly address: string },
  flow: Flow,
): boolean {
  if (kind === "internet") return !isPrivate(flow.destination);
  return kind === "cidr" && isWithin(flow.destination, address);
}

/** Of the addresses above, those that are not the internet (TN-59). */
function isPrivate(address: IpAddress): boolean {
  const text = formatIp(address);
  const isPublic = [...ADDRESSES, "192.0.2.200"].some((one) => ipOf(one).join() === address.join());
  return !isPublic || /^(10\.|172\.20\.|fd)/.test(text);
}
