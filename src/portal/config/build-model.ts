/**
 * From the file's values to the model: names become ids, references are checked (PT-111 to PT-116).
 */
import { type Prefix, parseIp, toPrefix } from "../../base/index.ts";
import type { Filter } from "../protocol/index.ts";
import { FORBIDDEN_RANGES } from "../server/address-pool.ts";
import { namedId } from "../server/ids.ts";
import type {
  Actor,
  Condition,
  ConfiguredResource,
  ConfiguredSite,
  DnsSettings,
  Group,
  Policy,
  PortalModel,
  TokenRecord,
} from "../server/model.ts";
import { parseCondition } from "./condition.ts";
import type { ConfigPath } from "./document.ts";
import type { FileOptions } from "./file-options.ts";
import type { FileResource, PortalFile } from "./file-schema.ts";
import { parsePortRange } from "./port-range.ts";
import { overlaps, parseResourceName, parseResourceNetwork } from "./resource-address.ts";
import { readToken, type TokenOwner } from "./token-source.ts";
import { warningsOf } from "./warnings.ts";

export type ReportIssue = (path: ConfigPath, message: string) => void;

export interface BuiltModel {
  readonly model: PortalModel;
  /** One line each: what is configured and has no effect. */
  readonly warnings: readonly string[];
}

const DEV_ACCOUNT = "dev";
const DEV_SITE = "default";
const DEV_GROUP = "dev";
const EVERYONE = "Everyone";

/** RFC 8484 end points of the providers that the file names. */
const DOH_URLS: Readonly<Record<string, string>> = {
  google: "https://dns.google/dns-query",
  quad9: "https://dns.quad9.net/dns-query",
  cloudflare: "https://cloudflare-dns.com/dns-query",
  opendns: "https://doh.opendns.com/dns-query",
};

interface Build {
  readonly file: PortalFile;
  readonly options: FileOptions;
  readonly report: ReportIssue;
  readonly slug: string;
  readonly tokens: Map<string, TokenRecord>;
}

export function buildModel(file: PortalFile, options: FileOptions, report: ReportIssue): BuiltModel {
  const { dev } = options;
  if (file.account === undefined && dev === undefined) report([], "missing key 'account'");
  const slug = file.account?.slug ?? DEV_ACCOUNT;
  const build: Build = { file, options, report, slug, tokens: new Map() };
  const sites = buildSites(build);
  const actors = buildActors(build);
  const groups = buildGroups(build, actors);
  const resources = buildResources(build, sites);
  const policies = buildPolicies(build, groups, resources);
  addRelayTokens(build);
  const model: PortalModel = {
    account: {
      id: namedId(slug, "account", slug),
      slug,
      name: file.account?.name ?? slug,
    },
    dns: buildDns(build),
    sites: byId(sites.values()),
    actors: byId(actors.values()),
    groups: byId(groups.values()),
    resources: byId(resources.values()),
    policies: byId(policies),
    policiesByResource: groupByResource(policies),
    tokens: build.tokens,
    verified: new Set(file.devices?.verified),
  };
  return { model, warnings: warningsOf(model) };
}

function buildSites(build: Build): ReadonlyMap<string, ConfiguredSite> {
  const sites = new Map<string, ConfiguredSite>();
  for (const [i, { id, name, location, gateway_tokens }] of build.file.sites.entries()) {
    const path = ["sites", i];
    if (!claimName(build, sites, name, path)) continue;
    const site: ConfiguredSite = {
      id: id ?? namedId(build.slug, "site", name),
      name,
      ...(location === undefined ? {} : { location: toLocation(location) }),
    };
    sites.set(name, site);
    for (const [j, source] of gateway_tokens.entries()) {
      addToken(build, source, { kind: "gateway", ownerId: site.id }, [...path, "gateway_tokens", j]);
    }
  }
  if (build.options.dev !== undefined) {
    const site = sites.get(DEV_SITE) ?? { id: namedId(build.slug, "site", DEV_SITE), name: DEV_SITE };
    sites.set(DEV_SITE, site);
    addDevToken(build, { kind: "gateway", ownerId: site.id }, build.options.dev.tokens.gateway);
  }
  return sites;
}

function buildActors(build: Build): ReadonlyMap<string, Actor> {
  const actors = new Map<string, Actor>();
  const emails = new Set<string>();
  for (const [i, { id, name, type, email, disabled, tokens }] of build.file.actors.entries()) {
    const path = ["actors", i];
    if (!claimName(build, actors, name, path)) continue;
    if (email !== undefined && emails.has(email)) {
      build.report([...path, "email"], `email '${email}' is used twice`);
    }
    if (email !== undefined) emails.add(email);
    const actor: Actor = {
      id: id ?? namedId(build.slug, "actor", name),
      name,
      type,
      isDisabled: disabled,
      ...(email === undefined ? {} : { email }),
    };
    actors.set(name, actor);
    for (const [j, source] of tokens.entries()) {
      addToken(build, source, { kind: "client", ownerId: actor.id }, [...path, "tokens", j]);
    }
  }
  if (build.options.dev !== undefined) {
    const actor = actors.get(DEV_GROUP) ?? {
      id: namedId(build.slug, "actor", DEV_GROUP),
      name: DEV_GROUP,
      type: "service_account",
      isDisabled: false,
    };
    actors.set(DEV_GROUP, actor);
    addDevToken(build, { kind: "client", ownerId: actor.id }, build.options.dev.tokens.client);
  }
  return actors;
}

