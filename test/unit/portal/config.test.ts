import { describe, expect, it } from "vitest";
import { prefix } from "../../../src/base/index.ts";
import { type FileOptions, parsePortalFile } from "../../../src/portal/config/index.ts";
import { formatToken } from "../../../src/portal/derive.ts";
import { namedId } from "../../../src/portal/server/index.ts";

const HASH = "47c6eef6e35e2bfcc40cb9550e1b4019bd7f531369f96d0b6634777e4c4996ae";
/** The token of PT-105, whose hash this is. */
const CLIENT_TOKEN = "ptc_AAECAwQFBgcICQoLDA0ODw_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
const GATEWAY_TOKEN = formatToken("gateway", new Uint8Array(16), new Uint8Array(32));

const OUTSIDE: FileOptions = {
  readEnv: (name) => ({ ALICE: CLIENT_TOKEN, BROKEN: "x" })[name],
  readFile: (path) => ({ "/run/gw": `${GATEWAY_TOKEN}\n` })[path],
};

const DEV: FileOptions = {
  ...OUTSIDE,
  dev: { tokens: { gateway: "aa".repeat(32), relay: "bb".repeat(32), client: "cc".repeat(32) } },
};

const WHOLE = `version: 1
account: {slug: demo, name: Demo}
dns: {upstream: custom, servers: [1.1.1.1], search_domain: corp.example}
sites:
  - {name: Berlin, location: [52.52, 13.40], gateway_tokens: [{name: gw, file: /run/gw}]}
relay_tokens: [{name: r1, hash: "sha256:${"12".repeat(32)}", location: [50.1, 8.7]}]
actors:
  - {name: ci, type: service_account, tokens: [{name: ci, hash: "sha256:${"34".repeat(32)}", expires_at: 2027-01-01T00:00:00Z}]}
  - {name: Alice, type: user, email: alice@example.com, tokens: [{name: laptop, env: ALICE}]}
groups: [{name: Ops, members: [ci, alice@example.com]}]
resources:
  - {name: Office, type: cidr, address: 10.0.0.7/16, site: Berlin, filters: []}
  - {name: Printer, type: ip, address: "2001:db8::9", site: Berlin}
  - {name: Git, type: dns, address: "*.git.example.com", site: Berlin, ip_stack: dual}
policies:
  - {group: Ops, resource: Office, conditions: [{property: remote_ip, operator: is_in_cidr, values: [198.51.100.0/24]}]}
  - {group: Everyone, resource: Git}
devices: {verified: ["abc"]}
`;

function read(text: string, options: FileOptions = OUTSIDE) {
  const result = parsePortalFile(text, options);
  if (!result.ok) throw new Error(JSON.stringify(result.issues));
  return result;
}

function issuesOf(text: string, options: FileOptions = OUTSIDE): readonly string[] {
  const result = parsePortalFile(text, options);
  if (result.ok) return [];
  return result.issues.map(({ line, column, message }) => `${line}:${column}: ${message}`);
}

