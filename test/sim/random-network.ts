/**
 * A network drawn from a seed, and what theory says of it: whether the two ends can reach each other directly,
 * through relays, or not at all.
 */
import { NAT_KINDS, type NatBehaviour, type NatKind } from "../lib/nat.ts";
import { type LinkProfile, PROFILES } from "./link.ts";
import { type Families, type NetworkPart, type Play, type Story, story } from "./story.ts";
import { createStream } from "./streams.ts";

export type Route = "direct" | "relayed" | "none";

/** One end, from its host up to the Internet. */
interface Side {
  readonly families: Families;
  readonly link: LinkProfile;
  /** Its routers, the innermost first; none: it stands on the Internet. */
  readonly routers: readonly (NetworkPart & { readonly name: string })[];
  readonly isForwarded: boolean;
}

export interface Topology {
  readonly seed: number;
  readonly client: Side;
  readonly gateway: Side;
  readonly relays: readonly { readonly link: LinkProfile }[];
  readonly portalDelayMs: number;
}

type Draw = ReturnType<typeof createStream>;

export function drawTopology(seed: number): Topology {
  const draw = createStream(seed, "topology");
  const relays = Array.from({ length: oneOf(draw, [0, 1, 2, 2, 3]) }, () => ({
    link: oneOf(draw, ["perfect", "dsl", "dsl", "mobile"] as const),
  }));
  const isp: NetworkPart & { name: string } = { name: "isp", nat: drawNat(draw) };
  const client = drawSide(draw, "home", isp);
  const gateway = drawSide(draw, oneOf(draw, ["office", "office", "office", "home"]), isp);
  const isTogether = client.routers[0]?.name === gateway.routers[0]?.name;
  return {
    seed,
    client,
    // On one network both have the same routers.
    gateway: isTogether ? { ...gateway, routers: client.routers, isForwarded: false } : gateway,
    relays,
    portalDelayMs: oneOf(draw, [5, 20, 50, 250]),
  };
}

function drawSide(draw: Draw, name: string, isp: NetworkPart & { readonly name: string }): Side {
  const kind = oneOf(draw, ["internet", "guarded", "nat", "nat", "nat", "double"] as const);
  const blocks = oneOf(draw, [
    ...Array<"nothing">(9).fill("nothing"),
    "udp",
    { allButPorts: [3478] },
  ] as const);
  const nat = drawNat(draw);
  const own: NetworkPart & { readonly name: string } = {
    name,
    blocks,
    ...(kind === "guarded" ? { isGuarded: true } : { nat }),
    ...(kind === "double" && { in: isp.name }),
  };
  const routers = { internet: [], guarded: [own], nat: [own], double: [own, isp] }[kind];
  return {
    families: oneOf(draw, ["ipv4", "ipv4", "both", "ipv6"] as const),
    link: oneOf(draw, ["perfect", "dsl", "dsl", "mobile", "lossy", "satellite"] as const),
    routers,
    isForwarded: draw.unit() < 0.2 && kind === "nat",
  };
}

function drawNat(draw: Draw): NonNullable<NetworkPart["nat"]> {
  return {
    kind: oneOf(draw, Object.keys(NAT_KINDS) as NatKind[]),
    lifetimeMs: oneOf(draw, [30_000, 120_000, 300_000]),
    isRefreshedFromOutside: draw.unit() < 0.5,
    allocation: oneOf(draw, ["random", "sequential"] as const),
  };
}

function oneOf<T>(draw: Draw, list: readonly T[]): T {
  const chosen = list[Math.floor(draw.unit() * list.length)];
  if (chosen === undefined) throw new Error("nothing to choose from");
  return chosen;
}

export function build({ seed, client, gateway, relays, portalDelayMs }: Topology): Play {
  const at = story(seed, { portalDelayMs });
  enter(at, client).client("client", partOf(client));
  enter(at, gateway).gateway("gateway", { ...partOf(gateway) });
  at.internet();
  for (const [i, { link }] of relays.entries()) at.relay(`relay-${i + 1}`, { link, families: "both" });
  return at.begin();
}

function partOf({ families, link, isForwarded }: Side) {
  return { families, link, isForwarded: isForwarded && families !== "ipv6" };
}