function buildGroups(build: Build, actors: ReadonlyMap<string, Actor>): ReadonlyMap<string, Group> {
  const byEmail = new Map([...actors.values()].map((actor) => [actor.email, actor]));
  const groups = new Map<string, Group>();
  const everyoneId = namedId(build.slug, "group", EVERYONE);
  groups.set(EVERYONE, { id: everyoneId, name: EVERYONE, isEveryone: true, memberIds: new Set() });
  for (const [i, { id, name, members }] of build.file.groups.entries()) {
    const path = ["groups", i];
    if (name === EVERYONE) {
      build.report([...path, "name"], "the group Everyone is built in and cannot be defined");
      continue;
    }
    if (!claimName(build, groups, name, path)) continue;
    const memberIds = new Set<string>();
    for (const [j, member] of members.entries()) {
      const actor = actors.get(member) ?? byEmail.get(member);
      if (actor === undefined) build.report([...path, "members", j], `no actor '${member}'`);
      else memberIds.add(actor.id);
    }
    groups.set(name, { id: id ?? namedId(build.slug, "group", name), name, isEveryone: false, memberIds });
  }
  const devActor = build.options.dev === undefined ? undefined : actors.get(DEV_GROUP);
  if (devActor !== undefined) {
    const { id, memberIds } = groups.get(DEV_GROUP) ?? { id: namedId(build.slug, "group", DEV_GROUP) };
    const withDev = new Set([...(memberIds ?? []), devActor.id]);
    groups.set(DEV_GROUP, { id, name: DEV_GROUP, isEveryone: false, memberIds: withDev });
  }
  return groups;
}

function buildResources(
  build: Build,
  sites: ReadonlyMap<string, ConfiguredSite>,
): ReadonlyMap<string, ConfiguredResource> {
  const resources = new Map<string, ConfiguredResource>();
  let internet: string | undefined;
  for (const [i, resource] of build.file.resources.entries()) {
    const path = ["resources", i];
    const { name } = resource;
    if (!claimName(build, resources, name, path)) continue;
    const site = sites.get(resource.site);
    if (site === undefined) build.report([...path, "site"], `no site '${resource.site}'`);
    if (resource.type === "internet") {
      // The protocol carries none for it (PT §4): without them it would be wider than meant.
      if (resource.filters.length > 0) {
        build.report([...path, "filters"], "a resource of type internet cannot have filters");
      }
      if (internet !== undefined) build.report(path, `'${internet}' is the internet resource already`);
      internet ??= name;
    }
    const own = buildResource(build, resource, site?.id ?? "", path);
    if (own !== undefined) resources.set(name, own);
  }
  return resources;
}

function buildResource(
  build: Build,
  resource: FileResource,
  siteId: string,
  path: ConfigPath,
): ConfiguredResource | undefined {
  const common = {
    id: resource.id ?? namedId(build.slug, "resource", resource.name),
    name: resource.name,
    siteId,
    filters: buildFilters(build, resource, [...path, "filters"]),
    ...(resource.address_description === undefined ? {} : { description: resource.address_description }),
  };
  if (resource.type === "internet") return { ...common, kind: "internet" };
  if (resource.type === "dns") {
    const address = parseResourceName(resource.address);
    if (address.ok) return { ...common, kind: "dns", address: address.value, ipStack: resource.ip_stack };
    build.report([...path, "address"], `address '${resource.address}' ${address.reason}`);
    return undefined;
  }
  const address = parseResourceNetwork(resource.type, resource.address);
  if (address.ok) return { ...common, kind: "cidr", address: address.value };
  build.report([...path, "address"], `address '${resource.address}' ${address.reason}`);
  return undefined;
}

/** Port ranges become one filter each; none of them means every port (PT-116). */
function buildFilters(build: Build, { filters }: FileResource, path: ConfigPath): readonly Filter[] {
  return filters.flatMap((filter, i): readonly Filter[] => {
    if (filter.protocol === "icmp") return [filter];
    const { protocol, ports } = filter;
    if (ports.length === 0) return [{ protocol, firstPort: 0, lastPort: 65535 }];
    return ports.flatMap((text, j) => {
      const range = parsePortRange(text);
      if (range.ok) return [{ protocol, ...range.value }];
      build.report([...path, i, "ports", j], `'${text}' ${range.reason}`);
      return [];
    });
  });
}