describe("a whole file", () => {
  const { model, warnings } = read(WHOLE);

  it("PT-112: is read with every key", () => {
    expect(model.account).toMatchObject({ slug: "demo", name: "Demo" });
    expect(model.dns).toMatchObject({
      do53: [Uint8Array.of(1, 1, 1, 1)],
      doh: [],
      searchDomain: "corp.example",
    });
    expect([...model.sites.values()]).toMatchObject([
      { name: "Berlin", location: { latitude: 52.52, longitude: 13.4 } },
    ]);
    expect([...model.tokens.values()].map(({ kind, name }) => [kind, name])).toEqual([
      ["gateway", "gw"],
      ["client", "ci"],
      ["client", "laptop"],
      ["relay", "r1"],
    ]);
    expect(model.tokens.get("34".repeat(32))?.expiresAt).toBe(Date.UTC(2027, 0, 1));
    expect(model.tokens.has(HASH)).toBe(true);
    expect(model.verified.has("abc")).toBe(true);
  });

  it("PT-50, PT-116: networks are cut to their length, single addresses are networks", () => {
    const addresses = [...model.resources.values()].map((r) => (r.kind === "cidr" ? r.address : r.kind));
    expect(addresses).toEqual([prefix("10.0.0.0/16"), prefix("2001:db8::9/128"), "dns"]);
  });

  it("PT-112: members are named by name or e-mail", () => {
    const group = [...model.groups.values()].find(({ name }) => name === "Ops");
    expect(group?.memberIds.size).toBe(2);
  });

  it("PT-195: what has no effect is a warning", () => {
    expect(warnings).toEqual(["resource 'Printer': no policy grants it"]);
  });

  it("PT-113: ids are UUIDv5 over slug, kind and name", () => {
    expect(namedId("default", "site", "Berlin")).toBe("ac9f6348-abf9-5c4a-8280-080d3cad3cc5");
    expect([...model.sites.keys()]).toEqual([namedId("demo", "site", "Berlin")]);
  });

  it("PT-113: an explicit id survives a new name", () => {
    const id = "54dae952-00f6-509f-850a-f1a411e43cfe";
    const file = (name: string) => `version: 1\naccount: {slug: a}\nsites: [{id: ${id}, name: ${name}}]\n`;
    expect([...read(file("a")).model.sites.keys()]).toEqual([...read(file("b")).model.sites.keys()]);
  });

  it("PT-112: JSON is read as well", () => {
    expect(read('{"version": 1, "account": {"slug": "demo"}}').model.account.name).toBe("demo");
  });

  it("PT-112: `no` and dates stay text", () => {
    expect([...read("version: 1\naccount: {slug: no}\n").model.account.slug]).toEqual(["n", "o"]);
  });
});

describe("--dev", () => {
  it("PT-111: brings account, site, group and tokens, and the file may use them undefined", () => {
    const text = `version: 1
resources: [{ name: Office, type: cidr, address: 172.20.0.0/16, site: default }]
policies: [{ group: dev, resource: Office }]
`;
    const { model } = read(text, DEV);
    expect(model.account.slug).toBe("dev");
    const [policy] = model.policies.values();
    const group = model.groups.get(policy?.groupId ?? "");
    const token = model.tokens.get("cc".repeat(32));
    expect(token?.kind).toBe("client");
    expect(group?.memberIds.has(token?.ownerId ?? "")).toBe(true);
    expect(issuesOf(text)).toHaveLength(3);
  });

  it("PT-111: adds to a site and group that the file defines", () => {
    const text = "version: 1\nsites: [{name: default, location: [1, 2]}]\ngroups: [{name: dev}]\n";
    const { model } = read(text, DEV);
    expect(model.sites.size).toBe(1);
    expect(model.tokens.get("aa".repeat(32))?.ownerId).toBe([...model.sites.keys()][0]);
    expect([...model.groups.values()].map(({ name, memberIds }) => [name, memberIds.size])).toEqual([
      ["Everyone", 0],
      ["dev", 1],
    ]);
  });

  it("PT-112: only under --dev a token may stand in the file", () => {
    const text = `version: 1\naccount: {slug: a}\nactors: [{name: x, type: user, tokens: [{name: t, token: ${CLIENT_TOKEN}}]}]\n`;
    expect(read(text, DEV).model.tokens.has(HASH)).toBe(true);
    expect(issuesOf(text)).toEqual([
      "3:58: a token may stand in the file under --dev only; use hash, file or env",
    ]);
  });
});

