/** Steps in which applications do what applications do: ask for names, send packets, open connections. */
import { formatIp, type IpAddress, ip } from "../../../src/base/index.ts";
import { type Case, type ProbeFlow, probe, violation } from "./case.ts";
import type { Draw } from "./draw.ts";
import { exercise, open } from "./held.ts";
import { expect, resourceOfName } from "./reference.ts";
import { ADDRESSES, DOMAINS, PORTS, TCP_PORT } from "./setup.ts";
import type { Transition } from "./transition.ts";

export const TRAFFIC: readonly Transition[] = [
  {
    name: "send to an address",
    weight: 20,
    candidates: (c) => c.setup.clients.map(({ name }) => name),
    run(c, client, draw) {
      const covered = ADDRESSES.filter((text) => isCovered(c, client, text));
      const address = ip(draw.of(covered.length === 0 || draw.oneIn(4) ? ADDRESSES : covered));
      if (!hasFamily(c, client, address)) return;
      probe(c, client, drawFlow(draw, address));
    },
  },
  {
    name: "send to a name",
    weight: 30,
    candidates: (c) => [...c.reference.proxies.keys()],
    run(c, key, draw) {
      const [client = "", address = ""] = key.split(" ");
      probe(c, client, drawFlow(draw, ipOf(address)));
    },
  },
  {
    name: "send to a tunnel address",
    weight: 1,
    candidates: (c) => c.setup.clients.map(({ name }) => name),
    run(c, client, draw) {
      probe(c, client, { protocol: "udp", destination: ip("100.64.77.77"), port: draw.of([53, 80]) });
    },
  },
  {
    name: "ask for a name",
    weight: 8,
    candidates: (c) => c.setup.clients.map(({ name }) => name),
    run(c, client, draw) {
      const mine = DOMAINS.filter((domain) => resourceOfName(c.reference, client, domain) !== undefined);
      const domain = draw.of(mine.length === 0 || draw.oneIn(4) ? DOMAINS : mine);
      resolve(c, client, domain, draw.of([4, 6]));
    },
  },
  {
    name: "open a TCP connection",
    weight: 10,
    candidates: (c) => [
      ...c.reference.proxies.keys(),
      ...c.setup.clients.flatMap(({ name }) => networksOf(c, name)),
    ],
    run(c, key) {
      const [client = "", text = ""] = key.split(" ");
      open(c, client, { protocol: "tcp", destination: ipOf(text), port: TCP_PORT });
    },
  },
  {
    name: "use the TCP connections",
    weight: 3,
    candidates: (c) => (c.held.length > 0 ? [""] : []),
    run: (c) => exercise(c),
  },
];

/** An address as text, or as the key of a proxy address: its octets with dots between. */
export function ipOf(text: string): IpAddress {
  return text.includes(":") ? ip(text) : Uint8Array.from(text.split(".").map(Number));
}

/** Addresses that one of the client's networks covers. */
function networksOf(c: Case, client: string): readonly string[] {
  return ADDRESSES.filter((text) => isCovered(c, client, text)).map((text) => `${client} ${text}`);
}

function isCovered(c: Case, client: string, text: string): boolean {
  const flow = { protocol: "tcp" as const, destination: ip(text), port: TCP_PORT };
  return expect(c.reference, client, flow).kind !== "silence";
}

/**
 * After something that paths do not survive: all that the clients may reach is reached again, within the bounds
 * (TS-17). From then on a single packet must do.
 */
export function recover(c: Case): void {
  for (const { name: client } of c.setup.clients) {
    const proxies = [...c.reference.proxies.keys()].flatMap((key) =>
      key.startsWith(`${client} `) ? [key.slice(client.length + 1)] : [],
    );
    const reached = new Set<string>();
    for (const destination of [...ADDRESSES, ...proxies].map(ipOf)) {
      for (const port of [0, ...PORTS]) {
        const flow = { protocol: port === 0 ? ("icmp" as const) : ("udp" as const), destination, port };
        const expectation = expect(c.reference, client, flow);
        const resource = expectation.kind === "served" ? expectation.resources[0]?.name : undefined;
        if (resource === undefined || reached.has(resource) || !hasFamily(c, client, destination)) continue;
        reached.add(resource);
        probe(c, client, flow);
      }
    }
  }
  c.shaken.clear();
  c.labels.add("recovered");
}

export function drawFlow(draw: Draw, destination: IpAddress): ProbeFlow {
  const protocol = draw.of(["udp", "icmp"] as const);
  return { protocol, destination, port: protocol === "icmp" ? 0 : draw.of(PORTS) };
}

export function hasFamily(c: Case, client: string, address: IpAddress): boolean {
  return c.application(client).own.some(({ length }) => length === address.length);
}

/** What the resolver answers, and whose the addresses are from now on (DN-38, DN-41, DN-44). */
export function resolve(c: Case, client: string, domain: string, family: 4 | 6): void {
  const { reference } = c;
  const resource = resourceOfName(reference, client, domain);
  const addresses = c.application(client).ask(domain, family);
  // What it may know of its resources then is past.
  if (reference.cuts.has(client)) return;
  if (addresses === undefined) {
    c.labels.add("a name that nobody has");
    if (resource !== undefined) violation(`${client}: no answer for ${domain} of ${resource.name}`);
    return;
  }
  noteProxies(c, client, { domain, family }, addresses);
}

/** A name's addresses are as many as its resource allows, and nobody else's (DN-41, DN-43). */
export function noteProxies(
  c: Case,
  client: string,
  { domain, family }: { readonly domain: string; readonly family: 4 | 6 },
  addresses: readonly IpAddress[],
): void {
  const { reference } = c;
  const resource = resourceOfName(reference, client, domain);
  const isAllowed =
    resource?.stack === "dual" || resource?.stack === (family === 4 ? "ipv4_only" : "ipv6_only");
  const count = resource !== undefined && isAllowed ? 4 : 0;
  if (addresses.length !== count) {
    const given = addresses.map(formatIp).join(" ");
    violation(`${client}: ${domain}, IPv${family}: expected ${count} addresses, but got: ${given}`);
  }
  c.labels.add(count > 0 ? "proxies" : "a name without proxies of the family");
  for (const address of addresses) {
    const key = `${client} ${address.join(".")}`;
    const before = reference.proxies.get(key);
    if (before !== undefined && (before.domain !== domain || before.resource !== resource?.name)) {
      violation(
        `${client}: ${formatIp(address)} was ${before.domain} of ${before.resource}, and is ${domain} now`,
      );
    }
    reference.proxies.set(key, { domain, resource: resource?.name ?? "" });
  }
}