function buildPolicies(
  build: Build,
  groups: ReadonlyMap<string, Group>,
  resources: ReadonlyMap<string, ConfiguredResource>,
): readonly Policy[] {
  const policies: Policy[] = [];
  const pairs = new Set<string>();
  const named = new Set(build.file.resources.map(({ name }) => name));
  for (const [i, policy] of build.file.policies.entries()) {
    const path = ["policies", i];
    const group = groups.get(policy.group);
    const resource = resources.get(policy.resource);
    if (group === undefined) build.report([...path, "group"], `no group '${policy.group}'`);
    // A resource that is there but faulty has its own message.
    if (!named.has(policy.resource)) build.report([...path, "resource"], `no resource '${policy.resource}'`);
    if (policy.filters.length > 0) {
      build.report([...path, "filters"], "filters belong to the resource, not to the policy");
    }
    const pair = JSON.stringify([policy.group, policy.resource]);
    if (pairs.has(pair)) build.report(path, "there is a policy for this group and resource already");
    pairs.add(pair);
    const conditions: Condition[] = [];
    for (const [j, source] of policy.conditions.entries()) {
      const condition = parseCondition(source);
      if (condition.ok) conditions.push(condition.value);
      else build.report([...path, "conditions", j, ...condition.at], condition.message);
    }
    if (group === undefined || resource === undefined) continue;
    policies.push({
      id: policy.id ?? namedId(build.slug, "policy", `${group.name}/${resource.name}`),
      groupId: group.id,
      resourceId: resource.id,
      conditions,
      isDisabled: policy.disabled,
    });
  }
  return policies;
}

function buildDns(build: Build): DnsSettings {
  const { dns } = build.file;
  if (dns === undefined) return { do53: [], doh: [] };
  const do53 = dns.servers.flatMap((text, i) => {
    const address = parseIp(text);
    if (!address.ok) {
      build.report(["dns", "servers", i], `'${text}' is not an IP address`);
      return [];
    }
    const own: Prefix = toPrefix(address.value, address.value.length * 8);
    if (FORBIDDEN_RANGES.some((range) => overlaps(range, own))) {
      build.report(["dns", "servers", i], `'${text}' lies in the tunnel's own ranges`);
    }
    return [address.value];
  });
  if (dns.upstream === "custom" && do53.length === 0) build.report(["dns"], "upstream custom needs servers");
  if (dns.upstream !== "custom" && do53.length > 0) {
    build.report(["dns", "servers"], "servers are used with upstream custom only");
  }
  if (dns.upstream === "doh" && dns.doh === undefined) build.report(["dns"], "upstream doh needs doh");
  const url = dns.upstream === "doh" && dns.doh !== undefined ? DOH_URLS[dns.doh] : undefined;
  return {
    do53,
    doh: url === undefined ? [] : [url],
    ...(dns.search_domain === undefined ? {} : { searchDomain: dns.search_domain }),
  };
}

function addRelayTokens(build: Build): void {
  for (const [i, source] of build.file.relay_tokens.entries()) {
    const location = source.location === undefined ? {} : { location: toLocation(source.location) };
    addToken(build, source, { kind: "relay", ownerId: "", ...location }, ["relay_tokens", i]);
  }
  const dev = build.options.dev?.tokens.relay;
  if (dev !== undefined) addDevToken(build, { kind: "relay", ownerId: "" }, dev);
}

function addToken(
  build: Build,
  source: Parameters<typeof readToken>[0],
  owner: TokenOwner,
  path: ConfigPath,
): void {
  const record = readToken(source, owner, build.options);
  if (!record.ok) build.report([...path, ...record.at], record.message);
  else if (build.tokens.has(record.value.hash)) build.report(path, "this token is used twice");
  else build.tokens.set(record.value.hash, record.value);
}

function addDevToken(build: Build, owner: TokenOwner, hash: string): void {
  build.tokens.set(hash, { ...owner, hash, name: "dev" });
}

function claimName(
  build: Build,
  taken: ReadonlyMap<string, unknown>,
  name: string,
  path: ConfigPath,
): boolean {
  if (!taken.has(name)) return true;
  build.report([...path, "name"], `the name '${name}' is used twice`);
  return false;
}

function toLocation([latitude, longitude]: readonly [number, number]) {
  return { latitude, longitude };
}

function groupByResource(policies: readonly Policy[]): ReadonlyMap<string, readonly Policy[]> {
  const groups = new Map<string, Policy[]>();
  for (const policy of policies) {
    const group = groups.get(policy.resourceId);
    if (group === undefined) groups.set(policy.resourceId, [policy]);
    else group.push(policy);
  }
  return groups;
}

function byId<T extends { readonly id: string }>(things: Iterable<T>): ReadonlyMap<string, T> {
  return new Map([...things].map((thing) => [thing.id, thing]));
}