/** Everything after the first two lines, `version` and `account`. */
const BAD: readonly (readonly [what: string, rest: string, issue: string])[] = [
  ["an unknown key", "sitse: []", "3:1: unknown key 'sitse'; did you mean 'sites'?"],
  [
    "an unknown key deep inside",
    "sites:\n  - name: a\n    lokation: [1, 2]",
    "5:5: unknown key 'lokation'; did you mean 'location'?",
  ],
  [
    "a key of another kind of resource",
    "sites: [{name: a}]\nresources: [{name: r, type: cidr, address: 10.0.0.0/8, site: a, ip_stak: dual}]",
    "4:65: unknown key 'ip_stak'",
  ],
  ["a missing key", "sites:\n  - location: [1, 2]", "4:5: missing key 'name'"],
  ["a name that is a number", "sites: [{name: 3}]", "3:16: name must be text"],
  ["an empty name", 'sites: [{name: ""}]', "3:16: name must not be empty"],
  ["a list that is none", "sites: {}", "3:8: sites must be a list"],
  [
    "a latitude beyond the pole",
    "sites: [{name: a, location: [90.5, 0]}]",
    "3:30: location latitude must be -90 to 90",
  ],
  ["a location with one number", "sites: [{name: a, location: [1]}]", "3:29: location must be a number"],
  [
    "an id that is no UUID",
    "sites: [{name: a, id: b}]",
    "3:23: id must be a UUID in lower case with hyphens",
  ],
  ["a name used twice", "sites: [{name: a}, {name: a}]", "3:27: the name 'a' is used twice"],
  ["a key used twice", "sites: []\nsites: []", "4:1: Map keys must be unique"],
  ["a tag", "sites: !secret []", "3:8: Unresolved tag: !secret"],
  [
    "broken YAML",
    "sites: [",
    "4:1: Flow sequence in block collection must be sufficiently indented and end with a ]",
  ],
  [
    "an unknown site",
    "resources: [{name: r, type: cidr, address: 10.0.0.0/8, site: x}]",
    "3:62: no site 'x'",
  ],
  [
    "an unknown type",
    "resources: [{name: r, type: net, site: x}]",
    "3:29: type must be cidr, ip, dns or internet",
  ],
  ["an unknown member", "groups: [{name: g, members: [x]}]", "3:30: no actor 'x'"],
  [
    "Everyone defined",
    "groups: [{name: Everyone}]",
    "3:17: the group Everyone is built in and cannot be defined",
  ],
  [
    "an e-mail used twice",
    "actors: [{name: a, type: user, email: e}, {name: b, type: user, email: e}]",
    "3:72: email 'e' is used twice",
  ],
  ["a policy for nothing", "policies: [{group: g, resource: r}]", "3:20: no group 'g'"],
  [
    "a token of two sources",
    `sites: [{name: a, gateway_tokens: [{name: t, env: A, file: B}]}]`,
    "3:51: a token has one of hash, file and env only",
  ],
  [
    "a token of no source",
    "sites: [{name: a, gateway_tokens: [{name: t}]}]",
    "3:36: a token needs one of hash, file and env",
  ],
  [
    "a hash that is short",
    'sites: [{name: a, gateway_tokens: [{name: t, hash: "sha256:47"}]}]',
    "3:52: a hash is sha256: and 64 hexadecimal digits",
  ],
  [
    "an unset variable",
    "sites: [{name: a, gateway_tokens: [{name: t, env: NONE}]}]",
    "3:51: the environment variable NONE is not set",
  ],
  [
    "a variable without a token",
    "sites: [{name: a, gateway_tokens: [{name: t, env: BROKEN}]}]",
    "3:51: the environment variable BROKEN holds no token",
  ],
  [
    "a token of another kind",
    "sites: [{name: a, gateway_tokens: [{name: t, env: ALICE}]}]",
    "3:51: the environment variable ALICE holds a client token, not a gateway token",
  ],
  [
    "a file that is not there",
    "sites: [{name: a, gateway_tokens: [{name: t, file: /x}]}]",
    "3:52: cannot read the file /x",
  ],
  [
    "a token used twice",
    "actors: [{name: a, type: user, tokens: [{name: t, env: ALICE}, {name: u, env: ALICE}]}]",
    "3:64: this token is used twice",
  ],
  [
    "a local time",
    "actors: [{name: a, type: user, tokens: [{name: t, env: ALICE, expires_at: 2027-01-01T00:00:00}]}]",
    "3:75: '2027-01-01T00:00:00' is no time such as 2027-01-01T00:00:00Z",
  ],
  ["custom without servers", "dns: {upstream: custom}", "3:6: upstream custom needs servers"],
  ["servers without custom", "dns: {servers: [1.1.1.1]}", "3:16: servers are used with upstream custom only"],
  ["doh without a provider", "dns: {upstream: doh}", "3:6: upstream doh needs doh"],
  [
    "a server that is a name",
    "dns: {upstream: custom, servers: [dns.example]}",
    "3:35: 'dns.example' is not an IP address",
  ],
  [
    "a server inside the tunnel",
    "dns: {upstream: custom, servers: [100.100.0.1]}",
    "3:35: '100.100.0.1' lies in the tunnel's own ranges",
  ],
];

