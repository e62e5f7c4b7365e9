/**
 * Resources and filters as the portal's messages carry them (PT §4).
 */
import * as v from "valibot";
import { formatPrefix, type Prefix, parsePrefix, unreachable } from "../../base/index.ts";
import { parseList, readAs, type Tally, uuid } from "./scalar.ts";

export interface Site {
  readonly id: string;
  readonly name: string;
}

/**
 * What one filter lets through. `unknown` stands for a filter that we cannot read: it permits nothing
 * but keeps its list from being empty, because an empty list permits everything (TN-56).
 */
export type Filter =
  | { readonly protocol: "tcp" | "udp"; readonly firstPort: number; readonly lastPort: number }
  | { readonly protocol: "icmp" }
  | { readonly protocol: "unknown" };

export type IpStack = "dual" | "ipv4_only" | "ipv6_only";

/** A resource as the client sees it. */
export type ClientResource =
  | {
      readonly kind: "cidr";
      readonly rid: string;
      readonly name: string;
      readonly address: Prefix;
      readonly description?: string;
      readonly sites: readonly Site[];
      readonly filters: readonly Filter[];
    }
  | {
      readonly kind: "dns";
      readonly rid: string;
      readonly name: string;
      readonly address: string;
      readonly ipStack: IpStack;
      readonly description?: string;
      readonly sites: readonly Site[];
      readonly filters: readonly Filter[];
    }
  | {
      readonly kind: "internet";
      readonly rid: string;
      readonly name: string;
      readonly canBeDisabled: boolean;
      readonly sites: readonly Site[];
    };

/** A resource as the gateway sees it. */
export type GatewayResource =
  | {
      readonly kind: "cidr";
      readonly rid: string;
      readonly name: string;
      readonly address: Prefix;
      readonly filters: readonly Filter[];
    }
  | {
      readonly kind: "dns";
      readonly rid: string;
      readonly name: string;
      readonly address: string;
      readonly filters: readonly Filter[];
    }
  | { readonly kind: "internet"; readonly rid: string };

const port = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(65535));

const portFilter = v.object({
  protocol: v.picklist(["tcp", "udp"]),
  port_range_start: v.nullish(port, 0),
  port_range_end: v.nullish(port, 65535),
});

const icmpFilter = v.object({ protocol: v.literal("icmp") });

const networkPrefix = v.pipe(
  v.string(),
  v.rawTransform<string, Prefix>(({ dataset, addIssue, NEVER }) => {
    const prefix = parsePrefix(dataset.value);
    if (prefix.ok) return prefix.value;
    addIssue({ message: "not a network" });
    return NEVER;
  }),
);

const wireSite = v.object({ id: uuid, name: v.string() });

const list = v.array(v.unknown());

/** Both names are read (PT-51); a resource without either belongs to no site. */
const siteLists = { gateway_groups: v.nullish(list), sites: v.nullish(list) };

const clientCidr = v.object({
  type: v.literal("cidr"),
  id: uuid,
  name: v.string(),
  address: networkPrefix,
  address_description: v.nullish(v.string()),
  filters: v.nullish(list),
  ...siteLists,
});

const clientDns = v.object({
  type: v.literal("dns"),
  id: uuid,
  name: v.string(),
  address: v.string(),
  address_description: v.nullish(v.string()),
  ip_stack: v.nullish(v.picklist(["dual", "ipv4_only", "ipv6_only"]), "dual"),
  filters: v.nullish(list),
  ...siteLists,
});

const clientInternet = v.object({
  type: v.literal("internet"),
  id: uuid,
  name: v.nullish(v.string(), "Internet Resource"),
  can_be_disabled: v.nullish(v.boolean(), false),
  ...siteLists,
});

// `filters` is required here: a gateway that read an absent list as "everything" would open too much.
const gatewayCidr = v.object({
  type: v.literal("cidr"),
  id: uuid,
  name: v.string(),
  address: networkPrefix,
  filters: list,
});

const gatewayDns = v.object({
  type: v.literal("dns"),
  id: uuid,
  name: v.string(),
  address: v.string(),
  filters: list,
});

const gatewayInternet = v.object({ type: v.literal("internet"), id: uuid });

const typed = v.object({ type: v.string() });

