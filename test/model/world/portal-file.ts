/** The administrator's file, as the reference has it now. JSON is YAML. */
import { formatToken, type TokenKind } from "../../../src/portal/derive.ts";
import { type Reference, resourcesOf } from "./reference.ts";
import type { Filter, Resource } from "./setup.ts";

/** Of a site's gateways or of a client; others than those of `server-world.ts`. */
export function tokenOf(kind: TokenKind, name: string): string {
  const bytes = new Uint8Array(32).fill(100);
  bytes.set(new TextEncoder().encode(name));
  return formatToken(kind, new Uint8Array(16), bytes);
}

export function portalFile(reference: Reference): string {
  const { setup, resources, listed } = reference;
  const clients = setup.clients.map(({ name }) => name);
  return JSON.stringify({
    version: 1,
    sites: setup.sites.map(({ name }) => ({
      name,
      gateway_tokens: [{ name: `token of ${name}`, token: tokenOf("gateway", name) }],
    })),
    actors: clients.map((name) => ({
      name,
      type: "service_account",
      tokens: [{ name: `token of ${name}`, token: tokenOf("client", name) }],
    })),
    dns: dnsOf(reference),
    groups: clients.map((name) => ({ name: `group of ${name}`, members: [name] })),
    resources: [...resources.values()].filter(({ name }) => listed.has(name)).map(toEntry),
    policies: clients.flatMap((client) =>
      resourcesOf(reference, client).map(({ name }) => ({
        group: `group of ${client}`,
        resource: name,
        conditions: conditionsOf(reference, `${client} ${name}`),
      })),
    ),
  });
}

function dnsOf({ dns: { servers, isDoh, searchDomain } }: Reference): object {
  const upstream =
    servers.length > 0
      ? { upstream: "custom", servers }
      : isDoh
        ? { upstream: "doh", doh: "quad9" }
        : { upstream: "system" };
  return { ...upstream, ...(searchDomain !== undefined && { search_domain: searchDomain }) };
}

const DAYS = "UMTWRFS";

/** Until a second of a day; the days before and after are of no interest. */
function conditionsOf({ ends }: Reference, pair: string): readonly object[] {
  const end = ends.get(pair);
  if (end === undefined) return [];
  const at = new Date(end * 1_000);
  const value = `${DAYS[at.getUTCDay()]}/0-${at.toISOString().slice(11, 19)}/UTC`;
  return [{ property: "current_utc_datetime", operator: "is_in_day_of_week_time_ranges", values: [value] }];
}

function toEntry({ id, name, kind, address, stack, site, filters }: Resource): object {
  const common = { id, name, site, type: kind };
  if (kind === "internet") return common;
  const stacked = kind === "dns" ? { ip_stack: stack } : {};
  return { ...common, ...stacked, address, filters: filters.map(toFilter) };
}

function toFilter({ protocol, first, last }: Filter): object {
  return protocol === "icmp" ? { protocol } : { protocol, ports: [`${first}-${last}`] };
}