describe("a bad file", () => {
  it.each(BAD)("PT-112: %s is refused with its place", (_, rest, issue) => {
    expect(issuesOf(`version: 1\naccount: {slug: demo}\n${rest}\n`)).toContainEqual(
      expect.stringMatching(new RegExp(`^${issue.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}`)),
    );
  });

  it.each([
    ["", "1:1: must be a mapping that begins with version: 1"],
    ["7", "1:1: must be a mapping that begins with version: 1"],
    ["[]", "1:1: missing key 'version'"],
    ["version: 2\naccount: {slug: a}", "1:10: version must be 1"],
    ["account: {slug: a}", "1:1: missing key 'version'"],
    ["version: 1", "1:1: missing key 'account'"],
    ["version: 1\naccount: {slug: A b}", "2:17: slug must be lower-case letters, digits, - and _"],
    ["version: 1\n---\nversion: 1", "2:1: Source contains multiple documents"],
  ])("PT-112: %j", (text, issue) => {
    expect(issuesOf(text)[0]).toContain(issue);
  });

  it("PT-112: 64 levels are read, one more is an error with its place", () => {
    const nested = (levels: number) => `${"[".repeat(levels)}${"]".repeat(levels)}`;
    const inFile = (levels: number) => issuesOf(`version: 1\ndns: ${nested(levels)}\n`);
    expect(inFile(63).join()).not.toMatch(/nests/);
    expect(inFile(64)).toEqual(["2:70: this nests deeper than 64 levels"]);
    // More than any recursion survives, in both styles of YAML.
    expect(inFile(100_000)).toEqual(["2:70: this nests deeper than 64 levels"]);
    const blocks = Array.from({ length: 3_000 }, (_, i) => `${" ".repeat(i)}a:`).join("\n");
    expect(issuesOf(blocks)).toEqual([expect.stringMatching(/^6\d:\d+: this nests deeper than 64 levels$/)]);
    expect(issuesOf(`${"- ".repeat(3_000)}a`)).toEqual([expect.stringMatching(/nests deeper than 64/)]);
  });

  it("PT-112: aliases nest, too", () => {
    const lines = Array.from({ length: 90 }, (_, i) => `  - &a${i} [${i === 0 ? "" : `*a${i - 1}`}]`);
    expect(issuesOf(`version: 1\nx:\n${lines.join("\n")}\n`)).toEqual([
      "1:1: with its aliases the file nests deeper than 64 levels",
    ]);
  });

  it("PT-112: more than 100 aliases are refused", () => {
    const bomb = [
      "a: &a [x, x, x, x]",
      "b: &b [*a, *a, *a, *a]",
      "c: &c [*b, *b, *b, *b]",
      "d: [*c, *c, *c, *c]",
    ];
    expect(issuesOf(bomb.join("\n"))).toEqual([expect.stringMatching(/^1:1: Excessive alias count/)]);
  });

  it("lists mistakes in the order of the file, 50 at most", () => {
    const sites = Array.from({ length: 60 }, () => "  - {nam: x}").join("\n");
    const issues = issuesOf(`version: 1\naccount: {slug: a}\nsites:\n${sites}\n`);
    expect(issues).toHaveLength(50);
    expect(issues[0]).toMatch(/^4:/);
  });

  it("never shows a token", () => {
    const text = `version: 1\naccount: {slug: a}\nactors: [{name: x, type: user, tokens: [{name: t, hash: ${CLIENT_TOKEN}, tokn: ${CLIENT_TOKEN}}]}]\n`;
    const issues = issuesOf(text).join();
    expect(issues).not.toBe("");
    expect(issues).not.toContain(CLIENT_TOKEN.slice(30));
  });
});