/** `"ignored"` for an unknown type, `undefined` for a faulty resource of a known one (PT-50). */
export function parseClientResource(input: unknown, tally: Tally): ClientResource | "ignored" | undefined {
  switch (readAs(typed, input)?.type) {
    case undefined:
      return undefined;
    case "cidr": {
      const wire = readAs(clientCidr, input);
      if (wire === undefined) return undefined;
      return {
        kind: "cidr",
        rid: wire.id,
        name: wire.name,
        address: wire.address,
        ...described(wire.address_description),
        sites: parseSites(wire, tally),
        filters: parseFilters(wire.filters ?? []),
      };
    }
    case "dns": {
      const wire = readAs(clientDns, input);
      if (wire === undefined) return undefined;
      return {
        kind: "dns",
        rid: wire.id,
        name: wire.name,
        address: wire.address,
        ipStack: wire.ip_stack,
        ...described(wire.address_description),
        sites: parseSites(wire, tally),
        filters: parseFilters(wire.filters ?? []),
      };
    }
    case "internet": {
      const wire = readAs(clientInternet, input);
      if (wire === undefined) return undefined;
      return {
        kind: "internet",
        rid: wire.id,
        name: wire.name,
        canBeDisabled: wire.can_be_disabled,
        sites: parseSites(wire, tally),
      };
    }
    default:
      return "ignored";
  }
}

/** `"ignored"` for an unknown type, `undefined` for a faulty resource of a known one (PT-50). */
export function parseGatewayResource(input: unknown): GatewayResource | "ignored" | undefined {
  switch (readAs(typed, input)?.type) {
    case undefined:
      return undefined;
    case "cidr": {
      const wire = readAs(gatewayCidr, input);
      if (wire === undefined) return undefined;
      const { id: rid, name, address } = wire;
      return { kind: "cidr", rid, name, address, filters: parseFilters(wire.filters) };
    }
    case "dns": {
      const wire = readAs(gatewayDns, input);
      if (wire === undefined) return undefined;
      const { id: rid, name, address } = wire;
      return { kind: "dns", rid, name, address, filters: parseFilters(wire.filters) };
    }
    case "internet": {
      const wire = readAs(gatewayInternet, input);
      return wire === undefined ? undefined : { kind: "internet", rid: wire.id };
    }
    default:
      return "ignored";
  }
}

/** Never drops an element: a list that shrank to nothing would permit everything (TN-56). */
function parseFilters(items: readonly unknown[]): readonly Filter[] {
  return items.map((item): Filter => {
    const ports = readAs(portFilter, item);
    if (ports !== undefined) {
      return { protocol: ports.protocol, firstPort: ports.port_range_start, lastPort: ports.port_range_end };
    }
    return readAs(icmpFilter, item) === undefined ? { protocol: "unknown" } : { protocol: "icmp" };
  });
}

function parseSites(
  wire: {
    readonly gateway_groups?: readonly unknown[] | null | undefined;
    readonly sites?: readonly unknown[] | null | undefined;
  },
  tally: Tally,
): readonly Site[] {
  return parseList(wire.gateway_groups ?? wire.sites ?? [], (item) => readAs(wireSite, item), tally);
}

function described(description: string | null | undefined): { readonly description?: string } {
  return description == null ? {} : { description };
}

/** Writes the old name `gateway_groups` only: the reference refuses both together (PT-51). */
export function toWireClientResource(resource: ClientResource): object {
  const groups = resource.sites.map(({ id, name }) => ({ id, name }));
  switch (resource.kind) {
    case "cidr":
      return {
        type: "cidr",
        id: resource.rid,
        name: resource.name,
        address: formatPrefix(resource.address),
        address_description: resource.description ?? null,
        gateway_groups: groups,
        filters: resource.filters.map(toWireFilter),
      };
    case "dns":
      return {
        type: "dns",
        id: resource.rid,
        name: resource.name,
        address: resource.address,
        address_description: resource.description ?? null,
        ip_stack: resource.ipStack,
        gateway_groups: groups,
        filters: resource.filters.map(toWireFilter),
      };
    case "internet":
      return {
        type: "internet",
        id: resource.rid,
        name: resource.name,
        can_be_disabled: resource.canBeDisabled,
        gateway_groups: groups,
      };
    default:
      return unreachable(resource);
  }
}

export function toWireGatewayResource(resource: GatewayResource): object {
  switch (resource.kind) {
    case "internet":
      return { type: "internet", id: resource.rid };
    case "cidr":
    case "dns":
      return {
        type: resource.kind,
        id: resource.rid,
        name: resource.name,
        address: resource.kind === "cidr" ? formatPrefix(resource.address) : resource.address,
        filters: resource.filters.map(toWireFilter),
      };
    default:
      return unreachable(resource);
  }
}

function toWireFilter(filter: Filter): object {
  switch (filter.protocol) {
    case "tcp":
    case "udp":
      return {
        protocol: filter.protocol,
        port_range_start: filter.firstPort,
        port_range_end: filter.lastPort,
      };
    case "icmp":
    case "unknown":
      return { protocol: filter.protocol };
    default:
      return unreachable(filter);
  }
}