/** Networks from the outermost to the innermost. */
function enter(at: Story, { routers }: Side): Story {
  at.internet();
  for (const { name, ...part } of routers.toReversed()) at.network(name, part);
  return at;
}

/** What theory promises. */
export function routeOf(topology: Topology): Route {
  if (isDirect(topology, 6) || isDirect(topology, 4)) return "direct";
  const { client, gateway, relays } = topology;
  const hasRelays = relays.length > 0 && canSend(client, 3478) && canSend(gateway, 3478);
  return hasRelays ? "relayed" : "none";
}

/** The longest round trip that a path can have, in milliseconds: over links, relays and jitter. */
export function roundTripMs({ client, gateway, relays }: Topology): number {
  const ofLink = (name: LinkProfile): number => {
    const { latencyMs = 0, jitterMs = 0 } = PROFILES[name] as { latencyMs?: number; jitterMs?: number };
    return latencyMs + jitterMs;
  };
  const relayed = relays.reduce((sum, { link }) => Math.max(sum, 2 * ofLink(link)), 0);
  const routers = 5 * (client.routers.length + gateway.routers.length);
  return 2 * (ofLink(client.link) + ofLink(gateway.link) + 2 * relayed + routers);
}

function isDirect(topology: Topology, family: 4 | 6): boolean {
  const { client, gateway, relays } = topology;
  const other: Families = family === 4 ? "ipv6" : "ipv4";
  if (client.families === other || gateway.families === other) return false;
  if (areTogether(topology)) return true;
  if (!canSend(client, 52_625) && !canSend(gateway, 52_625)) return false;
  return family === 6 ? isDirectUntranslated(topology) : isDirectTranslated(topology, relays.length > 0);
}

/** Of IPv6, or of addresses that no router changes: guards let in what answers, and both ends know where to send. */
function isDirectUntranslated({ client, gateway }: Topology): boolean {
  return canSend(client, 52_625) && canSend(gateway, 52_625);
}

function isDirectTranslated({ client, gateway }: Topology, hasRelay: boolean): boolean {
  if (!isDirectUntranslated({ client, gateway } as Topology)) return false;
  const isp = commonIsp(client, gateway);
  if (isp !== undefined && behaviourOf(isp).hairpin === "none") return false;
  return letsIn(client, gateway, hasRelay) || letsIn(gateway, client, hasRelay);
}

/** Whether what `other` sends first gets in at `side`, which has sent as well as it could. */
function letsIn(side: Side, other: Side, hasRelay: boolean): boolean {
  if (!isKnown(side, hasRelay)) return false;
  if (side.routers.length === 0 || side.isForwarded) return true;
  if (!isPredictable(side)) return false;
  const filters = side.routers.map(filteringOf);
  if (filters.every((filter) => filter === "endpoint-independent")) return true;
  if (!isKnown(other, hasRelay)) return false;
  return filters.includes("address-and-port-dependent") ? isPredictable(other) : true;
}

/** Only a relay tells an end behind a NAT where it is. */
function isKnown({ routers }: Side, hasRelay: boolean): boolean {
  return hasRelay || routers.every(({ nat }) => nat === undefined);
}

function isPredictable({ routers }: Side): boolean {
  return routers.every(
    (router) => router.nat === undefined || behaviourOf(router).mapping === "endpoint-independent",
  );
}

function filteringOf(router: NetworkPart): NatBehaviour["filtering"] {
  return router.nat === undefined ? "address-and-port-dependent" : behaviourOf(router).filtering;
}

function behaviourOf({ nat }: NetworkPart): NatBehaviour {
  if (nat === undefined) throw new Error("this router translates");
  return NAT_KINDS[typeof nat === "string" ? nat : nat.kind];
}

function areTogether({ client, gateway }: Topology): boolean {
  return client.routers[0]?.name === gateway.routers[0]?.name;
}

/** The router that both ends are behind, with others of their own. */
function commonIsp(client: Side, gateway: Side): NetworkPart | undefined {
  const [one, other] = [client.routers[1], gateway.routers[1]];
  return one !== undefined && other !== undefined ? one : undefined;
}

function canSend({ routers }: Side, port: number): boolean {
  return routers.every(({ blocks = "nothing" }) => {
    if (blocks === "nothing") return true;
    return blocks !== "udp" && blocks.allButPorts.includes(port);
  });
}