describe("filters", () => {
  const file = (resource: string, policy = "") => `version: 1
account: {slug: demo}
sites: [{name: a}]
resources:
  - ${resource}
policies:
  - {group: Everyone, resource: r${policy}}
`;
  const network = (filters: string) =>
    file(`{name: r, type: cidr, address: 10.0.0.0/8, site: a, filters: ${filters}}`);

  it("PT-116: every port and range becomes a filter; without ports it is all of the protocol", () => {
    const filters = "[{protocol: tcp, ports: ['22', '8000-8100']}, {protocol: udp}, {protocol: icmp}]";
    const [resource] = read(network(filters)).model.resources.values();
    expect(resource?.filters).toEqual([
      { protocol: "tcp", firstPort: 22, lastPort: 22 },
      { protocol: "tcp", firstPort: 8000, lastPort: 8100 },
      { protocol: "udp", firstPort: 0, lastPort: 65535 },
      { protocol: "icmp" },
    ]);
  });

  it.each([
    ["0", undefined],
    ["65535", undefined],
    ["80-80", undefined],
    ["65536", "5:91: '65536' has a port above 65535"],
    ["81-80", "5:91: '81-80' starts after its end"],
    ["http", "5:91: 'http' is neither a port nor a range such as 8000-8100"],
    ["-1", "5:91: '-1' is neither a port nor a range such as 8000-8100"],
  ])("PT-116: the port %s", (ports, issue) => {
    expect(issuesOf(network(`[{protocol: tcp, ports: ['${ports}']}]`))).toEqual(
      issue === undefined ? [] : [issue],
    );
  });

  it("PT-195: a policy and the internet resource have none: without them they would be wider than meant", () => {
    const policy = file(
      "{name: r, type: cidr, address: 10.0.0.0/8, site: a}",
      ", filters: [{protocol: icmp}]",
    );
    expect(issuesOf(policy)).toEqual(["7:45: filters belong to the resource, not to the policy"]);
    const internet = file("{name: r, type: internet, site: a, filters: [{protocol: icmp}]}");
    expect(issuesOf(internet)).toEqual(["5:49: a resource of type internet cannot have filters"]);
  });

  it("PT-195: a resource that no gateway can serve is a warning", () => {
    expect(read(network("[]")).warnings).toEqual([
      "resource 'r': no gateway can serve it, because site 'a' has no token",
    ]);
  });
});

describe("addresses of resources", () => {
  const issues = (type: string, address: string) =>
    issuesOf(`version: 1
account: {slug: demo}
sites: [{name: a}]
resources: [{name: r, type: ${type}, site: a, address: "${address}"}]
`);

  it.each([
    ["cidr", "10.0.0.0/8"],
    ["cidr", "192.0.2.7"],
    ["cidr", "2001:db8::/32"],
    ["cidr", "0.0.0.0/2"],
    ["ip", "192.0.2.7"],
    ["ip", "2001:db8::1"],
    ["dns", "example.com"],
    ["dns", "*.example.com"],
    ["dns", "**.bücher.example"],
    ["dns", "a?.b-c.example"],
    ["dns", `${"a".repeat(63)}.example`],
    ["dns", `${`${"a".repeat(49)}.`.repeat(5)}abc`],
  ])("PT-116: %s %s is taken", (type, address) => expect(issues(type, address)).toEqual([]));

  it.each([
    ["cidr", "0.0.0.0/0", "covers everything"],
    ["cidr", "::/0", "covers everything"],
    ["cidr", "127.0.0.1", "loopback"],
    ["cidr", "126.0.0.0/7", "loopback"],
    ["cidr", "::1", "loopback"],
    ["cidr", "100.64.0.0/10", "own ranges"],
    ["cidr", "100.127.255.255", "own ranges"],
    ["cidr", "100.0.0.0/8", "own ranges"],
    ["cidr", "fd00:2021:1111:8000::1", "own ranges"],
    ["cidr", "fd00::/8", "own ranges"],
    ["cidr", "10.0.0.0/33", "not a network"],
    ["cidr", "example.com", "not a network"],
    ["ip", "10.0.0.0/8", "single address"],
    ["ip", "example.com", "not an IP address"],
    ["dns", "localhost", "localhost"],
    ["dns", "a.localhost", "localhost"],
    ["dns", "10.0.0.1", "not a name"],
    ["dns", "example.com:80", "letters, digits"],
    ["dns", "a..b", "empty label"],
    ["dns", "example.com.", "empty label"],
    ["dns", "a**.example.com", "part of a label"],
    ["dns", "example.*", "last label"],
    ["dns", "*.com", "top-level"],
    ["dns", "**.com", "top-level"],
    ["dns", `${"a".repeat(64)}.example`, "63"],
    ["dns", `${`${"a".repeat(49)}.`.repeat(5)}abcd`, "253"],
  ])("PT-116: %s %s is refused", (type, address, why) => {
    expect(issues(type, address)).toEqual([expect.stringContaining(why)]);
  });

  it("PT-116: there is one internet resource at most", () => {
    const text = (n: number) => `version: 1
account: {slug: demo}
sites: [{name: a}]
resources: [${Array.from({ length: n }, (_, i) => `{name: i${i}, type: internet, site: a}`)}]
`;
    expect(issuesOf(text(1))).toEqual([]);
    expect(issuesOf(text(2))).toEqual([expect.stringContaining("'i0' is the internet resource already")]);
  });
});

describe("conditions", () => {
  const issues = (condition: string) =>
    issuesOf(`version: 1
account: {slug: demo}
sites: [{name: a}]
resources: [{name: r, type: cidr, address: 10.0.0.0/8, site: a}]
policies: [{group: Everyone, resource: r, conditions: [${condition}]}]
`);

  it.each([
    "{property: remote_ip, operator: is_not_in_cidr, values: [10.0.0.0/8, '2001:db8::/32']}",
    "{property: remote_ip_location_region, operator: is_in, values: [DE, CH]}",
    "{property: auth_provider_id, operator: is_not_in, values: [x]}",
    "{property: current_utc_datetime, operator: is_in_day_of_week_time_ranges, values: [M/9-17:30/Europe/Berlin, U/true/UTC]}",
    "{property: client_verified, operator: is, values: ['true']}",
  ])("PT-81: takes %s", (condition) => expect(issues(condition)).toEqual([]));

  it.each([
    ["{property: moon, operator: is, values: [x]}", "property must be"],
    [
      "{property: remote_ip, operator: is, values: [10.0.0.0/8]}",
      "operator of remote_ip must be is_in_cidr or is_not_in_cidr",
    ],
    ["{property: remote_ip, operator: is_in_cidr, values: []}", "values must not be empty"],
    ["{property: remote_ip, operator: is_in_cidr, values: [x]}", "'x' is not a network"],
    ["{property: remote_ip_location_region, operator: is_in, values: [de]}", "country code"],
    [
      "{property: current_utc_datetime, operator: is_in_day_of_week_time_ranges, values: [X/true/UTC]}",
      "M T W R F S U",
    ],
    [
      "{property: current_utc_datetime, operator: is_in_day_of_week_time_ranges, values: [M/9-8/UTC]}",
      "starts after its end",
    ],
    [
      "{property: current_utc_datetime, operator: is_in_day_of_week_time_ranges, values: [M/9-10/Mars]}",
      "no known time zone",
    ],
    [
      "{property: current_utc_datetime, operator: is_in_day_of_week_time_ranges, values: [Monday]}",
      "form D/ranges/zone",
    ],
    ["{property: client_verified, operator: is, values: ['yes']}", '["true"] or ["false"]'],
  ])("PT-81: refuses %s", (condition, why) => {
    expect(issues(condition)).toEqual([expect.stringContaining(why)]);
  });
});
